//! What a board shows instead of an answer: what is wrong, and what to do about it.

use core::fmt::{Arguments, Write as _};

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use heapless::String;

use super::text::{self, Align, BODY, Type};
use super::{fill, fill_round, palette, visible};
use crate::region::{RegionError, VERSION, target};

/// Bytes that a line of a notice may have; what is beyond is left out.
const LINE: usize = 80;
/// From one line of text to the next.
const LINE_HEIGHT: u32 = 16;
/// Width of the mark in front of the title, with the gap after it.
const MARK: u32 = 10;

/// A short text for a display: title, reason, remedy.
///
/// ```
/// use picovit_app::{Notice, RegionError};
///
/// let notice = Notice::from(&RegionError::Empty);
/// assert_eq!(notice.title(), "No model");
/// assert_eq!(notice.remedy(), "cargo firmware flash --model-only");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    title: &'static str,
    reason: String<LINE>,
    remedy: String<LINE>,
}

impl Notice {
    /// A notice. The title should fit into a line: about 16 letters on a screen of 160 columns.
    #[must_use]
    pub fn new(title: &'static str, reason: Arguments<'_>, remedy: Arguments<'_>) -> Self {
        let text = |arguments| {
            let mut text = String::new();
            // The end of one that is too long is not worth an error of its own.
            let _ = text.write_fmt(arguments);
            text
        };
        Self { title, reason: text(reason), remedy: text(remedy) }
    }

    /// What is wrong, in a word or two.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// What is wrong, more precisely.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl From<&RegionError> for Notice {
    fn from(error: &RegionError) -> Self {
        let flash = "cargo firmware flash --model-only";
        match *error {
            RegionError::Empty => Self::new(
                "No model",
                format_args!("its flash memory is empty"),
                format_args!("{flash}"),
            ),
            RegionError::Magic => Self::new(
                "No model",
                format_args!("something else is in its place"),
                format_args!("{flash}"),
            ),
            RegionError::Version { found } => Self::new(
                "Other version",
                format_args!("model region version {found}, this firmware reads {VERSION}"),
                format_args!("cargo firmware flash"),
            ),
            RegionError::Length => Self::new(
                "Model damaged",
                format_args!("its lengths do not agree"),
                format_args!("{flash}"),
            ),
            RegionError::Checksum => Self::new(
                "Model damaged",
                format_args!("its checksum is wrong"),
                format_args!("{flash}"),
            ),
            RegionError::Model(error) => refused(error),
            RegionError::WrongTarget { found, wanted } => Self::new(
                "Other chip",
                format_args!("the model is packed for {}", found.name()),
                format_args!("cargo tools quantize --target {}", target(wanted)),
            ),
            RegionError::TooManyClasses { classes, room } => Self::new(
                "Model too large",
                format_args!("it has {classes} classes, there is room for {room}"),
                format_args!("build firmware for more"),
            ),
            RegionError::ArenaTooSmall { needs, has } => Self::new(
                "Model too large",
                format_args!("needs {needs} B of RAM, has {has}"),
                format_args!("quantize --arena-budget {has}"),
            ),
            RegionError::SelfTest { differing, classes } => Self::new(
                "Self-test failed",
                format_args!("{differing} of {classes} logits differ"),
                format_args!("cargo firmware flash, else replace the board"),
            ),
        }
    }
}

/// The engine's reasons, in few words; the log has all of them.
fn refused(error: picovit::Error) -> Notice {
    const AGAIN: &str = "cargo tools quantize, then flash --model-only";
    let title = "Model refused";
    match error {
        picovit::Error::Version { found } => Notice::new(
            "Other version",
            format_args!("model format {found}, this firmware reads {}", picovit::format::VERSION),
            format_args!("{AGAIN}"),
        ),
        picovit::Error::Format { found } => Notice::new(
            title,
            format_args!("no code for number format {found}"),
            format_args!("quantize to int8, or cargo firmware flash without --model-only"),
        ),
        picovit::Error::Unsupported { index } => Notice::new(
            title,
            format_args!("no code for operation {index}"),
            format_args!("build firmware with all features"),
        ),
        _ => Notice::new(
            title,
            format_args!("it is no valid artifact; see the log"),
            format_args!("{AGAIN}"),
        ),
    }
}

/// Draws a notice for a screen of this size; parts outside the target are skipped.
///
/// # Errors
/// Whatever the target meets.
pub fn draw<D: DrawTarget<Color = Rgb565>>(
    notice: &Notice,
    screen: Size,
    target: &mut D,
) -> Result<(), D::Error> {
    fill(target, Rectangle::new(Point::zero(), screen), palette::BACKGROUND)?;
    let margin = if screen.width.min(screen.height) >= 200 { 8 } else { 4 };
    let inner = screen.width.saturating_sub(2 * margin);
    let left = margin as i32;

    // The title, as large as fits beside its mark.
    let room = inner.saturating_sub(MARK);
    let title = text::headline(notice.title, Size::new(room, screen.height / 8));
    let height = title.cap + 6;
    let area = Rectangle::new(Point::new(left, left), Size::new(inner, height));
    if visible(&area, target) {
        let mark = Rectangle::new(area.top_left, Size::new(4, height));
        fill(target, mark, palette::WRONG)?;
        let middle = area.top_left + Point::new(MARK as i32, height as i32 / 2);
        title.write_within(notice.title, middle, room, palette::TEXT, target)?;
    }

    // The reason below it.
    let top = area.top_left.y + height as i32 + left;
    let area = Rectangle::new(Point::new(left, top), Size::new(inner, 0));
    let below = paragraph(&notice.reason, area, palette::MUTED, target)?;

    // The remedy in a panel.
    let padding = 6;
    let room = Size::new(inner.saturating_sub(2 * padding), 0);
    let height = lines(&notice.remedy, &BODY, room.width).count() as u32 * LINE_HEIGHT;
    let corner = Point::new(left, below + left);
    let panel = Rectangle::new(corner, Size::new(inner, height + padding));
    if visible(&panel, target) {
        fill_round(target, panel, palette::PANEL)?;
    }
    let inside = corner + Size::new(padding, padding / 2);
    paragraph(&notice.remedy, Rectangle::new(inside, room), palette::TEXT, target).map(|_| ())
}

/// Writes a text into the width of an area from its top on; where it ends.
fn paragraph<D: DrawTarget<Color = Rgb565>>(
    text: &str,
    area: Rectangle,
    color: Rgb565,
    target: &mut D,
) -> Result<i32, D::Error> {
    let mut at = area.top_left;
    for line in lines(text, &BODY, area.size.width) {
        let place = Rectangle::new(at, Size::new(area.size.width, LINE_HEIGHT));
        if visible(&place, target) {
            let middle = at + Size::new(0, LINE_HEIGHT / 2);
            BODY.write(line, middle, Align::Left, color, target)?;
        }
        at.y += LINE_HEIGHT as i32;
    }
    Ok(at.y)
}

/// Lines of whole words that fit into a width. A word that does not fit has a line to itself.
fn lines<'t>(text: &'t str, font: &Type, width: u32) -> impl Iterator<Item = &'t str> {
    let mut rest = text.trim_ascii();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let spaces = rest.match_indices(' ').map(|(at, _)| at);
        let mut end = None;
        for at in spaces.chain([rest.len()]) {
            let fits = rest.get(..at).is_some_and(|line| font.width(line) <= width);
            if end.is_some() && !fits {
                break;
            }
            end = Some(at);
        }
        let (line, after) = rest.split_at_checked(end?)?;
        rest = after.trim_ascii();
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn lines_break_between_words() {
        let text = "cargo firmware flash --model-only";
        for width in [0, 60, 100, 140, 1000] {
            let lines: Vec<_> = lines(text, &BODY, width).collect();
            assert_eq!(lines.join(" "), text);
            for line in &lines {
                assert!(BODY.width(*line) <= width || !line.contains(' '), "{width}: {line}");
            }
        }
        assert_eq!(lines(text, &BODY, 1000).count(), 1);
        assert_eq!(lines("  ", &BODY, 100).count(), 0);
    }
}
