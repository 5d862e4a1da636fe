//! One class with its probability as a bar.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use picovit::Prediction;

use super::text::{Align, BODY, BODY_BOLD};
use super::{Scene, fill_round, palette, visible};

/// Room for "100 %".
const PERCENT_WIDTH: u32 = 42;
/// Thickness of a bar.
const THICKNESS: u32 = 10;

pub(super) fn draw<D: DrawTarget<Color = Rgb565>>(
    scene: &Scene<'_>,
    prediction: &Prediction,
    first: bool,
    area: Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    if !visible(&area, target) {
        return Ok(());
    }
    let label_width = (area.size.width * 2 / 5).min(120);
    let middle = area.top_left.y + area.size.height as i32 / 2;
    let Prediction { class, probability } = *prediction;

    let (font, color) = if first && scene.verdict.is_sure() {
        (&BODY_BOLD, palette::TEXT)
    } else {
        (&BODY, palette::MUTED)
    };
    let left = Point::new(area.top_left.x, middle);
    match scene.labels.label(class) {
        Some(name) => font.write_within(name, left, label_width, color, target)?,
        None => font.write(format_args!("class {class}"), left, Align::Left, color, target)?,
    }

    let start = area.top_left.x + label_width as i32 + 6;
    let length = area.size.width.saturating_sub(label_width + 6 + PERCENT_WIDTH);
    let bar = |length| {
        let corner = Point::new(start, middle - THICKNESS as i32 / 2);
        Rectangle::new(corner, Size::new(length, THICKNESS))
    };
    fill_round(target, bar(length), palette::PANEL)?;
    let filled = (length * u32::from(probability) + 32767) / 65535;
    let hue = palette::class(class);
    let hue = if first { hue } else { palette::dimmed(hue, 11) };
    fill_round(target, bar(filled), hue)?;

    let right = Point::new(area.top_left.x + area.size.width as i32 - 1, middle);
    font.write(format_args!("{} %", prediction.percent()), right, Align::Right, color, target)
}
