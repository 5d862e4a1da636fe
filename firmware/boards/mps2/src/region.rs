//! The model in memory of its own, where a board has flash for it: the firmware is the same for all
//! models.

use core::ptr::addr_of;
use core::slice;

use picovit_app::{Banded, Notice, RegionError, Screen as _, Settings};

use crate::counter::{InstructionCounter, PERIOD, ticks};
use crate::host::{self, OverlayFile};
use crate::{Application, Failure, SCREEN};

pub use picovit_app::region::{ARENA_BYTES, CLASSES};

#[cfg(feature = "profile")]
compile_error!("the operations of a model that is not known cannot be told apart: no `profile`");

/// Puts the application into its place, or shows why there is none.
pub fn start<'p>(
    place: &'p mut Option<Application>,
    arena: &'static mut [u8],
    band: &mut [u8],
) -> Result<&'p mut Application, Failure> {
    let supported = picovit_app::region::SUPPORTED;
    picovit_app::boot(place, memory(), supported, arena, Settings::default())
        .map_err(|error| refuse(&error, band))
}

/// The memory that is reserved for the model.
#[allow(unsafe_code)]
fn memory() -> &'static [u8] {
    unsafe extern "C" {
        static _model_start: u8;
        static _model_end: u8;
    }
    let (start, end) = (addr_of!(_model_start), addr_of!(_model_end));
    // SAFETY: the linker script reserves the bytes from `start` to `end`; the emulator has filled them
    // before the reset, and nothing writes there.
    unsafe { slice::from_raw_parts(start, end as usize - start as usize) }
}

/// Shows why there is no application, and idles as a board does until somebody writes another model.
/// The emulation ends after a while in which a reset would have been noticed.
fn refuse(error: &RegionError, band: &mut [u8]) -> Failure {
    defmt::println!("screen width={=u32} height={=u32}", SCREEN.width, SCREEN.height);
    let shown = Banded::new(SCREEN, band, OverlayFile::new()).show_notice(&Notice::from(error));
    if shown.is_err() {
        defmt::error!("the host does not take the overlay");
        return Failure;
    }
    let Some(core) = cortex_m::Peripherals::take() else { return Failure };
    // Its interrupts are what ends the waiting.
    let _clock = InstructionCounter::new(core.SYST);
    let start = ticks();
    while ticks() - start < IDLE {
        cortex_m::asm::wfi();
    }
    defmt::println!("idle ticks={=u64}", ticks() - start);
    host::exit(4)
}

/// Ticks that are long enough.
const IDLE: u64 = PERIOD;
