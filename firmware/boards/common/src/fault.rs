//! What is left to say when something went wrong for good: then the watchdog starts the board again.

#![allow(unsafe_code, reason = "the handler has to begin without a stack")]

use core::arch::global_asm;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m_rt::ExceptionFrame;

/// The Configurable Fault Status Register.
const STATUS: *const u32 = 0xe000_ed28 as *const u32;

/// Bits of it that say that the stack has no room: `STKOF` where the processor knows its limit,
/// `STKERR` where there is no memory below it.
const NO_STACK: u32 = 1 << 20 | 1 << 12;

// Where the stack is full, the handler begins at its start again: what is there is lost anyway. The
// stack of a second core lies above; if that is full, the core stops here, and the first says so.
global_asm!(
    ".section .HardFault.user, \"ax\", %progbits",
    ".global HardFault",
    ".type HardFault, %function",
    ".thumb_func",
    "HardFault:",
    "mov r0, sp",
    "ldr r1, =_stack_end",
    "ldr r2, =512",
    "adds r1, r1, r2",
    "cmp r0, r1",
    "bhi 1f",
    "ldr r1, =_stack_start",
    "mov sp, r1",
    "1:",
    "ldr r1, ={fault}",
    "bx r1",
    ".pool",
    fault = sym fault,
);

/// Says what happened.
extern "C" fn fault(frame: *const ExceptionFrame) -> ! {
    // SAFETY: the register may be read at any time.
    let status = unsafe { STATUS.read_volatile() };
    if status & NO_STACK != 0 {
        defmt::error!("hard fault: the stack ran over its end");
    } else {
        // SAFETY: the processor has put the frame there, unless the stack had no room.
        let (at, from) = unsafe { ((*frame).pc(), (*frame).lr()) };
        defmt::error!("hard fault at {=u32:#010x}, called from {=u32:#010x}", at, from);
    }
    stop()
}

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
