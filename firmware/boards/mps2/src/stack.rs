//! How much of the stack has been used.

#![allow(unsafe_code)]

use core::ptr::{addr_of, read_volatile};

use cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Most bytes of stack in use at any time since reset: the startup code has painted the stack,
/// and what no longer shows the paint has been used.
pub fn high_water() -> u32 {
    let (bottom, top) = (addr_of!(_stack_end), addr_of!(_stack_start));
    let mut word = bottom;
    // SAFETY: the linker script reserves the words from `bottom` to `top` for the stack; they are
    // aligned, readable, and only ever read here.
    while word < top && unsafe { read_volatile(word) } == STACK_PAINT_VALUE {
        word = word.wrapping_add(1);
    }
    (top as usize - word as usize) as u32
}
