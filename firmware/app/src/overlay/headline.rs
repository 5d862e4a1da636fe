//! The answer in large type, with what there is to say about it.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::text::{Align, BODY, SMALL, headline};
use super::{Scene, fill, palette, visible};
use crate::app::Cost;

pub(super) fn draw<D: DrawTarget<Color = Rgb565>>(
    scene: &Scene<'_>,
    area: Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    if !visible(&area, target) {
        return Ok(());
    }
    let best = scene.verdict.best();
    let Point { x, y } = area.top_left;
    let Size { width, height } = area.size;
    let at = |down: u32| Point::new(x, y + down as i32);

    // The label, or the admission.
    let sure = scene.verdict.is_sure();
    let label = match (sure, scene.labels.label(best.class)) {
        (false, _) => "unsure",
        (true, Some(name)) => name,
        (true, None) => "class",
    };
    let line = Size::new(width, height * 2 / 5);
    let size = headline(label, line);
    let color = if sure { palette::TEXT } else { palette::MUTED };
    let mut down = size.cap / 2 + 2;
    size.write_within(label, at(down), width, color, target)?;
    down += size.cap / 2;

    // How probable.
    let accent = if sure { palette::class(best.class) } else { palette::UNSURE };
    let percent = best.percent();
    let size = headline("100 %", Size::new(line.width.min(86), line.height));
    down += 7 + size.cap / 2;
    if height < down + size.cap / 2 {
        return Ok(());
    }
    size.write(format_args!("{percent} %"), at(down), Align::Left, accent, target)?;
    down += size.cap / 2;

    // Whether that is right, where it is known.
    if let Some(expected) = scene.expected {
        down += 8 + BODY.cap / 2;
        if height < down + BODY.cap / 2 {
            return Ok(());
        }
        let right = expected == best.class;
        if right {
            tick(at(down), target)?;
        } else {
            cross(at(down), target)?;
        }
        let text = at(down) + Point::new(16, 0);
        let room = width.saturating_sub(16);
        let color = if right { palette::RIGHT } else { palette::WRONG };
        match scene.labels.label(expected) {
            Some(name) => BODY.write_within(name, text, room, color, target)?,
            None => {
                BODY.write(format_args!("class {expected}"), text, Align::Left, color, target)?;
            }
        }
    }

    // The small print, from the foot of the column upwards.
    if height >= down + 40 {
        let foot = at(height - 5);
        let (whole, tenth) = (scene.cost.value() / 1_000_000, scene.cost.value() / 100_000 % 10);
        match scene.cost {
            Cost::Unknown => {}
            Cost::Instructions(_) => SMALL.write(
                format_args!("{whole}.{tenth} M instr."),
                foot,
                Align::Left,
                palette::MUTED,
                target,
            )?,
            Cost::Micros(micros) => {
                let ms = micros / 1000;
                // Tenths of a frame a second.
                let rate = scene.period.and_then(|period| 10_000_000u64.checked_div(period));
                let mut write = |text| SMALL.write(text, foot, Align::Left, palette::MUTED, target);
                match rate {
                    Some(rate) => write(format_args!("{ms} ms, {}.{} / s", rate / 10, rate % 10))?,
                    None => write(format_args!("{ms} ms"))?,
                }
            }
        }
        let picture = &scene.picture;
        let kind = if picture.channels == 1 { "grey" } else { "colour" };
        SMALL.write(
            format_args!("{} x {} {kind}", picture.width, picture.height),
            foot - Point::new(0, 13),
            Align::Left,
            palette::MUTED,
            target,
        )?;
    }
    Ok(())
}

/// A check mark from `at`, in squares: a line primitive would cost two kilobytes of code.
fn tick<D: DrawTarget<Color = Rgb565>>(at: Point, target: &mut D) -> Result<(), D::Error> {
    for x in 0..12 {
        let y = if x < 4 { x } else { 7 - x };
        dot(at + Point::new(x, y), palette::RIGHT, target)?;
    }
    Ok(())
}

/// A cross from `at`.
fn cross<D: DrawTarget<Color = Rgb565>>(at: Point, target: &mut D) -> Result<(), D::Error> {
    for x in 0..9 {
        dot(at + Point::new(x + 1, x - 4), palette::WRONG, target)?;
        dot(at + Point::new(x + 1, 4 - x), palette::WRONG, target)?;
    }
    Ok(())
}

fn dot<D: DrawTarget<Color = Rgb565>>(
    at: Point,
    color: Rgb565,
    target: &mut D,
) -> Result<(), D::Error> {
    fill(target, Rectangle::new(at, Size::new_equal(2)), color)
}
