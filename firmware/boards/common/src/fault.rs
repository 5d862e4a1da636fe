//! What is left to say when something went wrong for good: then the watchdog starts the board again.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

picovit_fault::hard_fault!(super::stop);

/// What drivers find wrong, already logged: with their feature `defmt`, they need no formatting and none
/// of the core library's panics for that.
#[defmt::panic_handler]
fn refused() -> ! {
    stop()
}

/// Nothing of picovit's panics; drivers do when the chip does not do as it should.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static SAID: AtomicBool = AtomicBool::new(false);
    // The log may be what panicked.
    if !SAID.swap(true, Ordering::Relaxed)
        && let Some(place) = info.location()
    {
        defmt::error!("panic at {=str}:{=u32}", place.file(), place.line());
    }
    stop()
}

/// Waits for the watchdog.
fn stop() -> ! {
    loop {
        cortex_m::asm::nop();
    }
}
