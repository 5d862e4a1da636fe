//! Depthwise 3x3 convolutions: eight channels of a pixel at a time, over all pixels of a row. Products
//! are halfwords, and so are the sums of two: `2 * 127 * 128` is below 2^15.

use core::arch::global_asm;

use crate::kernels::depthwise::{Depthwise, Job};

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55

    @ Where a job's fields are on the stack, and what is beside them.
    .equ BIAS, 20
    .equ MULT, 24
    .equ WEIGHTS, 28
    .equ GROUPS, 32
    .equ OUTPUTS, 36
    .equ STEP, 40
    .equ TAPS, 48
    .equ FRAME, 192

    @ Products of a tap; row: the pixel's, which becomes the next one.
    .macro picovit_tap at, to, row, step
    vldrb.s16 \to, [\row]
    add \row, \step
    vldrw.u32 q4, [sp, #TAPS + 16 * (\at)]
    vmul.i16 \to, \to, q4
    .endm

    @ Adds products to the sums of even channels in q2, of odd ones in q3.
    .macro picovit_widen
    vmovlb.s16 q1, q0
    vmovlt.s16 q0, q0
    vadd.i32 q2, q2, q1
    vadd.i32 q3, q3, q0
    .endm

    .macro picovit_taps at, row0, step0, row1, step1
    picovit_tap \at, q0, \row0, \step0
    picovit_tap \at + 1, q1, \row1, \step1
    vadd.i16 q0, q0, q1
    picovit_widen
    .endm

    .section .text.picovit_helium_depthwise,"ax",%progbits
    .balign 4
    .global picovit_helium_depthwise
    .type picovit_helium_depthwise, %function
    .thumb_func
    @ r0: a job.
picovit_helium_depthwise:
    push {{r3-r11, lr}}
    vpush {{d8-d9}}
    sub sp, #FRAME
    ldmia r0, {{r1-r11}}
    stmia sp, {{r1-r11}}
    @ Eight channels: weights first.
1:
    ldr r3, [sp, #12]
    ldr r0, [sp, #WEIGHTS]
    add r1, r0, #8
    str r1, [sp, #WEIGHTS]
    add r1, sp, #TAPS
    movs r2, #9
    dls lr, r2
2:
    vldrb.s16 q0, [r0]
    add r0, r3
    vstrw.32 q0, [r1], #16
    le lr, 2b
    @ r0 to r2: three rows, r3: bytes of a pixel, r4: from the third pixel of an output to the first of
    @ the next, r6: output, r8: bias, r9: multipliers, r12: zero point.
    ldmia sp, {{r0-r3, r12}}
    ldrd r8, r9, [sp, #BIAS]
    ldrd r5, r4, [sp, #OUTPUTS]
    sub r4, r4, r3, lsl #1
    mov r6, r0
    dls lr, r5
    @ A pixel.
3:
    vld20.32 {{q2, q3}}, [r8]
    vld21.32 {{q2, q3}}, [r8]
    picovit_taps 0, r0, r3, r0, r3
    picovit_taps 2, r0, r4, r1, r3
    picovit_taps 4, r1, r3, r1, r4
    picovit_taps 6, r2, r3, r2, r3
    picovit_tap 8, q0, r2, r4
    picovit_widen
    vld20.32 {{q0, q1}}, [r9]
    vld21.32 {{q0, q1}}, [r9]
    vrmulh.s32 q2, q2, q0
    vrmulh.s32 q3, q3, q1
    vadd.i32 q2, q2, r12
    vadd.i32 q3, q3, r12
    vqmovnb.s32 q2, q2
    vqmovnt.s32 q2, q3
    vqmovnb.s16 q2, q2
    vstrb.16 q2, [r6]
    add r6, r3
    le lr, 3b
    ldmia sp, {{r0-r2}}
    adds r0, #8
    adds r1, #8
    adds r2, #8
    stmia sp, {{r0-r2}}
    add r8, r8, #32
    add r9, r9, #32
    strd r8, r9, [sp, #BIAS]
    ldr r0, [sp, #GROUPS]
    subs r0, r0, #1
    str r0, [sp, #GROUPS]
    bne 1b
    add sp, #FRAME
    vpop {{d8-d9}}
    pop {{r3-r11, pc}}
    .size picovit_helium_depthwise, . - picovit_helium_depthwise
    .purgem picovit_tap
    .purgem picovit_widen
    .purgem picovit_taps
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_depthwise(job: *const Job);
}

/// Channels at a time.
const GROUP: usize = 8;

/// See [`depthwise`](crate::kernels::depthwise()); whether it was done.
pub(in crate::kernels) fn depthwise(
    layer: Depthwise<'_>,
    ring: &mut [i8],
    first: usize,
    outputs: usize,
) -> bool {
    let Some(job) = layer.job(ring, first, outputs, GROUP) else { return false };
    // SAFETY: the job is of memory that is there, for whole groups and one output or more; loads of
    // words need no alignment but those of bias and multipliers, which are words. The code keeps the
    // registers of the procedure call standard.
    unsafe { picovit_helium_depthwise(&job) }
    true
}
