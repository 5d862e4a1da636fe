//! A model and its engine.

use picovit::{Arena, Engine, Model};
use spin::{Mutex, MutexGuard};

static MODEL: &[u8] = picovit::include_artifact!(env!("PICOVIT_MODEL"));
static ARENA: Mutex<Arena<{ picovit::arena_bytes(MODEL) }>> = Mutex::new(Arena::new());
static ENGINE: Mutex<Option<Engine<'static, 'static>>> = Mutex::new(None);

/// Makes the engine; the number of logits, 0 if the model cannot be used. To be called once, before
/// anything else.
#[unsafe(no_mangle)]
extern "C" fn start() -> u32 {
    let Ok(model) = Model::parse(MODEL) else { return 0 };
    // A second call would wait for ever.
    let Some(arena) = ARENA.try_lock() else { return 0 };
    let arena: &mut Arena<_> = MutexGuard::leak(arena);
    let Ok(engine) = Engine::new(&model, arena) else { return 0 };
    ENGINE.lock().insert(engine).logits().len() as u32
}

/// Sets a value of the image, in the model's numbers. An inference leaves nothing of the image.
#[unsafe(no_mangle)]
extern "C" fn set(index: u32, value: i32) {
    let mut engine = ENGINE.lock();
    let input = engine.as_mut().map(Engine::input).unwrap_or_default();
    if let Some(place) = input.get_mut(index as usize) {
        *place = value as i8;
    }
}

/// Classifies the image.
#[unsafe(no_mangle)]
extern "C" fn infer() {
    if let Some(engine) = ENGINE.lock().as_mut() {
        engine.run();
    }
}

/// A logit of the last image.
#[unsafe(no_mangle)]
extern "C" fn logit(index: u32) -> i32 {
    let engine = ENGINE.lock();
    let logits = engine.as_ref().map(Engine::logits).unwrap_or_default();
    logits.get(index as usize).copied().unwrap_or(0).into()
}
