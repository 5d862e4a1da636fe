//! Sums of products of single rows.

use core::arch::global_asm;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_row_sums,"ax",%progbits
    .balign 4
    .global picovit_helium_add_scaled
    .type picovit_helium_add_scaled, %function
    .thumb_func
    @ r0: values, r1: sums, r2: how many, r3: zero point, on the stack: multiplier.
picovit_helium_add_scaled:
    push {{r7, lr}}
    ldr r12, [sp, #8]
    vdup.32 q1, r12
    wlstp.32 lr, r2, 2f
1:
    vldrb.s32 q0, [r0], #4
    vsub.i32 q0, q0, r3
    vshl.i32 q0, q0, #16
    vrmulh.s32 q0, q0, q1
    vldrh.s32 q2, [r1]
    vadd.i32 q0, q0, q2
    vqmovnb.s32 q0, q0
    vstrh.32 q0, [r1], #8
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_add_scaled, . - picovit_helium_add_scaled

    .balign 4
    .global picovit_helium_add_scaled_channels
    .type picovit_helium_add_scaled_channels, %function
    .thumb_func
    @ r0: values, r1: sums, r2: how many, r3: zero points, on the stack: multipliers.
picovit_helium_add_scaled_channels:
    push {{r7, lr}}
    ldr r12, [sp, #8]
    wlstp.32 lr, r2, 2f
1:
    vldrb.s32 q0, [r0], #4
    vldrw.u32 q1, [r3], #16
    vsub.i32 q0, q0, q1
    vshl.i32 q0, q0, #16
    vldrw.u32 q1, [r12], #16
    vrmulh.s32 q0, q0, q1
    vldrh.s32 q2, [r1]
    vadd.i32 q0, q0, q2
    vqmovnb.s32 q0, q0
    vstrh.32 q0, [r1], #8
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_add_scaled_channels, . - picovit_helium_add_scaled_channels

    .balign 4
    .global picovit_helium_multiply_add
    .type picovit_helium_multiply_add, %function
    .thumb_func
    @ r0: values, r1: sums, r2: how many, r3: factor.
picovit_helium_multiply_add:
    push {{r7, lr}}
    wlstp.32 lr, r2, 2f
1:
    vldrb.s32 q0, [r0], #4
    vldrw.u32 q1, [r1]
    vmla.s32 q1, q0, r3
    vstrw.32 q1, [r1], #16
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_multiply_add, . - picovit_helium_multiply_add

    .balign 4
    .global picovit_helium_dot
    .type picovit_helium_dot, %function
    .thumb_func
    @ r0: start, r1, r2: values, r3: how many.
picovit_helium_dot:
    push {{r7, lr}}
    wlstp.8 lr, r3, 2f
1:
    vldrb.u8 q0, [r1], #16
    vldrb.u8 q1, [r2], #16
    vmladava.s8 r0, q0, q1
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_dot, . - picovit_helium_dot
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_add_scaled(x: *const i8, out: *mut i16, count: usize, zero: i32, mult: i32);
    fn picovit_helium_add_scaled_channels(
        x: *const i8,
        out: *mut i16,
        count: usize,
        zeros: *const i32,
        mults: *const i32,
    );
    fn picovit_helium_multiply_add(x: *const i8, sums: *mut i32, count: usize, factor: i32);
    fn picovit_helium_dot(start: i32, w: *const i8, x: *const i8, count: usize) -> i32;
}

/// `out = sat16(out + mulhi((x - zero) << 16, mult))`.
#[inline]
pub(in crate::kernels) fn add_scaled(x: &[i8], zero: i32, mult: i32, out: &mut [i16]) {
    let count = x.len().min(out.len());
    // SAFETY: reads `count` values of both and writes as many of `out`. The code keeps the registers
    // of the procedure call standard.
    unsafe { picovit_helium_add_scaled(x.as_ptr(), out.as_mut_ptr(), count, zero, mult) }
}

/// As [`add_scaled`], with a zero point and a multiplier for each.
#[inline]
pub(in crate::kernels) fn add_scaled_channels(
    x: &[i8],
    zeros: &[i32],
    mults: &[i32],
    out: &mut [i16],
) {
    let count = x.len().min(out.len()).min(zeros.len()).min(mults.len());
    let (zeros, mults) = (zeros.as_ptr(), mults.as_ptr());
    // SAFETY: reads `count` values of each slice and writes as many of `out`. As above.
    unsafe { picovit_helium_add_scaled_channels(x.as_ptr(), out.as_mut_ptr(), count, zeros, mults) }
}

/// `sums += factor * x`.
#[inline]
pub(in crate::kernels) fn multiply_add(x: &[i8], factor: i32, sums: &mut [i32]) {
    let count = x.len().min(sums.len());
    // SAFETY: as above, with sums in the place of outputs.
    unsafe { picovit_helium_multiply_add(x.as_ptr(), sums.as_mut_ptr(), count, factor) }
}

/// `start + sum of w * x`.
#[inline]
pub(in crate::kernels) fn dot(start: i32, w: &[i8], x: &[i8]) -> i32 {
    let count = w.len().min(x.len());
    // SAFETY: reads `count` values of both. As above.
    unsafe { picovit_helium_dot(start, w.as_ptr(), x.as_ptr(), count) }
}
