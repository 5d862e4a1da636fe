//! Layer norm.

use core::arch::global_asm;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_norm,"ax",%progbits
    .balign 4
    .global picovit_helium_squares
    .type picovit_helium_squares, %function
    .thumb_func
    @ r0: values, r1: how many, r2: where their sum goes. Gives the sum of squares.
picovit_helium_squares:
    push {{r4-r6, lr}}
    movs r4, #0
    movs r5, #0
    movs r6, #0
    wlstp.16 lr, r1, 2f
1:
    vldrh.u16 q0, [r0], #16
    vaddva.s16 r6, q0
    vmlaldava.s16 r4, r5, q0, q0
    letp lr, 1b
2:
    str r6, [r2]
    mov r0, r4
    mov r1, r5
    pop {{r4-r6, pc}}
    .size picovit_helium_squares, . - picovit_helium_squares

    @ r5: how many, r6 to r8: width * 2^shift, -sum * 2^shift, inverse.
    .macro picovit_norm_values address:vararg
    push {{r4-r8, lr}}
    add r4, sp, #24
    ldmia r4, {{r5-r8}}
    vdup.32 q1, r6
    vdup.32 q2, r8
    wlstp.32 lr, r5, 2f
1:
    vldrh.s32 q0, \address
    vmlas.u32 q0, q1, r7
    vrmulh.s32 q0, q0, q2
    vldrw.u32 q3, [r1], #16
    vrmulh.s32 q0, q0, q3
    vldrw.u32 q3, [r2], #16
    vadd.i32 q0, q0, q3
    .endm

    .balign 4
    .global picovit_helium_norm8
    .type picovit_helium_norm8, %function
    .thumb_func
    @ r0: values, r1: gains, r2: offsets, r3: outputs, on the stack: r5 to r8 above.
picovit_helium_norm8:
    picovit_norm_values [r0], #8
    vqshrnb.s32 q0, q0, #8
    vqmovnb.s16 q0, q0
    vstrb.32 q0, [r3], #4
    letp lr, 1b
2:
    pop {{r4-r8, pc}}
    .size picovit_helium_norm8, . - picovit_helium_norm8

    .balign 4
    .global picovit_helium_norm16
    .type picovit_helium_norm16, %function
    .thumb_func
    @ r0: values, which become the outputs, r1: gains, r2: offsets, on the stack: r5 to r8 above.
picovit_helium_norm16:
    picovit_norm_values [r0]
    vqmovnb.s32 q0, q0
    vstrh.32 q0, [r0], #8
    letp lr, 1b
2:
    pop {{r4-r8, pc}}
    .size picovit_helium_norm16, . - picovit_helium_norm16
    .purgem picovit_norm_values
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_squares(x: *const i16, count: usize, sum: *mut i32) -> u64;
    fn picovit_helium_norm8(
        x: *const i16,
        gain: *const i32,
        offset: *const i32,
        out: *mut i8,
        count: usize,
        factor: i32,
        minus_sum: i32,
        inverse: i32,
    );
    fn picovit_helium_norm16(
        x: *mut i16,
        gain: *const i32,
        offset: *const i32,
        unused: usize,
        count: usize,
        factor: i32,
        minus_sum: i32,
        inverse: i32,
    );
}

/// The sums of values and of their squares.
#[inline]
pub(in crate::kernels) fn sums_of_squares(x: &[i16]) -> (i32, u64) {
    let mut sum = 0;
    // SAFETY: reads the values and writes `sum`. The code keeps the registers of the procedure call
    // standard.
    let squares = unsafe { picovit_helium_squares(x.as_ptr(), x.len(), &mut sum) };
    (sum, squares)
}

/// int8 outputs: `sat8((offset + mulhi(mulhi(x * factor - sum, inverse), gain)) >> 8)`.
#[inline]
pub(in crate::kernels) fn write8(
    x: &[i16],
    (factor, sum, inverse): (i32, i32, i32),
    gain: &[i32],
    offset: &[i32],
    out: &mut [i8],
) {
    let count = x.len().min(gain.len()).min(offset.len()).min(out.len());
    let minus_sum = sum.wrapping_neg();
    let (x, gain, offset) = (x.as_ptr(), gain.as_ptr(), offset.as_ptr());
    let out = out.as_mut_ptr();
    // SAFETY: reads `count` values of each slice and writes as many. As above.
    unsafe { picovit_helium_norm8(x, gain, offset, out, count, factor, minus_sum, inverse) }
}

/// int16 outputs, in place: `sat16(offset + mulhi(mulhi(x * factor - sum, inverse), gain))`.
#[inline]
pub(in crate::kernels) fn write16(
    x: &mut [i16],
    (factor, sum, inverse): (i32, i32, i32),
    gain: &[i32],
    offset: &[i32],
) {
    let count = x.len().min(gain.len()).min(offset.len());
    let minus_sum = sum.wrapping_neg();
    let (x, gain, offset) = (x.as_mut_ptr(), gain.as_ptr(), offset.as_ptr());
    // SAFETY: reads `count` values of each slice and writes as many of `x`. As above.
    unsafe { picovit_helium_norm16(x, gain, offset, 0, count, factor, minus_sum, inverse) }
}
