//! Text in a handful of sizes.

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use u8g2_fonts::types::{FontColor, HorizontalAlignment, VerticalPosition};
use u8g2_fonts::{Content, Error, FontRenderer, fonts};

/// No letter of any size reaches further below its line.
pub(super) const DESCENDER: i32 = 8;

/// A size of type.
pub(super) struct Type {
    font: FontRenderer,
    /// Height of a capital.
    pub cap: u32,
}

const fn of<F: u8g2_fonts::Font>(cap: u32) -> Type {
    Type { font: FontRenderer::new::<F>().with_ignore_unknown_chars(true), cap }
}

/// Headlines, largest first; the largest that fits is taken.
static HEADLINES: [Type; 4] = [
    of::<fonts::u8g2_font_helvB24_tf>(25),
    of::<fonts::u8g2_font_helvB18_tf>(19),
    of::<fonts::u8g2_font_helvB14_tf>(14),
    of::<fonts::u8g2_font_helvB10_tf>(11),
];
/// Labels of bars.
pub(super) static BODY: Type = of::<fonts::u8g2_font_helvR10_tf>(11);
/// Labels of bars, emphasised.
pub(super) static BODY_BOLD: Type = of::<fonts::u8g2_font_helvB10_tf>(11);
/// Remarks.
pub(super) static SMALL: Type = of::<fonts::u8g2_font_helvR08_tf>(8);

/// Horizontal placement relative to the given point.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

impl Type {
    /// Writes one line whose vertical centre of capitals is at `position`.
    pub(super) fn write<D: DrawTarget<Color = Rgb565>>(
        &self,
        content: impl Content,
        position: Point,
        align: Align,
        color: Rgb565,
        target: &mut D,
    ) -> Result<(), D::Error> {
        let align = match align {
            Align::Left => HorizontalAlignment::Left,
            Align::Right => HorizontalAlignment::Right,
        };
        let baseline = position + Point::new(0, self.cap as i32 / 2);
        let color = FontColor::Transparent(color);
        let vertical = VerticalPosition::Baseline;
        match self.font.render_aligned(content, baseline, vertical, align, color, target) {
            Err(Error::DisplayError(error)) => Err(error),
            // Nothing else happens with a transparent ground and unknown characters ignored.
            _ => Ok(()),
        }
    }

    /// Width of a line.
    pub(super) fn width(&self, content: impl Content) -> u32 {
        let dimensions =
            self.font.get_rendered_dimensions(content, Point::zero(), VerticalPosition::Baseline);
        dimensions.map_or(0, |d| d.advance.x.max(0) as u32)
    }

    /// Writes as much of a label as fits into `width`, with dots for the rest.
    pub(super) fn write_within<D: DrawTarget<Color = Rgb565>>(
        &self,
        label: &str,
        position: Point,
        width: u32,
        color: Rgb565,
        target: &mut D,
    ) -> Result<(), D::Error> {
        if self.width(label) <= width {
            return self.write(label, position, Align::Left, color, target);
        }
        let ends = label.char_indices().rev().filter_map(|(end, _)| label.get(..end));
        for part in ends.map(str::trim_end) {
            let text = format_args!("{part}...");
            if self.width(text) <= width {
                return self.write(text, position, Align::Left, color, target);
            }
        }
        Ok(())
    }
}

/// The largest headline type in which the label fits into the room, else the smallest.
pub(super) fn headline(label: &str, room: Size) -> &'static Type {
    let [.., smallest] = &HEADLINES;
    let fits = |size: &&Type| size.cap <= room.height && size.width(label) <= room.width;
    HEADLINES.iter().find(fits).unwrap_or(smallest)
}
