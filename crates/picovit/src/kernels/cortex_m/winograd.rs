//! Convolutions by Winograd's F(2x2, 3x3): two patches and four outputs at a time.

use core::arch::global_asm;

use crate::format::{TOKENS, WINOGRAD_OUTPUTS, WINOGRAD_POSITIONS, WINOGRAD_SUMS};
use crate::kernels::winograd::Winograd;

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified

    @ Where a job's fields are on the stack, and what is beside them.
    .equ PATCHES, 0
    .equ ROW, 4
    .equ GROUPS, 8
    .equ SUMS, 12
    .equ BIAS, 16
    .equ MULT, 20
    .equ OUT, 24
    .equ ZERO, 28
    .equ OUTPUTS, 32
    .equ OUTPUTS3, 36
    .equ END, 40
    .equ PLACE, 44
    .equ WEIGHTS, 48
    .equ FRAME, 52

    @ A column of the sums, by A^T on the left. r0: sums of the first position.
    .macro picovit_column at, upper, lower, bias
    ldr r1, [r0, #\at]
    ldr r2, [r0, #\at + 128]
    ldr r3, [r0, #\at + 256]
    ldr r12, [r0, #\at + 384]
    .if \bias
    add r2, r2, lr, lsl #2
    .endif
    add r1, r1, r2
    sub r2, r2, r3
    add \upper, r1, r3
    sub \lower, r2, r12
    .endm

    @ 2x2 outputs of one token. lr: bias.
    .macro picovit_square token
    picovit_column 0 + 4 * \token, r4, r8, 0
    picovit_column 32 + 4 * \token, r5, r9, 1
    picovit_column 64 + 4 * \token, r6, r10, 0
    picovit_column 96 + 4 * \token, r7, r11, 0
    add r1, r4, r5
    sub r2, r5, r6
    add r3, r8, r9
    sub r12, r9, r10
    add r1, r1, r6
    sub r2, r2, r7
    add r3, r3, r10
    sub r12, r12, r11
    ldrd r6, r5, [sp, #OUT]
    ldrd r7, r8, [sp, #OUTPUTS]
    ldr r4, [sp, #MULT]
    ldr r4, [r4]
    asr r1, r1, #2
    asr r2, r2, #2
    asr r3, r3, #2
    asr r12, r12, #2
    smmlar r1, r1, r4, r5
    smmlar r2, r2, r4, r5
    smmlar r3, r3, r4, r5
    smmlar r12, r12, r4, r5
    .if \token
    add r6, r6, r7, lsl #2
    .endif
    ssat r1, #8, r1
    ssat r2, #8, r2
    ssat r3, #8, r3
    ssat r12, #8, r12
    strb r1, [r6]
    strb r2, [r6, r7]
    strb r3, [r6, r7, lsl #1]
    strb r12, [r6, r8]
    .endm

    .section .text.picovit_cortex_m_winograd,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_winograd
    .type picovit_cortex_m_winograd, %function
    .thumb_func
    @ r0: weights, r1: a job.
picovit_cortex_m_winograd:
    push {{r4-r11, lr}}
    sub sp, #FRAME
    ldmia r1!, {{r2-r11}}
    stmia sp, {{r2-r11}}
    @ Four outputs.
1:
    ldrd r1, r2, [sp, #PATCHES]
    ldr r3, [sp, #SUMS]
    str r3, [sp, #PLACE]
    @ A position: r2 bytes of its patches.
    .balign 4
2:
    add r2, r1, r2
    str r2, [sp, #END]
    movs r6, #0
    movs r7, #0
    mov r8, r6
    mov r9, r6
    mov r10, r6
    mov r11, r6
    mov r12, r6
    mov lr, r6
    .balign 4
3:
    .rept 8
    ldrd r2, r3, [r0], #8
    ldrd r4, r5, [r1], #8
    smlad r6, r2, r4, r6
    smlad r7, r2, r5, r7
    smlad r8, r3, r4, r8
    smlad r9, r3, r5, r9
    ldrd r2, r3, [r0], #8
    smlad r10, r2, r4, r10
    smlad r11, r2, r5, r11
    smlad r12, r3, r4, r12
    smlad lr, r3, r5, lr
    .endr
    ldr r2, [sp, #END]
    cmp r1, r2
    bne 3b
    ldr r3, [sp, #PLACE]
    stmia r3!, {{r6-r12, lr}}
    str r3, [sp, #PLACE]
    ldr r4, [sp, #SUMS]
    sub r3, r3, r4
    ldr r2, [sp, #ROW]
    cmp r3, #512
    bne 2b
    str r0, [sp, #WEIGHTS]
    mov r0, r4
    @ An output.
4:
    ldr r1, [sp, #BIAS]
    ldr lr, [r1], #4
    str r1, [sp, #BIAS]
    picovit_square 0
    picovit_square 1
    ldrd r1, r2, [sp, #MULT]
    adds r1, r1, #4
    adds r2, r2, #1
    strd r1, r2, [sp, #MULT]
    adds r0, r0, #8
    ldr r1, [sp, #SUMS]
    sub r1, r0, r1
    cmp r1, #32
    bne 4b
    ldr r0, [sp, #WEIGHTS]
    ldr r1, [sp, #GROUPS]
    subs r1, r1, #1
    str r1, [sp, #GROUPS]
    bne 1b
    add sp, #FRAME
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_winograd, . - picovit_cortex_m_winograd
    .purgem picovit_column
    .purgem picovit_square
    .text
    "#
);

/// What the code above needs beside the weights, in its order.
#[repr(C)]
struct Job {
    patches: *const i16,
    /// Bytes of a position.
    row: usize,
    groups: usize,
    sums: *mut i32,
    bias: *const i32,
    mult: *const i32,
    out: *mut i8,
    zero: i32,
    outputs: usize,
    outputs3: usize,
}

unsafe extern "C" {
    fn picovit_cortex_m_winograd(weights: *const i16, job: *const Job);
}

/// Pairs of inputs in a round of the innermost loop.
const ROUND: usize = 8;

/// See [`winograd`](crate::kernels::winograd()). Nothing happens where a length does not fit.
pub(in crate::kernels) fn winograd(
    layer: Winograd<'_>,
    patches: &[i16],
    sums: &mut [i32],
    out: &mut [i8],
) {
    let Winograd { weights, bias, mult, zero } = layer;
    let (inputs, outputs) = (patches.len() / (WINOGRAD_POSITIONS * TOKENS), bias.len());
    let groups = outputs / WINOGRAD_OUTPUTS;
    let fits = groups > 0
        && inputs > 0
        && inputs.is_multiple_of(2 * ROUND)
        && outputs.is_multiple_of(WINOGRAD_OUTPUTS)
        && weights.len() / WINOGRAD_POSITIONS / inputs >= outputs
        && mult.len() >= outputs
        && sums.len() >= WINOGRAD_SUMS
        && out.len() >= 4 * TOKENS * outputs
        && weights.as_ptr().addr().is_multiple_of(4)
        && patches.as_ptr().addr().is_multiple_of(4);
    if fits {
        let job = Job {
            patches: patches.as_ptr(),
            row: TOKENS * size_of::<i16>() * inputs,
            groups,
            sums: sums.as_mut_ptr(),
            bias: bias.as_ptr(),
            mult: mult.as_ptr(),
            out: out.as_mut_ptr(),
            zero,
            outputs,
            outputs3: 3 * outputs,
        };
        // SAFETY: weights and patches are as many as the job reads, in whole rounds, words are aligned,
        // `bias` and `mult` have a value for each output, and there is room for the sums and eight
        // pixels of outputs. The code keeps the registers of the procedure call standard.
        unsafe { picovit_cortex_m_winograd(weights.as_ptr(), &job) }
    }
}

#[cfg(not(mve))]
global_asm!(
    r#"
    .syntax unified

    @ B^T times the halves r8 to r11: they become r8, r9, r10, r11.
    .macro picovit_difference
    ssub16 r8, r8, r10
    sadd16 r12, r9, r10
    ssub16 r11, r9, r11
    ssub16 r10, r10, r9
    mov r9, r12
    .endm

    .section .text.picovit_cortex_m_patch,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_patch
    .type picovit_cortex_m_patch, %function
    .thumb_func
    @ r0: sixteen pixels, r1: quads of channels, r2: place of the first, r3: bytes of a position.
picovit_cortex_m_patch:
    push {{r4-r11, lr}}
    @ Both halves of the four rows' differences; above them quads and place.
    sub sp, #136
    strd r1, r2, [sp, #128]
    lsl lr, r3, #2
    movs r1, #0
    @ A quad: r1 its offset.
1:
    mov r2, sp
2:
    ldmia r0!, {{r4-r7}}
    ldr r4, [r4, r1]
    ldr r5, [r5, r1]
    ldr r6, [r6, r1]
    ldr r7, [r7, r1]
    sxtb16 r8, r4
    sxtb16 r9, r5
    sxtb16 r10, r6
    sxtb16 r11, r7
    picovit_difference
    stmia r2!, {{r8-r11}}
    sxtb16 r8, r4, ror #8
    sxtb16 r9, r5, ror #8
    sxtb16 r10, r6, ror #8
    sxtb16 r11, r7, ror #8
    picovit_difference
    stmia r2!, {{r8-r11}}
    add r4, sp, #128
    cmp r2, r4
    bne 2b
    subs r0, r0, #64
    ldr r2, [sp, #132]
    add r3, lr, lr, lsl #1
    mov r4, sp
    @ A column of either half.
3:
    ldr r8, [r4]
    ldr r9, [r4, #32]
    ldr r10, [r4, #64]
    ldr r11, [r4, #96]
    picovit_difference
    str r8, [r2]
    str r9, [r2, lr]
    str r10, [r2, lr, lsl #1]
    str r11, [r2, r3]
    ldr r8, [r4, #16]
    ldr r9, [r4, #48]
    ldr r10, [r4, #80]
    ldr r11, [r4, #112]
    picovit_difference
    adds r2, r2, #8
    str r8, [r2]
    str r9, [r2, lr]
    str r10, [r2, lr, lsl #1]
    str r11, [r2, r3]
    subs r2, r2, #8
    add r2, r2, lr, lsr #2
    adds r4, r4, #4
    add r5, sp, #16
    cmp r4, r5
    bne 3b
    ldrd r4, r2, [sp, #128]
    adds r1, r1, #4
    adds r2, r2, #16
    str r2, [sp, #132]
    cmp r4, r1, lsr #2
    bne 1b
    add sp, #136
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_patch, . - picovit_cortex_m_patch
    .purgem picovit_difference
    .text
    "#
);

#[cfg(not(mve))]
unsafe extern "C" {
    fn picovit_cortex_m_patch(
        pixels: *const *const i8,
        quads: usize,
        place: *mut i16,
        position: usize,
    );
}

/// See [`winograd_patch`](crate::kernels::winograd_patch).
#[cfg(not(mve))]
pub(in crate::kernels) fn winograd_patch(
    pixels: [&[i8]; WINOGRAD_POSITIONS],
    (inputs, first, token): (usize, usize, usize),
    patches: &mut [i16],
) {
    let quads = pixels[0].len() / 4;
    let fits = quads > 0
        && pixels.iter().all(|pixel| pixel.len() >= 4 * quads)
        && token < TOKENS
        // Extents are the caller's: neither sum nor product may wrap.
        && inputs.checked_sub(first).is_some_and(|room| 4 * quads <= room)
        && patches.len() / (WINOGRAD_POSITIONS * TOKENS) >= inputs
        && patches.as_ptr().addr().is_multiple_of(4);
    if fits {
        let pixels = pixels.map(<[i8]>::as_ptr);
        // Quads of both tokens take eight values of each; a token's words alternate with the other's.
        let place = TOKENS * first + 2 * token;
        // SAFETY: every pixel has `quads` quads, whose loads need no alignment; the words written are
        // at `place` and below `inputs` words of each of the sixteen positions, as
        // `first + 4 * quads <= inputs`. The code keeps the registers of the procedure call standard.
        unsafe {
            let place = patches.as_mut_ptr().add(place);
            let position = TOKENS * size_of::<i16>() * inputs;
            picovit_cortex_m_patch(pixels.as_ptr(), quads, place, position);
        }
    }
}
