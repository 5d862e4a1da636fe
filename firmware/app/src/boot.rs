//! From the model in a board's flash to an application that is known to compute what the host does.

use picovit::format::Packing;
use picovit::{Engine, Error};

use crate::app::{App, AppError, Settings};
use crate::region::{Region, RegionError, SelfTest};

/// Checks the model in `memory`, runs it once on the picture beside it, and puts an application into
/// `place`, which is a `static`: it lives as long as the board, and the stack is not for that.
///
/// The model is not known when the firmware is built: `arena` is as large as the board can afford,
/// normally [`ARENA_BYTES`](crate::region::ARENA_BYTES), `CLASSES` likewise, and `supported` normally
/// [`SUPPORTED`](crate::region::SUPPORTED).
///
/// An error has been logged. It is for the board to show the [`Notice`](crate::Notice) made of it,
/// and then to idle and feed its watchdog until somebody writes another model: a reset would change
/// nothing.
///
/// # Errors
/// [`RegionError`].
pub fn boot<'p, 'm, 'a, const CLASSES: usize, const WINDOW: usize>(
    place: &'p mut Option<App<'m, 'a, CLASSES, WINDOW>>,
    memory: &'m [u8],
    supported: &[Packing],
    arena: &'a mut [u8],
    settings: Settings,
) -> Result<&'p mut App<'m, 'a, CLASSES, WINDOW>, RegionError> {
    let started = start(place, memory, supported, arena, settings);
    #[cfg(feature = "defmt")]
    if let Err(error) = &started {
        defmt::error!("model region: {}", error);
    }
    started?;
    place.as_mut().ok_or(RegionError::Empty)
}

/// Fills the place, or leaves it empty.
fn start<'m, 'a, const CLASSES: usize, const WINDOW: usize>(
    place: &mut Option<App<'m, 'a, CLASSES, WINDOW>>,
    memory: &'m [u8],
    supported: &[Packing],
    arena: &'a mut [u8],
    settings: Settings,
) -> Result<(), RegionError> {
    let region = Region::parse(memory, supported)?;
    fill(place, &region, arena, settings)?;
    let tested = place.as_mut().map_or(Ok(()), |app| app.self_test(region.self_test()));
    if tested.is_err() {
        *place = None;
    }
    tested
}

/// Puts an application into its place. Not inlined: the stack that this needs is free again before
/// the first inference.
#[inline(never)]
fn fill<'m, 'a, const CLASSES: usize, const WINDOW: usize>(
    place: &mut Option<App<'m, 'a, CLASSES, WINDOW>>,
    region: &Region<'m>,
    arena: &'a mut [u8],
    settings: Settings,
) -> Result<(), RegionError> {
    let engine = Engine::new(region.model(), arena).map_err(|error| match error {
        Error::ArenaTooSmall { needed, given } => {
            RegionError::ArenaTooSmall { needs: needed, has: given }
        }
        error => RegionError::Model(error),
    })?;
    let app = App::new::<()>(engine, settings).map_err(|error| match error {
        AppError::TooManyClasses { classes, room } => RegionError::TooManyClasses { classes, room },
        // `new` has no other.
        _ => RegionError::Length,
    })?;
    place.replace(app);
    Ok(())
}

impl<const CLASSES: usize, const WINDOW: usize> App<'_, '_, CLASSES, WINDOW> {
    /// Runs the model on a picture whose logits are known. Nothing is logged, and no frame counted.
    ///
    /// # Errors
    /// [`RegionError::SelfTest`] unless all logits are the expected ones, bit for bit.
    pub fn self_test(&mut self, test: &SelfTest<'_>) -> Result<(), RegionError> {
        let engine = self.engine();
        let (input, classes) = (engine.input(), test.logits().len());
        if input.len() != test.input().len() {
            return Err(RegionError::Length);
        }
        for (place, value) in input.iter_mut().zip(test.input()) {
            *place = value;
        }
        let logits = engine.run();
        let same = logits.iter().zip(test.logits()).filter(|&(&found, known)| found == known);
        let differing = logits.len().max(classes) - same.count();
        if differing == 0 { Ok(()) } else { Err(RegionError::SelfTest { differing, classes }) }
    }
}
