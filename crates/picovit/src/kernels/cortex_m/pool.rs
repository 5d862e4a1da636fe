//! Maxima of bytes.

use core::arch::asm;

/// The larger of each of four values.
#[inline(always)]
pub(in crate::kernels) fn max4(a: [i8; 4], b: [i8; 4]) -> [i8; 4] {
    let (a, b): (u32, u32) = (bytemuck::must_cast(a), bytemuck::must_cast(b));
    let max: u32;
    // SAFETY: reads two registers and writes two; SSUB8 tells SEL which bytes are larger.
    unsafe {
        asm!(
            "ssub8 {max}, {a}, {b}",
            "sel {max}, {a}, {b}",
            a = in(reg) a, b = in(reg) b, max = out(reg) max, options(pure, nomem, nostack)
        );
    }
    bytemuck::must_cast(max)
}
