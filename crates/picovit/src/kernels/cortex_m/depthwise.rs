//! Depthwise 3x3 convolutions: four channels of a pixel at a time, over all pixels of a row. A word of
//! pixels gives two words of two halfwords, channels 0 and 2, then 1 and 3, and so do the weights, once
//! a row.

use core::arch::global_asm;

use crate::kernels::depthwise::{Depthwise, Job};

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified

    @ Where a job's fields are on the stack, and what is beside them.
    .equ ROWS, 0
    .equ BIAS, 20
    .equ MULT, 24
    .equ WEIGHTS, 28
    .equ GROUPS, 32
    .equ OUTPUTS, 36
    .equ STEP, 40
    .equ LEFT, 44
    .equ TAPS, 48
    .equ FRAME, 120

    @ r4 to r7: sums of four channels. r3: bytes of a pixel.
    .macro picovit_tap at, pixel:vararg
    ldr r8, \pixel
    ldrd r10, r11, [sp, #TAPS + 8 * \at]
    sxtb16 r9, r8, ror #8
    sxtb16 r8, r8
    smlabb r4, r8, r10, r4
    smlabb r5, r9, r11, r5
    smlatt r6, r8, r10, r6
    smlatt r7, r9, r11, r7
    .endm

    .section .text.picovit_cortex_m_depthwise,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_depthwise
    .type picovit_cortex_m_depthwise, %function
    .thumb_func
    @ r0: a job.
picovit_cortex_m_depthwise:
    push {{r4-r11, lr}}
    sub sp, #FRAME
    ldmia r0, {{r1-r11}}
    stmia sp, {{r1-r11}}
    @ Four channels: weights first.
1:
    ldr r3, [sp, #ROWS + 12]
    ldr r0, [sp, #WEIGHTS]
    adds r1, r0, #4
    str r1, [sp, #WEIGHTS]
    add r1, sp, #TAPS
    movs r2, #3
2:
    .rept 3
    ldr r4, [r0]
    add r0, r3
    sxtb16 r5, r4, ror #8
    sxtb16 r4, r4
    strd r4, r5, [r1], #8
    .endr
    subs r2, r2, #1
    bne 2b
    ldr r4, [sp, #OUTPUTS]
    str r4, [sp, #LEFT]
    @ r0 to r2: three rows, r3: bytes of a pixel, r12: zero point, lr: output.
    ldmia sp, {{r0-r3, r12}}
    mov lr, r0
    @ A pixel.
    .balign 4
3:
    ldr r8, [sp, #BIAS]
    ldmia r8, {{r4-r7}}
    picovit_tap 0, [r0]
    picovit_tap 1, [r0, r3]
    picovit_tap 2, [r0, r3, lsl #1]
    picovit_tap 3, [r1]
    picovit_tap 4, [r1, r3]
    picovit_tap 5, [r1, r3, lsl #1]
    picovit_tap 6, [r2]
    picovit_tap 7, [r2, r3]
    picovit_tap 8, [r2, r3, lsl #1]
    ldr r8, [sp, #MULT]
    ldmia r8, {{r8-r11}}
    smmlar r4, r4, r8, r12
    smmlar r5, r5, r9, r12
    smmlar r6, r6, r10, r12
    smmlar r7, r7, r11, r12
    ssat r4, #8, r4
    ssat r5, #8, r5
    ssat r6, #8, r6
    ssat r7, #8, r7
    bfi r4, r5, #8, #8
    bfi r6, r7, #8, #8
    pkhbt r4, r4, r6, lsl #16
    str r4, [lr]
    add lr, r3
    ldrd r8, r9, [sp, #STEP]
    add r0, r8
    add r1, r8
    add r2, r8
    subs r9, r9, #1
    str r9, [sp, #LEFT]
    bne 3b
    ldmia sp, {{r0-r2}}
    adds r0, r0, #4
    adds r1, r1, #4
    adds r2, r2, #4
    stmia sp, {{r0-r2}}
    ldrd r0, r1, [sp, #BIAS]
    adds r0, r0, #16
    adds r1, r1, #16
    strd r0, r1, [sp, #BIAS]
    ldr r0, [sp, #GROUPS]
    subs r0, r0, #1
    str r0, [sp, #GROUPS]
    bne 1b
    add sp, #FRAME
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_depthwise, . - picovit_cortex_m_depthwise
    .purgem picovit_tap
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m_depthwise(job: *const Job);
}

/// Channels at a time.
const GROUP: usize = 4;

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
    unsafe { picovit_cortex_m_depthwise(&job) }
    true
}
