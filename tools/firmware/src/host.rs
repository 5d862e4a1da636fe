//! The same pictures through the same application on the host.

use picovit::{Engine, Model};
use picovit_app::{App, Banded, Clip, Clock, Cost, Notice, Screen as _, Settings, Sink, WINDOW};

use embedded_graphics::geometry::Size;
use embedded_graphics::primitives::Rectangle;

/// Classes a model may have here.
const CLASSES: usize = 4096;

/// What the host computed.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Logits of every picture.
    pub logits: Vec<Vec<i16>>,
    /// Pixels of the overlays asked for: RGB565, high byte first.
    pub overlays: Vec<u8>,
}

/// Repeats the costs the board measured, so that both draw the same numbers.
struct Measured<'a>(std::slice::Iter<'a, u64>);

impl Clock for Measured<'_> {
    fn start(&mut self) {}

    fn stop(&mut self) -> Cost {
        self.0.next().map_or(Cost::Unknown, |&cost| Cost::Instructions(cost))
    }
}

struct Collect<'a>(&'a mut Vec<u8>);

impl Sink for Collect<'_> {
    type Error = std::convert::Infallible;

    fn take(&mut self, _: &Rectangle, pixels: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(pixels);
        Ok(())
    }
}

/// Draws a notice as a board with this screen does: RGB565, high byte first.
#[must_use]
pub fn notice(notice: &Notice, screen: (u32, u32)) -> Vec<u8> {
    let size = Size::new(screen.0, screen.1);
    let mut pixels = Vec::new();
    let mut band = vec![0; (screen.0 * screen.1) as usize * picovit_app::screen::PIXEL_BYTES];
    let Ok(()) = Banded::new(size, &mut band, Collect(&mut pixels)).show_notice(notice);
    pixels
}

/// Classifies the pictures of a clip and draws the overlay of all of them or of the last.
///
/// # Errors
/// If the clip or the model cannot be used.
pub fn replay(
    model: &Model<'_>,
    clip: &[u8],
    screen: (u32, u32),
    costs: &[u64],
    all: bool,
) -> Result<Replay, Box<dyn std::error::Error>> {
    let clip = Clip::parse(clip)?;
    let mut arena = vec![0u128; model.arena_bytes().div_ceil(size_of::<u128>())];
    let engine = Engine::new(model, bytemuck::cast_slice_mut(&mut arena))?;
    let mut app =
        App::<CLASSES, WINDOW>::new::<std::convert::Infallible>(engine, Settings::default())?;
    let mut clock = Measured(costs.iter());
    let mut replay = Replay::default();
    let size = Size::new(screen.0, screen.1);
    let mut band = vec![0; (screen.0 * screen.1) as usize * picovit_app::screen::PIXEL_BYTES];
    for index in 0..clip.len() {
        let shot = clip.get(index).ok_or("the clip ends too soon")?;
        let outcome = app.classify(&shot, &mut clock)?;
        replay.logits.push(app.logits().to_vec());
        if all || index + 1 == clip.len() {
            let scene = app.scene(&shot, &outcome)?;
            let Ok(()) = Banded::new(size, &mut band, Collect(&mut replay.overlays)).show(&scene);
        }
    }
    Ok(replay)
}
