//! The last answers, newest at the right: hue for the class, height for the probability.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::{fill, fill_round, palette, visible};
use crate::history::History;

/// Width of one answer, with the gap after it.
const STEP: u32 = 5;

pub(super) fn draw<D: DrawTarget<Color = Rgb565>>(
    history: &History,
    area: Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    if !visible(&area, target) {
        return Ok(());
    }
    fill_round(target, area, palette::PANEL)?;
    let inside = area.offset(-3);
    let capacity = (inside.size.width / STEP) as usize;
    let skip = history.len().saturating_sub(capacity);
    let shown = history.len().min(capacity) as u32;
    let left = inside.top_left.x + (inside.size.width - shown * STEP) as i32;
    for (place, entry) in history.iter().skip(skip).enumerate() {
        let full = inside.size.height;
        let height = (full * u32::from(entry.probability)).div_ceil(65535).clamp(2, full.max(2));
        let color = entry.class.map_or(palette::UNSURE, palette::class);
        let corner = Point::new(
            left + (place as u32 * STEP) as i32,
            inside.top_left.y + (full.saturating_sub(height)) as i32,
        );
        fill(target, Rectangle::new(corner, Size::new(STEP - 1, height)), color)?;
    }
    Ok(())
}
