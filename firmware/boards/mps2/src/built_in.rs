//! The model as part of the firmware: its arena and its classes are known to the compiler.

use core::mem::offset_of;

use picovit::format::Header;
use picovit::{Engine, Model};
use picovit_app::{AppError, Settings};

use crate::{Application, Failure};

/// The artifact.
pub static MODEL: &[u8] = picovit::include_artifact!(env!("PICOVIT_MODEL_FILE"));

/// Classes of the model.
pub const CLASSES: usize = {
    let at = offset_of!(Header, classes);
    u16::from_le_bytes([MODEL[at], MODEL[at + 1]]) as usize
};
/// Working memory of the model.
pub const ARENA_BYTES: usize = picovit::arena_bytes(MODEL);

/// Puts the application into its place. Not inlined: the stack that this needs is free again before
/// the first inference.
#[inline(never)]
pub fn start<'p>(
    place: &'p mut Option<Application>,
    arena: &'static mut [u8],
    _: &mut [u8],
) -> Result<&'p mut Application, Failure> {
    let model = Model::parse(MODEL).map_err(|error| defmt::error!("model: {}", error))?;
    let engine = Engine::new(&model, arena).map_err(|error| defmt::error!("engine: {}", error))?;
    let app = Application::new(engine, Settings::default())
        .map_err(|_: AppError<Failure>| defmt::error!("too many classes"))?;
    Ok(place.insert(app))
}
