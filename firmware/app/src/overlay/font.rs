//! Letters as bitmaps, drawn by `build.rs` from the fonts of `u8g2-fonts`.

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

include!(concat!(env!("OUT_DIR"), "/fonts.rs"));

/// Letters of one size.
pub(super) struct Font {
    /// Those of Latin-1 from the space on.
    glyphs: &'static [Glyph],
    /// Their pixels, row by row, from the lowest bit of a byte on.
    bits: &'static [u8],
}

/// A letter: where its pixels are and where they go, from a point on the base line.
struct Glyph {
    /// First of its bytes.
    start: u16,
    left: i8,
    top: i8,
    width: u8,
    height: u8,
    /// Columns to the next letter.
    advance: u8,
}

impl Font {
    fn glyph(&self, letter: char) -> Option<&Glyph> {
        let index = (letter as usize).checked_sub(' ' as usize)?;
        self.glyphs.get(index)
    }

    /// Columns from one letter to the next; 0 for those that the font lacks.
    pub(super) fn advance(&self, letter: char) -> i32 {
        self.glyph(letter).map_or(0, |glyph| glyph.advance.into())
    }

    /// Draws a letter that starts at a point on the base line.
    pub(super) fn draw<D: DrawTarget<Color = Rgb565>>(
        &self,
        letter: char,
        position: Point,
        color: Rgb565,
        target: &mut D,
    ) -> Result<(), D::Error> {
        let Some(glyph) = self.glyph(letter) else { return Ok(()) };
        let corner = position + Point::new(glyph.left.into(), glyph.top.into());
        let size = Size::new(glyph.width.into(), glyph.height.into());
        if Rectangle::new(corner, size).intersection(&target.bounding_box()).is_zero_sized() {
            return Ok(());
        }
        let bits = self.bits.get(glyph.start.into()..).unwrap_or_default();
        let mut place = 0;
        for y in 0..i32::from(glyph.height) {
            // The columns since which pixels are set.
            let mut run = None;
            for x in 0..=i32::from(glyph.width) {
                let byte = bits.get(place / 8).copied().unwrap_or(0);
                let set = x < glyph.width.into() && byte >> (place % 8) & 1 == 1;
                place += usize::from(x < glyph.width.into());
                match (set, run) {
                    (true, None) => run = Some(x),
                    (false, Some(start)) => {
                        let line = Size::new((x - start) as u32, 1);
                        let line = Rectangle::new(corner + Point::new(start, y), line);
                        target.fill_solid(&line, color)?;
                        run = None;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
