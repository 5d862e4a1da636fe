//! Softmax weights.

use core::arch::global_asm;

use crate::format::EXP_ENTRIES;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_softmax,"ax",%progbits
    .balign 4
    .global picovit_helium_largest
    .type picovit_helium_largest, %function
    .thumb_func
    @ r0: scores, r1: how many, r2: the smallest number.
picovit_helium_largest:
    push {{r7, lr}}
    wlstp.32 lr, r1, 2f
1:
    vldrw.u32 q0, [r0], #16
    vmaxv.s32 r2, q0
    letp lr, 1b
2:
    mov r0, r2
    pop {{r7, pc}}
    .size picovit_helium_largest, . - picovit_helium_largest

    .balign 4
    .global picovit_helium_weights
    .type picovit_helium_weights, %function
    .thumb_func
    @ r0: scores, r1: weights, r2: how many, r3: table,
    @ on the stack: the largest score, shift, multiplier, last entry.
picovit_helium_weights:
    push {{r4-r7, lr}}
    add r4, sp, #20
    ldmia r4, {{r4-r7}}
    vpush {{d8, d9}}
    vdup.32 q2, r4
    vdup.32 q3, r6
    vdup.32 q4, r7
    movs r4, #0
    wlstp.32 lr, r2, 2f
1:
    vldrw.u32 q0, [r0], #16
    vsub.i32 q0, q2, q0
    vshl.u32 q0, r5
    vrmulh.s32 q0, q0, q3
    vmin.u32 q0, q0, q4
    vldrb.u32 q1, [r3, q0]
    vaddva.u32 r4, q1
    vstrb.32 q1, [r1], #4
    letp lr, 1b
2:
    vpop {{d8, d9}}
    mov r0, r4
    pop {{r4-r7, pc}}
    .size picovit_helium_weights, . - picovit_helium_weights
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_largest(scores: *const i32, count: usize, least: i32) -> i32;
    fn picovit_helium_weights(
        scores: *const i32,
        weights: *mut u8,
        count: usize,
        table: *const u8,
        max: i32,
        shift: u32,
        mult: i32,
        last: usize,
    ) -> u32;
}

/// The largest score.
#[inline]
pub(in crate::kernels) fn largest(scores: &[i32]) -> i32 {
    // SAFETY: reads the scores. The code keeps the registers of the procedure call standard.
    unsafe { picovit_helium_largest(scores.as_ptr(), scores.len(), i32::MIN) }
}

/// Writes the weight of every score and returns their sum.
#[inline]
pub(in crate::kernels) fn weights(
    scores: &[i32],
    max: i32,
    (shift, mult): (u32, i32),
    table: &[u8; EXP_ENTRIES],
    weights: &mut [u8],
) -> u32 {
    let count = scores.len().min(weights.len());
    let last = EXP_ENTRIES - 1;
    let (scores, weights) = (scores.as_ptr(), weights.as_mut_ptr());
    // SAFETY: reads `count` scores and writes as many weights; the smaller of an index and `last` is
    // one of an entry of the table. As above.
    unsafe {
        picovit_helium_weights(scores, weights, count, table.as_ptr(), max, shift, mult, last)
    }
}
