//! The answer in large type, with what there is to say about it.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};

use super::text::{Align, BODY, SMALL, headline};
use super::{Scene, palette, visible};
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
            Cost::Micros(micros) => SMALL.write(
                format_args!("{} ms", micros / 1000),
                foot,
                Align::Left,
                palette::MUTED,
                target,
            )?,
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

fn tick<D: DrawTarget<Color = Rgb565>>(at: Point, target: &mut D) -> Result<(), D::Error> {
    let style = PrimitiveStyle::with_stroke(palette::RIGHT, 2);
    let (low, left, right) = (Point::new(4, 4), Point::new(0, 0), Point::new(11, -4));
    Line::new(at + left, at + low).into_styled(style).draw(target)?;
    Line::new(at + low, at + right).into_styled(style).draw(target)
}

fn cross<D: DrawTarget<Color = Rgb565>>(at: Point, target: &mut D) -> Result<(), D::Error> {
    let style = PrimitiveStyle::with_stroke(palette::WRONG, 2);
    let centre = at + Point::new(5, 0);
    for slope in [1, -1] {
        let half = Point::new(4, 4 * slope);
        Line::new(centre - half, centre + half).into_styled(style).draw(target)?;
    }
    Ok(())
}
