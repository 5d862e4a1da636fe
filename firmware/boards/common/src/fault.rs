//! What is left to say when something went wrong for good: then the watchdog starts the board again.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m_rt::{ExceptionFrame, exception};

/// Says where.
#[allow(unsafe_code, reason = "an exception handler is declared unsafe; nothing in it is")]
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#010x}, called from {=u32:#010x}", frame.pc(), frame.lr());
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
