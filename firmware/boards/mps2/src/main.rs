//! picovit on an emulated Arm MPS2 or MPS3 board (Cortex-M4F, M7F, M33 or M55).
//!
//! Classifies the pictures of a clip in flash as a camera application would, logs every result
//! with its exact logits, and sends the overlay to the host. `cargo firmware run` builds this,
//! runs it and compares the results with the host's engine.
#![no_std]
#![no_main]

#[cfg(not(feature = "region"))]
mod built_in;
mod counter;
mod fault;
mod host;
#[cfg(feature = "profile")]
mod profile;
#[cfg(feature = "region")]
mod region;
mod stack;

use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use defmt_semihosting as _;
use embedded_graphics::geometry::Size;
use picovit::Arena;
use picovit_app::screen::PIXEL_BYTES;
use picovit_app::{App, Banded, Clip, Outcome, Screen as _, Shot, WINDOW};

#[cfg(not(feature = "region"))]
use built_in::{ARENA_BYTES, CLASSES, start};
use counter::InstructionCounter;
use host::{OverlayFile, Overlays};
#[cfg(feature = "region")]
use region::{ARENA_BYTES, CLASSES, start};

/// The pictures: what a camera would see. No part of the firmware, so they lie in memory of their own.
// The section is the memory map's, and nothing else is in it.
#[allow(unsafe_code)]
#[unsafe(link_section = ".pictures")]
static FRAMES: [u8; include_bytes!(env!("PICOVIT_FRAMES_FILE")).len()] =
    *include_bytes!(env!("PICOVIT_FRAMES_FILE"));

/// The board's display.
const SCREEN: Size = Size::new(320, 240);
/// Rows drawn at a time.
const BAND_ROWS: usize = 16;
const BAND_BYTES: usize = SCREEN.width as usize * BAND_ROWS * PIXEL_BYTES;

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<ARENA_BYTES> = Arena::new();
    static mut BAND: [u8; BAND_BYTES] = [0; BAND_BYTES];
    // Variables that live as long as the board are not for the stack.
    static mut APP: Option<Application> = None;

    match start(APP, ARENA, BAND).and_then(|app| run(app, BAND)) {
        Ok(()) => host::exit(0),
        Err(Failure) => host::exit(1),
    }
}

/// The camera application with room for the model's classes.
type Application = App<'static, 'static, CLASSES, WINDOW>;

/// Something went wrong and has been logged.
struct Failure;

fn run(app: &mut Application, band: &mut [u8]) -> Result<(), Failure> {
    let overlays = host::overlays();
    let core = cortex_m::Peripherals::take().ok_or(Failure)?;
    let clock = InstructionCounter::new(core.SYST);
    let calibration = clock.calibration();
    defmt::println!(
        "calibration instructions={=u64} ticks={=u64}",
        calibration.instructions,
        calibration.ticks
    );
    #[cfg(not(feature = "profile"))]
    let mut clock = clock;
    #[cfg(feature = "profile")]
    let mut clock = profile::Profiler::new(clock);
    defmt::println!("screen width={=u32} height={=u32}", SCREEN.width, SCREEN.height);

    let mut screen = Banded::new(SCREEN, band, OverlayFile::new());
    // The code must not depend on which pictures there are, or its size would.
    let clip = Clip::parse(black_box(&FRAMES[..]))
        .map_err(|error| defmt::error!("pictures: {}", error))?;

    let mut inference_stack = 0;
    for index in 0..clip.len() {
        let shot = clip.get(index).ok_or(Failure)?;
        let frame = |error| defmt::error!("picture {=usize}: {}", index, error);
        #[cfg(feature = "profile")]
        clock.picture();
        let outcome = app.classify(&shot, &mut clock).map_err(frame)?;
        #[cfg(feature = "profile")]
        clock.log();
        if index == 0 {
            inference_stack = stack::high_water();
        }
        let last = index + 1 == clip.len();
        if overlays == Overlays::All || (overlays == Overlays::Last && last) {
            show(app, &mut screen, &shot, &outcome)?;
        }
    }
    defmt::println!(
        "done frames={=usize} stack={=u32} inference_stack={=u32}",
        clip.len(),
        stack::high_water(),
        inference_stack
    );
    Ok(())
}

/// Shows the answer. Not inlined: what drawing needs is not on the stack during an inference.
#[inline(never)]
fn show(
    app: &mut Application,
    screen: &mut Banded<'_, OverlayFile>,
    shot: &Shot<'_>,
    outcome: &Outcome,
) -> Result<(), Failure> {
    let scene = app
        .scene(shot, outcome)
        .map_err(|error| defmt::error!("picture {=u32}: {}", outcome.index, error))?;
    screen.show(&scene).map_err(|_| defmt::error!("the host does not take the overlay"))?;
    Ok(())
}

impl From<()> for Failure {
    /// The error has been logged.
    fn from((): ()) -> Self {
        Self
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    host::exit(2)
}
