//! What the network sees, enlarged.

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::{Picture, Scene, fill, palette, visible};

pub(super) fn draw<D: DrawTarget<Color = Rgb565>>(
    scene: &Scene<'_>,
    area: Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    let frame = area.offset(2);
    if !visible(&frame, target) {
        return Ok(());
    }
    let edge = if scene.verdict.is_sure() {
        palette::class(scene.verdict.best().class)
    } else {
        palette::UNSURE
    };
    for ring in [frame, area.offset(1)] {
        fill(target, ring, if ring == frame { edge } else { palette::BACKGROUND })?;
    }
    let seen = area.intersection(&target.bounding_box());
    let picture = &scene.picture;
    let pixels = seen.points().map(|point| {
        let from = point - area.top_left;
        let y = from.y as usize * picture.height / area.size.height.max(1) as usize;
        let x = from.x as usize * picture.width / area.size.width.max(1) as usize;
        pixel(picture, y, x)
    });
    target.fill_contiguous(&seen, pixels)
}

fn pixel(picture: &Picture<'_>, y: usize, x: usize) -> Rgb565 {
    let start = (y * picture.width + x) * picture.channels;
    let value = |channel: usize| {
        let value = picture.pixels.get(start + channel).copied().unwrap_or(-128);
        (i16::from(value) + 128) as u8
    };
    if picture.channels == 3 {
        Rgb888::new(value(0), value(1), value(2)).into()
    } else {
        Rgb888::new(value(0), value(0), value(0)).into()
    }
}
