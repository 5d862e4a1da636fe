//! Text in a handful of sizes.

use core::fmt::{self, Write};

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;

use super::font::{self, Font};

/// No letter of any size reaches further below its line.
pub(super) const DESCENDER: i32 = 8;

/// A size of type.
pub(super) struct Type {
    font: &'static Font,
    /// Height of a capital.
    pub cap: u32,
}

/// Headlines, largest first; the largest that fits is taken.
static HEADLINES: [Type; 4] = [
    Type { font: &font::BOLD_24, cap: 25 },
    Type { font: &font::BOLD_18, cap: 19 },
    Type { font: &font::BOLD_14, cap: 14 },
    Type { font: &font::BOLD_10, cap: 11 },
];
/// Labels of bars.
pub(super) static BODY: Type = Type { font: &font::REGULAR_10, cap: 11 };
/// Labels of bars, emphasised.
pub(super) static BODY_BOLD: Type = Type { font: &font::BOLD_10, cap: 11 };
/// Remarks.
pub(super) static SMALL: Type = Type { font: &font::REGULAR_8, cap: 8 };

/// Horizontal placement relative to the given point.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

/// What can be written. Not all that has `Display`: a call of `core::fmt` that meets another has a depth
/// of stack that cannot be computed.
pub(super) trait Content: Copy {
    fn put(self, out: &mut impl Write) -> fmt::Result;
}

impl Content for &str {
    fn put(self, out: &mut impl Write) -> fmt::Result {
        out.write_str(self)
    }
}

impl Content for fmt::Arguments<'_> {
    fn put(self, out: &mut impl Write) -> fmt::Result {
        fmt::write(out, self)
    }
}

/// Measures what is written to it.
struct Measure<'t> {
    font: &'t Font,
    width: i32,
}

impl Write for Measure<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.width += text.chars().map(|letter| self.font.advance(letter)).sum::<i32>();
        Ok(())
    }
}

/// Draws what is written to it.
struct Pen<'t, D: DrawTarget> {
    font: &'t Font,
    /// Where the next letter starts, on the base line.
    position: Point,
    color: D::Color,
    target: &'t mut D,
    result: Result<(), D::Error>,
}

impl<D: DrawTarget<Color = Rgb565>> Write for Pen<'_, D> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            self.result = self.font.draw(letter, self.position, self.color, self.target);
            self.result.as_ref().map_err(|_| fmt::Error)?;
            self.position.x += self.font.advance(letter);
        }
        Ok(())
    }
}

impl Type {
    /// Writes one line whose vertical centre of capitals is at `position`. Letters that the font lacks are
    /// left out.
    pub(super) fn write<D: DrawTarget<Color = Rgb565>>(
        &self,
        content: impl Content,
        position: Point,
        align: Align,
        color: Rgb565,
        target: &mut D,
    ) -> Result<(), D::Error> {
        let mut position = position + Point::new(0, self.cap as i32 / 2);
        if let Align::Right = align {
            position.x += 1 - self.advance(content);
        }
        let mut pen = Pen { font: self.font, position, color, target, result: Ok(()) };
        // An error is the display's, and is kept.
        let _ = content.put(&mut pen);
        pen.result
    }

    fn advance(&self, content: impl Content) -> i32 {
        let mut measure = Measure { font: self.font, width: 0 };
        // Nothing fails there.
        let _ = content.put(&mut measure);
        measure.width
    }

    /// Width of a line.
    pub(super) fn width(&self, content: impl Content) -> u32 {
        self.advance(content).max(0) as u32
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

#[cfg(test)]
mod tests {
    extern crate std;

    use core::convert::Infallible;
    use std::collections::BTreeSet;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use embedded_graphics::Pixel;
    use embedded_graphics::primitives::Rectangle;
    use u8g2_fonts::types::{FontColor, HorizontalAlignment, VerticalPosition};
    use u8g2_fonts::{FontRenderer, fonts};

    use super::*;

    /// The pixels that were set.
    #[derive(Default, PartialEq, Eq, Debug)]
    struct Ink(BTreeSet<(i32, i32)>);

    impl Dimensions for Ink {
        fn bounding_box(&self) -> Rectangle {
            Rectangle::with_center(Point::zero(), Size::new_equal(4000))
        }
    }

    impl DrawTarget for Ink {
        type Color = Rgb565;
        type Error = Infallible;

        fn draw_iter<I: IntoIterator<Item = Pixel<Rgb565>>>(
            &mut self,
            pixels: I,
        ) -> Result<(), Infallible> {
            self.0.extend(pixels.into_iter().map(|Pixel(point, _)| (point.x, point.y)));
            Ok(())
        }
    }

    /// Every letter is the font library's, and goes where that puts it.
    #[test]
    fn letters_are_the_fonts() {
        let cases = [
            (&HEADLINES[0], FontRenderer::new::<fonts::u8g2_font_helvB24_tf>()),
            (&HEADLINES[1], FontRenderer::new::<fonts::u8g2_font_helvB18_tf>()),
            (&HEADLINES[2], FontRenderer::new::<fonts::u8g2_font_helvB14_tf>()),
            (&HEADLINES[3], FontRenderer::new::<fonts::u8g2_font_helvB10_tf>()),
            (&BODY, FontRenderer::new::<fonts::u8g2_font_helvR10_tf>()),
            (&BODY_BOLD, FontRenderer::new::<fonts::u8g2_font_helvB10_tf>()),
            (&SMALL, FontRenderer::new::<fonts::u8g2_font_helvR08_tf>()),
        ];
        let letters = (' '..='\u{17f}').chain(['\u{20ac}', '\u{4e2d}', '\u{10ffff}']);
        let mut texts: Vec<_> = letters.map(|letter| format!("a{letter}g")).collect();
        texts.extend(["", "100 %", "Stra\u{df}e \u{c5}\u{e9}", "class 7"].map(String::from));
        let (color, at) = (Rgb565::RED, Point::new(-7, 30));
        for (size, font) in cases {
            let font = font.with_ignore_unknown_chars(true);
            for text in &texts {
                let baseline = at + Point::new(0, size.cap as i32 / 2);
                for align in [Align::Left, Align::Right] {
                    let [mut expected, mut plain, mut formatted] = [(); 3].map(|()| Ink::default());
                    let side = match align {
                        Align::Left => HorizontalAlignment::Left,
                        Align::Right => HorizontalAlignment::Right,
                    };
                    font.render_aligned(
                        &**text,
                        baseline,
                        VerticalPosition::Baseline,
                        side,
                        FontColor::Transparent(color),
                        &mut expected,
                    )
                    .unwrap();
                    let Ok(()) = size.write(&**text, at, align, color, &mut plain);
                    let args = format_args!("{text}");
                    let Ok(()) = size.write(args, at, align, color, &mut formatted);
                    assert!(expected == plain && expected == formatted, "{text:?}");
                }
                let position = VerticalPosition::Baseline;
                let expected =
                    font.get_rendered_dimensions(&**text, Point::zero(), position).unwrap();
                assert_eq!(size.width(&**text) as i32, expected.advance.x, "{text:?}");
            }
        }
    }
}
