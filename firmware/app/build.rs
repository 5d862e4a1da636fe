//! Draws the letters of the screen's types once, here, so that a board needs no font reader: what it has
//! is a table of bitmaps, `fonts.rs`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, error, fs};

use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use u8g2_fonts::types::{FontColor, VerticalPosition};
use u8g2_fonts::{FontRenderer, fonts};

/// Characters that a font may have: Latin-1.
const CHARACTERS: std::ops::RangeInclusive<char> = ' '..='\u{ff}';

/// The black pixels of a letter.
struct Ink(Vec<Point>);

impl Dimensions for Ink {
    fn bounding_box(&self) -> Rectangle {
        Rectangle::with_center(Point::zero(), Size::new_equal(512))
    }
}

impl DrawTarget for Ink {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        self.0.extend(pixels.into_iter().map(|Pixel(point, _)| point));
        Ok(())
    }
}

/// One font as Rust.
fn font<F: u8g2_fonts::Font>(name: &str) -> Result<String, Box<dyn error::Error>> {
    let font = FontRenderer::new::<F>().with_ignore_unknown_chars(true);
    let mut glyphs = String::new();
    let mut bits: Vec<bool> = Vec::new();
    for letter in CHARACTERS {
        let mut ink = Ink(Vec::new());
        let color = FontColor::Transparent(BinaryColor::On);
        let drawn = font.render(letter, Point::zero(), VerticalPosition::Baseline, color, &mut ink);
        let advance = drawn.map_err(|error| format!("{name}: {letter:?}: {error:?}"))?.advance.x;
        let columns = ink.0.iter().map(|point| point.x);
        let rows = ink.0.iter().map(|point| point.y);
        let left = columns.clone().min().unwrap_or(0);
        let top = rows.clone().min().unwrap_or(0);
        let width = columns.max().map_or(0, |right| right + 1 - left);
        let height = rows.max().map_or(0, |bottom| bottom + 1 - top);
        let start = u16::try_from(bits.len().div_ceil(8))?;
        bits.resize(8 * usize::from(start), false);
        let pixels = (top..top + height).flat_map(|y| (left..left + width).map(move |x| (x, y)));
        bits.extend(pixels.map(|(x, y)| ink.0.contains(&Point::new(x, y))));
        writeln!(
            glyphs,
            "Glyph {{ start: {start}, left: {left}, top: {top}, width: {width}, height: {height}, \
             advance: {advance} }},"
        )?;
    }
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|byte| (0..).zip(byte).map(|(place, &bit)| u8::from(bit) << place).sum())
        .collect();
    Ok(format!(
        "pub(super) static {name}: Font = Font {{ glyphs: &[{glyphs}], bits: &{bytes:?} }};\n"
    ))
}

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let all = [
        font::<fonts::u8g2_font_helvB24_tf>("BOLD_24")?,
        font::<fonts::u8g2_font_helvB18_tf>("BOLD_18")?,
        font::<fonts::u8g2_font_helvB14_tf>("BOLD_14")?,
        font::<fonts::u8g2_font_helvB10_tf>("BOLD_10")?,
        font::<fonts::u8g2_font_helvR10_tf>("REGULAR_10")?,
        font::<fonts::u8g2_font_helvR08_tf>("REGULAR_8")?,
    ];
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    fs::write(out.join("fonts.rs"), all.concat())?;
    Ok(())
}
