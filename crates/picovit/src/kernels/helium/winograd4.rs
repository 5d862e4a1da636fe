//! Convolutions by Winograd's F(4x4, 3x3): a patch and eight outputs at a time.

use core::arch::global_asm;

use crate::format::{
    WINOGRAD4_INPUTS, WINOGRAD4_NINTH, WINOGRAD4_OUTPUTS, WINOGRAD4_POSITIONS, WINOGRAD4_SUMS,
};
use crate::kernels::winograd::Winograd;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55

    @ Where a job's fields are on the stack, and what is beside them.
    .equ PATCH, 0
    .equ ROW, 4
    .equ GROUPS, 8
    .equ SUMS, 12
    .equ BIAS, 16
    .equ MULT, 20
    .equ OUT, 24
    .equ ZERO, 28
    .equ OUTPUTS, 32
    .equ NINTH, 36
    .equ ENTRY, 40
    .equ WEIGHTS, 44
    .equ FRAME, 48

    @ Eight inputs and eight outputs, whose sums lie in the even general registers.
    .macro picovit_step a
    vldrb.u8 q0, [r3], #16
    vldrb.u8 q1, [r1], #16
    vmladav\a\().s16 r0, q1, q0
    vldrb.u8 q2, [r1], #16
    vmladav\a\().s16 r2, q2, q0
    vldrb.u8 q1, [r1], #16
    vmladav\a\().s16 r4, q1, q0
    vldrb.u8 q2, [r1], #16
    vmladav\a\().s16 r6, q2, q0
    vldrb.u8 q1, [r1], #16
    vmladav\a\().s16 r8, q1, q0
    vldrb.u8 q2, [r1], #16
    vmladav\a\().s16 r10, q2, q0
    vldrb.u8 q1, [r1], #16
    vmladav\a\().s16 r12, q1, q0
    vldrb.u8 q2, [r1], #16
    vmladav\a\().s16 lr, q2, q0
    .endm

    @ A^T times q0 to q5: they become q2, q0, q4, q5. r5: 6, r6: -4, r7: -2, r12: 2.
    .macro picovit_shrink
    vadd.i32 q6, q1, q2
    vsub.i32 q1, q1, q2
    vadd.i32 q2, q3, q4
    vsub.i32 q3, q3, q4
    vsub.i32 q4, q2, q6
    vmla.s32 q2, q0, r5
    vmla.s32 q2, q6, r6
    vmov q0, q3
    vmla.s32 q0, q1, r7
    vmul.i32 q5, q5, r5
    vsub.i32 q5, q5, q1
    vmla.s32 q5, q3, r12
    .endm

    @ A sum for each of four outputs to int8. q1: bias, q3: multipliers, r10: a ninth, r11: zero point.
    .macro picovit_finish sums, shift
    vmul.i32 \sums, \sums, r10
    vshl.s32 \sums, \shift
    vadd.i32 \sums, \sums, q1
    vrmulh.s32 \sums, \sums, q3
    vadd.i32 \sums, \sums, r11
    vqmovnb.s32 \sums, \sums
    vqmovnb.s16 \sums, \sums
    vstrb.32 \sums, [r3]
    add r3, r3, lr
    .endm

    .section .text.picovit_helium_winograd4,"ax",%progbits
    .balign 4
    .global picovit_helium_winograd4
    .type picovit_helium_winograd4, %function
    .thumb_func
    @ r0: weights, r1: a job.
picovit_helium_winograd4:
    push {{r4-r11, lr}}
    vpush {{d8-d13}}
    sub sp, #FRAME
    ldmia r1, {{r2-r12}}
    stmia sp, {{r2-r11}}
    adr r2, 3f
    add r2, r2, r12
    orr r2, r2, #1
    str r2, [sp, #ENTRY]
    mov r1, r0
    @ Eight outputs.
1:
    ldrd r3, r9, [sp, #PATCH]
    ldr r5, [sp, #SUMS]
    add r11, r5, #{sums}
    mov r7, r3
    @ A position: the first step, then into a loop of eight at the step that makes it end with the last.
    .balign 4
2:
    add r7, r7, r9
    picovit_step
    ldr pc, [sp, #ENTRY]
    .balign 4
3:
    .rept 8
    picovit_step a
    .endr
    cmp r3, r7
    bne.w 3b
    stmia r5!, {{r0, r2, r4, r6, r8, r10, r12, lr}}
    cmp r5, r11
    bne.w 2b
    str r1, [sp, #WEIGHTS]
    ldr r4, [sp, #SUMS]
    movs r5, #6
    mvn r6, #3
    mvn r7, #1
    movs r2, #2
    mov r12, r2
    @ Four outputs: columns of their sums, in place.
4:
    mov r0, r4
    add r1, r4, #576
    dls lr, r5
5:
    vldrw.u32 q0, [r0]
    vldrw.u32 q1, [r0, #192]
    vldrw.u32 q2, [r0, #384]
    vldrw.u32 q3, [r1]
    vldrw.u32 q4, [r1, #192]
    vldrw.u32 q5, [r1, #384]
    picovit_shrink
    vstrw.32 q0, [r0, #192]
    vstrw.32 q4, [r0, #384]
    vstrw.32 q2, [r0], #32
    vstrw.32 q5, [r1], #32
    le lr, 5b
    @ Rows. r2: how far to the left the first of a row is shifted, r0: sums, r3: outputs.
    mov r0, r4
    ldrd r8, r9, [sp, #BIAS]
    ldr r3, [sp, #OUT]
    ldrd r11, lr, [sp, #ZERO]
    ldr r10, [sp, #NINTH]
    mvn r2, #5
6:
    vldrw.u32 q0, [r0]
    vldrw.u32 q1, [r0, #32]
    vldrw.u32 q2, [r0, #64]
    vldrw.u32 q3, [r0, #96]
    vldrw.u32 q4, [r0, #128]
    vldrw.u32 q5, [r0, #160]
    picovit_shrink
    vldrw.u32 q1, [r8]
    vldrw.u32 q3, [r9]
    picovit_finish q2, r2
    adds r1, r2, #1
    picovit_finish q0, r1
    adds r1, r1, #1
    picovit_finish q4, r1
    picovit_finish q5, r1
    cmn r2, #4
    it ne
    addne r2, r2, #1
    add r0, r0, #192
    sub r1, r0, r4
    cmp r1, #768
    bne.w 6b
    add r8, r8, #16
    add r9, r9, #16
    strd r8, r9, [sp, #BIAS]
    ldr r3, [sp, #OUT]
    adds r3, r3, #4
    str r3, [sp, #OUT]
    adds r4, r4, #16
    ldr r1, [sp, #SUMS]
    subs r1, r4, r1
    cmp r1, #32
    bne.w 4b
    ldr r1, [sp, #GROUPS]
    subs r1, r1, #1
    str r1, [sp, #GROUPS]
    ldr r1, [sp, #WEIGHTS]
    bne.w 1b
    add sp, #FRAME
    vpop {{d8-d13}}
    pop {{r4-r11, pc}}
    .size picovit_helium_winograd4, . - picovit_helium_winograd4

    @ B^T times the halves q0 to q5: they become q0, q1, q2, q6, q4, q5. r4: 4, r5: -5, r12: -4.
    .macro picovit_difference
    vmla.s16 q5, q1, r4
    vmla.s16 q5, q3, r5
    vshl.i16 q0, q0, #2
    vmla.s16 q0, q2, r5
    vadd.i16 q0, q0, q4
    vmov q6, q4
    vmla.s16 q6, q2, r12
    vmov q7, q3
    vmla.s16 q7, q1, r12
    vsub.i16 q4, q4, q2
    vsub.i16 q3, q3, q1
    vadd.i16 q1, q6, q7
    vsub.i16 q2, q6, q7
    vshl.i16 q3, q3, #1
    vadd.i16 q6, q4, q3
    vsub.i16 q4, q4, q3
    .endm

    .macro picovit_pixel values, at
    ldr r6, [r7, #24 * \at]
    add r6, r6, r8
    vldrb.s16 \values, [r6]
    .endm

    .section .text.picovit_helium_winograd4_patch,"ax",%progbits
    .balign 4
    .global picovit_helium_winograd4_patch
    .type picovit_helium_winograd4_patch, %function
    .thumb_func
    @ r0: 36 pixels, r1: eights of channels, r2: place of the first, r3: bytes of a position, on the
    @ stack: memory for as many vectors as pixels.
picovit_helium_winograd4_patch:
    push {{r4-r11, lr}}
    vpush {{d8-d15}}
    ldr r11, [sp, #100]
    movs r4, #4
    mvn r5, #4
    mvn r12, #3
    mov r8, #0
    @ Eight channels: columns of the pixels.
1:
    mov r7, r0
    mov r9, r11
    mov r10, #6
    dls lr, r10
2:
    picovit_pixel q0, 0
    picovit_pixel q1, 1
    picovit_pixel q2, 2
    picovit_pixel q3, 3
    picovit_pixel q4, 4
    picovit_pixel q5, 5
    picovit_difference
    vstrw.32 q1, [r9, #96]
    vstrw.32 q2, [r9, #192]
    vstrw.32 q6, [r9, #288]
    vstrw.32 q4, [r9, #384]
    vstrw.32 q5, [r9, #480]
    vstrw.32 q0, [r9], #16
    adds r7, r7, #4
    le lr, 2b
    @ Rows.
    mov r9, r11
    mov r6, r2
    dls lr, r10
3:
    vldrw.u32 q0, [r9], #96
    vldrw.u32 q1, [r9, #-80]
    vldrw.u32 q2, [r9, #-64]
    vldrw.u32 q3, [r9, #-48]
    vldrw.u32 q4, [r9, #-32]
    vldrw.u32 q5, [r9, #-16]
    picovit_difference
    vstrw.32 q0, [r6]
    add r6, r6, r3
    vstrw.32 q1, [r6]
    add r6, r6, r3
    vstrw.32 q2, [r6]
    add r6, r6, r3
    vstrw.32 q6, [r6]
    add r6, r6, r3
    vstrw.32 q4, [r6]
    add r6, r6, r3
    vstrw.32 q5, [r6]
    add r6, r6, r3
    le lr, 3b
    adds r2, r2, #16
    add r8, r8, #8
    subs r1, r1, #1
    bne.w 1b
    vpop {{d8-d15}}
    pop {{r4-r11, pc}}
    .size picovit_helium_winograd4_patch, . - picovit_helium_winograd4_patch
    .purgem picovit_step
    .purgem picovit_shrink
    .purgem picovit_finish
    .purgem picovit_difference
    .purgem picovit_pixel
    .text
    "#,
    sums = const size_of::<[i32; WINOGRAD4_SUMS]>(),
);

/// Bytes of code of a step, see above.
const STEP_CODE: usize = 68;

/// What the code above needs beside the weights, in its order.
#[repr(C)]
struct Job {
    patch: *const i16,
    /// Bytes of a position.
    row: usize,
    groups: usize,
    sums: *mut i32,
    bias: *const i32,
    mult: *const i32,
    out: *mut i8,
    zero: i32,
    outputs: usize,
    ninth: i32,
    /// Bytes of code of the steps that a loop leaves out when it starts.
    skip: usize,
}

unsafe extern "C" {
    fn picovit_helium_winograd4(weights: *const i16, job: *const Job);
    fn picovit_helium_winograd4_patch(
        pixels: *const *const i8,
        eights: usize,
        place: *mut i16,
        position: usize,
        spare: *mut i32,
    );
}

/// See [`winograd4`](crate::kernels::winograd4()). Nothing happens where a length does not fit.
pub(in crate::kernels) fn winograd4(
    layer: Winograd<'_>,
    patch: &[i16],
    sums: &mut [i32],
    out: &mut [i8],
) {
    let Winograd { weights, bias, mult, zero } = layer;
    let (inputs, outputs) = (patch.len() / WINOGRAD4_POSITIONS, bias.len());
    let groups = outputs / WINOGRAD4_OUTPUTS;
    let fits = groups > 0
        && inputs > 0
        && inputs.is_multiple_of(WINOGRAD4_INPUTS)
        && outputs.is_multiple_of(WINOGRAD4_OUTPUTS)
        && weights.len() / WINOGRAD4_POSITIONS / inputs >= outputs
        && mult.len() >= outputs
        && sums.len() >= WINOGRAD4_SUMS
        && out.len() >= 16 * outputs;
    if fits {
        let skip = match inputs / WINOGRAD4_INPUTS {
            1 => 8,
            steps => 7 - (steps + 6) % 8,
        };
        let job = Job {
            patch: patch.as_ptr(),
            row: size_of::<i16>() * inputs,
            groups,
            sums: sums.as_mut_ptr(),
            bias: bias.as_ptr(),
            mult: mult.as_ptr(),
            out: out.as_mut_ptr(),
            zero,
            outputs,
            ninth: WINOGRAD4_NINTH,
            skip: skip * STEP_CODE,
        };
        // SAFETY: weights and patch are as many as the job reads, in whole steps, `bias` and `mult` have
        // a value for each output, and there is room for the sums and sixteen pixels of outputs; words
        // are aligned by their type. The code keeps the registers of the procedure call standard.
        unsafe { picovit_helium_winograd4(weights.as_ptr(), &job) }
    }
}

/// See [`winograd4_patch`](crate::kernels::winograd4_patch).
pub(in crate::kernels) fn winograd4_patch(
    pixels: &[&[i8]; WINOGRAD4_POSITIONS],
    (inputs, first): (usize, usize),
    spare: &mut [i32],
    patch: &mut [i16],
) {
    let eights = pixels[0].len() / 8;
    let fits = eights > 0
        && pixels.iter().all(|pixel| pixel.len() >= 8 * eights)
        // Extents are the caller's: neither sum nor product may wrap.
        && inputs.checked_sub(first).is_some_and(|room| 8 * eights <= room)
        && inputs.is_multiple_of(2)
        && first.is_multiple_of(2)
        && patch.len() / WINOGRAD4_POSITIONS >= inputs
        && spare.len() >= WINOGRAD4_POSITIONS * 4
        && patch.as_ptr().addr().is_multiple_of(4);
    if fits {
        let pixels = pixels.map(<[i8]>::as_ptr);
        let spare = spare.as_mut_ptr();
        // SAFETY: every pixel has eight times `eights` values, and as many halves are written from
        // `first` of each of the 36 positions, where words may be, as `first + 8 * eights <= inputs`.
        // `spare` has four words for each pixel. The code keeps the registers of the procedure call
        // standard.
        unsafe {
            let place = patch.as_mut_ptr().add(first);
            let position = size_of::<i16>() * inputs;
            picovit_helium_winograd4_patch(pixels.as_ptr(), eights, place, position, spare);
        }
    }
}
