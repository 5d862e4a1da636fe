//! The model's part of the flash.

use core::ptr::addr_of;

/// What is in it.
#[allow(unsafe_code, reason = "the memory map says where it is")]
#[must_use]
pub fn region() -> &'static [u8] {
    unsafe extern "C" {
        static _model_start: u8;
        static _model_end: u8;
    }
    let (start, end) = (addr_of!(_model_start), addr_of!(_model_end));
    // SAFETY: the linker script reserves the bytes between the two, flash that can always be read and
    // that is written only while the chip stands still.
    unsafe { core::slice::from_raw_parts(start, (end as usize).wrapping_sub(start as usize)) }
}
