//! What a projection's outputs are added to.

use core::arch::global_asm;

use crate::kernels::residual::Shortcut;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_residual_add8,"ax",%progbits
    .balign 4
    .global picovit_helium_residual_add8
    .type picovit_helium_residual_add8, %function
    .thumb_func
    @ r0: sums, r1: bias, r2: multipliers, r3: values, on the stack: how many and a `Shortcut`.
picovit_helium_residual_add8:
    push {{r4-r8, lr}}
    ldr r5, [sp, #24]
    ldr r8, [sp, #28]
    ldmia r8, {{r6-r8}}
    vdup.32 q3, r7
    wlstp.32 lr, r5, 2f
1:
    vldrb.s32 q0, [r3]
    vsub.i32 q0, q0, r6
    vshl.i32 q0, q0, #16
    vrmulh.s32 q0, q0, q3
    vldrw.u32 q1, [r0], #16
    vldrw.u32 q2, [r1], #16
    vadd.i32 q1, q1, q2
    vldrw.u32 q2, [r2], #16
    vrmulh.s32 q1, q1, q2
    vadd.i32 q0, q0, q1
    vadd.i32 q0, q0, r8
    vqmovnb.s32 q0, q0
    vqmovnb.s16 q0, q0
    vstrb.32 q0, [r3], #4
    letp lr, 1b
2:
    pop {{r4-r8, pc}}
    .size picovit_helium_residual_add8, . - picovit_helium_residual_add8
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_residual_add8(
        sums: *const i32,
        bias: *const i32,
        mult: *const i32,
        x: *mut i8,
        count: usize,
        shortcut: *const Shortcut,
    );
}

/// See [`residual_add8`](crate::kernels::residual_add8).
#[inline]
pub(in crate::kernels) fn residual_add8(
    sums: &[i32],
    [bias, mult]: [&[i32]; 2],
    shortcut: Shortcut,
    x: &mut [i8],
) {
    let count = x.len().min(sums.len()).min(bias.len()).min(mult.len());
    let (sums, bias, mult) = (sums.as_ptr(), bias.as_ptr(), mult.as_ptr());
    // SAFETY: reads `count` values of each slice and a shortcut, whose fields are in the order of the
    // registers, and writes as many of `x`. The code keeps the registers of the procedure call standard.
    unsafe { picovit_helium_residual_add8(sums, bias, mult, x.as_mut_ptr(), count, &shortcut) }
}
