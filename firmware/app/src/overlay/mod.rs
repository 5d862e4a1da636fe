//! The picture on the display: what the network sees, what it says, how sure it is, and what it
//! said before.
//!
//! [`draw`] works on any `DrawTarget` of `Rgb565` and any screen from about 160x128 up. It draws
//! only what lies inside the target's bounding box, so a screen can be drawn in bands.

mod bars;
mod font;
mod headline;
mod layout;
pub mod notice;
mod palette;
mod picture;
mod strip;
mod text;

use embedded_graphics::geometry::Size;
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use picovit::{Model, Prediction};

use crate::app::{Cost, Verdict};
use crate::history::History;

use layout::Layout;

/// Names of classes.
pub trait Labels {
    /// The name of a class, if it has one.
    fn label(&self, class: u16) -> Option<&str>;
}

impl Labels for Model<'_> {
    fn label(&self, class: u16) -> Option<&str> {
        Model::label(self, class.into())
    }
}

impl Labels for [&str] {
    fn label(&self, class: u16) -> Option<&str> {
        self.get(usize::from(class)).copied()
    }
}

impl<const N: usize> Labels for [&str; N] {
    fn label(&self, class: u16) -> Option<&str> {
        self.as_slice().label(class)
    }
}

/// What the network sees: the model's input.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// `[height][width][channels]`, each value the pixel minus 128.
    pub pixels: &'a [i8],
}

/// Everything the overlay shows.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Names of the classes.
    pub labels: &'a dyn Labels,
    /// What the network sees.
    pub picture: Picture<'a>,
    /// The most likely classes, most likely first.
    pub top: &'a [Prediction],
    /// The answer.
    pub verdict: Verdict,
    /// The right answer, where it is known.
    pub expected: Option<u16>,
    /// What was shown for the last frames, this one included.
    pub history: &'a History,
    /// What the inference cost.
    pub cost: Cost,
    /// Microseconds since the frame before, where there is a clock.
    pub period: Option<u64>,
}

/// Draws a scene for a screen of this size; parts outside the target are skipped.
///
/// # Errors
/// Whatever the target meets.
pub fn draw<D: DrawTarget<Color = Rgb565>>(
    scene: &Scene<'_>,
    screen: Size,
    target: &mut D,
) -> Result<(), D::Error> {
    let layout = Layout::new(screen, &scene.picture);
    fill(target, Rectangle::new(Point::zero(), screen), palette::BACKGROUND)?;
    picture::draw(scene, layout.picture, target)?;
    headline::draw(scene, layout.headline, target)?;
    for (row, prediction) in scene.top.iter().enumerate() {
        if let Some(area) = layout.bar(row) {
            bars::draw(scene, prediction, row == 0, area, target)?;
        }
    }
    strip::draw(scene.history, layout.strip, target)
}

/// Whether a part has anything to draw on this target. Letters may reach below their area by the
/// length of a descender.
fn visible<D: Dimensions>(area: &Rectangle, target: &D) -> bool {
    !area.offset(text::DESCENDER).intersection(&target.bounding_box()).is_zero_sized()
}

/// A filled rectangle.
fn fill<D: DrawTarget<Color = Rgb565>>(
    target: &mut D,
    area: Rectangle,
    color: Rgb565,
) -> Result<(), D::Error> {
    let area = area.intersection(&target.bounding_box());
    if area.is_zero_sized() { Ok(()) } else { target.fill_solid(&area, color) }
}

/// A filled rectangle whose corner pixels are left out, twice: a rounding that costs nothing.
fn fill_round<D: DrawTarget<Color = Rgb565>>(
    target: &mut D,
    area: Rectangle,
    color: Rgb565,
) -> Result<(), D::Error> {
    let Size { width, height } = area.size;
    if width < 6 || height < 6 {
        return fill(target, area, color);
    }
    let inset = |dx: u32, dy: u32| {
        Rectangle::new(
            area.top_left + Size::new(dx, dy),
            Size::new(width - 2 * dx, height - 2 * dy),
        )
    };
    fill(target, inset(2, 0), color)?;
    fill(target, inset(1, 1), color)?;
    fill(target, inset(0, 2), color)
}
