//! Matrix products: runs over tiles, from weights to stored outputs.
//!
//! Two channels share a halfword, `256 * odd + even`, and SMLAD multiplies two halfwords at once:
//! on the stored words it gives `256 * odd + even` of the sums, on the words' sign-extended low
//! bytes the even sum, and the odd one is a 256th of the difference. That is exact while odd sums
//! stay below 2^23, which is why long sums are taken in parts.

use core::arch::global_asm;
use core::ptr;

use super::QUAD;
use crate::format::{Packing, TOKENS};
use crate::kernels::block::Block;
use crate::kernels::matmul::Matrix;

/// Quads of inputs whose sums are taken at a time: `4 * 64 * 127 * 255` and `4 * 128 * 127 * 128` are
/// below 2^23.
const PART_U8: usize = 64;
const PART_I8: usize = 128;

/// Channels of a tile.
const TILE: usize = 4;

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified

    @ Where a job's fields are on the stack.
    .equ END8, 0
    .equ END, 4
    .equ LEFT, 8
    .equ AGAIN, 12
    .equ TOKENS, 16
    .equ QUADS, 20
    .equ TILES, 24
    .equ FINISH, 28
    .equ BIAS, 32
    .equ MULT, 36
    .equ OUT, 40
    .equ FIRST, 48
    .equ SHIFT, 52
    .equ SECOND, 56
    .equ PART, 60
    .equ PARTIAL, 64
    .equ FRAME, 96

    @ r0: weights, r1: tokens. r6 to r9: both channels of a halfword, r10 to lr: the even one.
    .macro picovit_quad
    .rept 2
    ldrd r2, r3, [r0], #8
    ldrd r4, r5, [r1], #8
    smlad r6, r2, r4, r6
    smlad r7, r2, r5, r7
    smlad r8, r3, r4, r8
    smlad r9, r3, r5, r9
    sxtb16 r2, r2
    sxtb16 r3, r3
    smlad r10, r2, r4, r10
    smlad r11, r2, r5, r11
    smlad r12, r3, r4, r12
    smlad lr, r3, r5, lr
    .endr
    .endm

    @ Adds the partial sums of earlier parts, two channels of two tokens.
    .macro picovit_partial even0, even1, odd0, odd1, at
    ldrd r4, r5, [sp, #PARTIAL + \at]
    add \even0, \even0, r4
    add \even1, \even1, r5
    ldrd r4, r5, [sp, #PARTIAL + 8 + \at]
    add \odd0, \odd0, r4
    add \odd1, \odd1, r5
    .endm

    .macro picovit_bias
    ldr r5, [sp, #BIAS]
    ldmia r5!, {{r1-r4}}
    str r5, [sp, #BIAS]
    add r10, r10, r1
    add r11, r11, r1
    add r6, r6, r2
    add r7, r7, r2
    add r12, r12, r3
    add lr, lr, r3
    add r8, r8, r4
    add r9, r9, r4
    .endm

    @ Saturates, packs and stores four channels of two tokens, none below r1's bytes. Here and below
    @ the first token comes last: it is the only one where both are stored to one place.
    .macro picovit_store8
    ssat r6, #8, r6
    ssat r7, #8, r7
    ssat r8, #8, r8
    ssat r9, #8, r9
    ssat r10, #8, r10
    ssat r11, #8, r11
    ssat r12, #8, r12
    ssat lr, #8, lr
    bfi r10, r6, #8, #8
    bfi r11, r7, #8, #8
    bfi r12, r8, #8, #8
    bfi lr, r9, #8, #8
    pkhbt r10, r10, r12, lsl #16
    pkhbt r11, r11, lr, lsl #16
    ssub8 r4, r10, r1
    sel r10, r10, r1
    ssub8 r4, r11, r1
    sel r11, r11, r1
    ldrd r2, r3, [sp, #OUT]
    str r11, [r3], #4
    str r10, [r2], #4
    strd r2, r3, [sp, #OUT]
    .endm

    @ One channel of two tokens of the residual stream, by the multiplier in r5.
    .macro picovit_add16 first, second
    ldrsh r4, [r3]
    lsl \second, \second, r1
    smmlar \second, \second, r5, r4
    ldrsh r4, [r2]
    lsl \first, \first, r1
    smmlar \first, \first, r5, r4
    ssat \second, #16, \second
    strh \second, [r3], #2
    ssat \first, #16, \first
    strh \first, [r2], #2
    .endm

    .section .text.picovit_cortex_m_run,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_run
    .type picovit_cortex_m_run, %function
    .thumb_func
    @ r0: weights, r1: a job's fields from TOKENS to PART.
picovit_cortex_m_run:
    push {{r4-r11, lr}}
    sub sp, #FRAME
    add r2, sp, #TOKENS
    ldmia r1!, {{r3-r8}}
    stmia r2!, {{r3-r8}}
    ldmia r1!, {{r3-r8}}
    stmia r2!, {{r3-r8}}
    ldr r1, [sp, #TOKENS]
    ldr r3, [sp, #QUADS]
    ldr r2, [sp, #PART]
    cmp r3, r2
    ite hi
    adrhi r2, 8f
    adrls r2, 1f
    orr r2, r2, #1
    str r2, [sp, #AGAIN]
    b 0f
    @ The next tile of a matrix that takes several parts.
    .balign 4
8:
    ldr r3, [sp, #QUADS]
    @ A part: r1 tokens, r3 quads left.
0:
    ldr r2, [sp, #PART]
    cmp r3, r2
    it ls
    movls r2, r3
    subs r3, r3, r2
    str r3, [sp, #LEFT]
    add r3, r1, r2, lsl #4
    bic r2, r2, #7
    add r2, r1, r2, lsl #4
    strd r2, r3, [sp, #END8]
    @ The next tile of a matrix that takes one.
    .balign 4
1:
    movs r6, #0
    movs r7, #0
    mov r8, r6
    mov r9, r6
    mov r10, r6
    mov r11, r6
    mov r12, r6
    mov lr, r6
    ldr r2, [sp, #END8]
    cmp r1, r2
    beq 3f
2:
    .rept 8
    picovit_quad
    .endr
    ldr r2, [sp, #END8]
    cmp r1, r2
    bne 2b
3:
    ldr r2, [sp, #END]
    cmp r1, r2
    beq 5f
4:
    picovit_quad
    ldr r2, [sp, #END]
    cmp r1, r2
    bne 4b
5:
    sub r6, r6, r10
    sub r7, r7, r11
    sub r8, r8, r12
    sub r9, r9, lr
    asr r6, r6, #8
    asr r7, r7, #8
    asr r8, r8, #8
    asr r9, r9, #8
    ldr r2, [sp, #QUADS]
    ldr r3, [sp, #PART]
    cmp r2, r3
    bhi 6f
    ldr pc, [sp, #FINISH]
6:
    @ Several parts: all but the first add what is there, all but the last store.
    ldr r4, [sp, #LEFT]
    sub r2, r2, r3
    cmp r4, r2
    beq 7f
    picovit_partial r10, r11, r6, r7, 0
    picovit_partial r12, lr, r8, r9, 16
    ldr r3, [sp, #LEFT]
    cbnz r3, 7f
    ldr pc, [sp, #FINISH]
7:
    strd r10, r11, [sp, #PARTIAL]
    strd r6, r7, [sp, #PARTIAL + 8]
    strd r12, lr, [sp, #PARTIAL + 16]
    strd r8, r9, [sp, #PARTIAL + 24]
    ldr r3, [sp, #LEFT]
    b 0b

    .balign 4
    .global picovit_cortex_m_int8
    .type picovit_cortex_m_int8, %function
    .thumb_func
    @ FIRST: zero point, SHIFT: left shift of the sums, SECOND: lowest value in every byte.
picovit_cortex_m_int8:
    picovit_bias
    ldrd r1, r2, [sp, #FIRST]
    cbz r2, 2f
    lsl r10, r10, r2
    lsl r11, r11, r2
    lsls r6, r6, r2
    lsls r7, r7, r2
    lsl r12, r12, r2
    lsl lr, lr, r2
    lsl r8, r8, r2
    lsl r9, r9, r2
2:
    ldr r5, [sp, #MULT]
    ldmia r5!, {{r2, r3}}
    smmlar r10, r10, r2, r1
    smmlar r11, r11, r2, r1
    smmlar r6, r6, r3, r1
    smmlar r7, r7, r3, r1
    ldmia r5!, {{r2, r3}}
    str r5, [sp, #MULT]
    smmlar r12, r12, r2, r1
    smmlar lr, lr, r2, r1
    smmlar r8, r8, r3, r1
    smmlar r9, r9, r3, r1
    ldr r1, [sp, #SECOND]
    picovit_store8
    b 9f

    .balign 4
    .global picovit_cortex_m_rows
    .type picovit_cortex_m_rows, %function
    .thumb_func
    @ FIRST, SHIFT: the tokens' multipliers.
picovit_cortex_m_rows:
    ldrd r2, r3, [sp, #FIRST]
    smmulr r10, r10, r2
    smmulr r11, r11, r3
    smmulr r6, r6, r2
    smmulr r7, r7, r3
    smmulr r12, r12, r2
    smmulr lr, lr, r3
    smmulr r8, r8, r2
    smmulr r9, r9, r3
    mov r1, #0x80808080
    picovit_store8
    b 9f

    .balign 4
    .global picovit_cortex_m_sums
    .type picovit_cortex_m_sums, %function
    .thumb_func
picovit_cortex_m_sums:
    ldrd r2, r3, [sp, #OUT]
    strd r11, r7, [r3], #8
    strd lr, r9, [r3], #8
    strd r10, r6, [r2], #8
    strd r12, r8, [r2], #8
    strd r2, r3, [sp, #OUT]
    b 9f

    .balign 4
    .global picovit_cortex_m_add16
    .type picovit_cortex_m_add16, %function
    .thumb_func
picovit_cortex_m_add16:
    picovit_bias
    ldr r1, [sp, #SHIFT]
    ldrd r2, r3, [sp, #OUT]
    str r0, [sp, #PARTIAL]
    ldr r0, [sp, #MULT]
    ldr r5, [r0], #4
    picovit_add16 r10, r11
    ldr r5, [r0], #4
    picovit_add16 r6, r7
    ldr r5, [r0], #4
    picovit_add16 r12, lr
    ldr r5, [r0], #4
    picovit_add16 r8, r9
    str r0, [sp, #MULT]
    ldr r0, [sp, #PARTIAL]
    strd r2, r3, [sp, #OUT]
9:
    ldr r2, [sp, #TILES]
    subs r2, r2, #1
    str r2, [sp, #TILES]
    ldr r1, [sp, #TOKENS]
    it ne
    ldrne pc, [sp, #AGAIN]
    add sp, #FRAME
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_run, . - picovit_cortex_m_run
    .purgem picovit_quad
    .purgem picovit_partial
    .purgem picovit_bias
    .purgem picovit_store8
    .purgem picovit_add16
    .text
    "#
);

/// What a run over tiles needs beside the weights, as the code above expects it.
#[repr(C)]
struct Job {
    tokens: *const u8,
    quads: usize,
    tiles: usize,
    /// What becomes of the sums, one of the entry points below.
    finish: unsafe extern "C" fn(),
    bias: *const i32,
    mult: *const i32,
    out: [*mut u8; TOKENS],
    first: i32,
    shift: i32,
    second: i32,
    part: usize,
}

unsafe extern "C" {
    fn picovit_cortex_m_run(weights: *const i8, job: *const Job);
    // Parts of the function above, no functions of their own.
    fn picovit_cortex_m_int8();
    fn picovit_cortex_m_rows();
    fn picovit_cortex_m_sums();
    fn picovit_cortex_m_add16();
}

/// The outputs: whole tiles, and what is left over for a last one, whose weights are padded. Where
/// there is no second token, its outputs are stored where the first one's go, and overwritten.
struct Tiles<'a> {
    weights: &'a [i8],
    tokens: &'a [u8],
    quads: usize,
    outputs: usize,
}

impl<'a> Tiles<'a> {
    fn new<T>(matrix: Matrix<'a>, block: &'a Block<'_>, out: &[&mut [T]; TOKENS]) -> Option<Self> {
        let [one, two] = out;
        Self::fitting(matrix, block, one.len(), two.len())
    }

    /// Rows of outputs have these lengths.
    fn fitting(matrix: Matrix<'a>, block: &'a Block<'_>, one: usize, two: usize) -> Option<Self> {
        // Extents are the caller's. Where one wraps it becomes 0: there are no quads, or too few places
        // for the outputs.
        let (outputs, quads) = (matrix.outputs, matrix.inputs.wrapping_add(3) / 4);
        let places = (outputs.wrapping_add(TILE - 1) / TILE).checked_mul(quads);
        let fits = matrix.packing.known() == Packing::CortexM
            && block.packing() == Packing::CortexM
            && outputs > 0
            && quads > 0
            && places.is_some_and(|places| places <= matrix.bytes.len() / QUAD)
            && block.bytes().len() / QUAD >= quads
            && one >= outputs
            && (two == 0 || two >= outputs)
            && matrix.bytes.as_ptr().addr().is_multiple_of(4)
            && block.bytes().as_ptr().addr().is_multiple_of(4);
        fits.then_some(Self { weights: matrix.bytes, tokens: block.bytes(), quads, outputs })
    }

    /// Whether arrays have a value for each output.
    fn have(&self, constants: [&[i32]; 2]) -> bool {
        constants.iter().all(|values| values.len() >= self.outputs)
    }

    fn job<T>(&self, finish: unsafe extern "C" fn(), out: &mut [&mut [T]; TOKENS]) -> Job {
        let [one, two] = out;
        let first = one.as_mut_ptr();
        let second = if two.is_empty() { first } else { two.as_mut_ptr() };
        Job {
            tokens: self.tokens.as_ptr(),
            quads: self.quads,
            tiles: self.outputs / TILE,
            finish,
            bias: ptr::null(),
            mult: ptr::null(),
            out: [first.cast(), second.cast()],
            first: 0,
            shift: 0,
            second: 0,
            part: PART_I8,
        }
    }

    /// Does a job whose outputs have `size` bytes; how many there were.
    ///
    /// # Safety
    /// `job` is [`Self::job`] for rows of such outputs, its finish for their type and for the constants
    /// that it has, and these have a value for each output.
    #[inline(always)]
    unsafe fn run(&self, job: &mut Job, size: usize) -> usize {
        if job.tiles > 0 {
            // SAFETY: `Tiles` holds as many weights and tokens as the job reads, each row of outputs a
            // place for what the tiles give; stores of words need no alignment. The code keeps the
            // registers of the procedure call standard. The caller answers for the rest.
            unsafe { picovit_cortex_m_run(self.weights.as_ptr(), job) }
        }
        if !self.outputs.is_multiple_of(TILE) {
            // SAFETY: the caller's.
            unsafe { self.last(job, size) }
        }
        self.outputs
    }

    /// The outputs behind those of whole tiles.
    ///
    /// # Safety
    /// As [`Self::run`].
    #[inline(never)]
    unsafe fn last(&self, job: &mut Job, size: usize) {
        let (whole, rest) = (job.tiles * TILE, self.outputs % TILE);
        let [mut bias, mut mult] = [[0i32; TILE]; 2];
        let [mut one, mut two] = [[0u32; TILE]; TOKENS];
        // SAFETY: bias, multipliers and outputs have `rest` values behind those of whole tiles, and
        // the memory here has room for a whole tile of them, words at most. The weights of the last
        // tile are there, as `Tiles` has checked. As in `run`.
        unsafe {
            if !job.bias.is_null() {
                job.bias.add(whole).copy_to_nonoverlapping(bias.as_mut_ptr(), rest);
                job.mult.add(whole).copy_to_nonoverlapping(mult.as_mut_ptr(), rest);
            }
            let [first, second] = job.out.map(|out| out.add(whole * size));
            let [one, two]: [*mut u8; TOKENS] = [one.as_mut_ptr().cast(), two.as_mut_ptr().cast()];
            first.copy_to_nonoverlapping(one, rest * size);
            second.copy_to_nonoverlapping(two, rest * size);
            (job.bias, job.mult, job.out) = (bias.as_ptr(), mult.as_ptr(), [one, two]);
            job.tiles = 1;
            picovit_cortex_m_run(self.weights.as_ptr().add(whole * self.quads * 4), job);
            two.copy_to_nonoverlapping(second, rest * size);
            one.copy_to_nonoverlapping(first, rest * size);
        }
    }
}

/// int8 outputs; how many there were, none or all.
pub(in crate::kernels) fn int8(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    (zero, low, shift): (i32, i8, u32),
    block: &Block<'_>,
    out: &mut [&mut [i8]; TOKENS],
) -> usize {
    let tiles = Tiles::new(matrix, block, out).filter(|tiles| tiles.have(constants));
    let Some(tiles) = tiles else { return 0 };
    let [bias, mult] = constants.map(<[i32]>::as_ptr);
    let mut job = Job {
        bias,
        mult,
        first: zero,
        shift: shift as i32,
        second: i32::from_ne_bytes([low as u8; 4]),
        ..tiles.job(picovit_cortex_m_int8, out)
    };
    // SAFETY: the job is that of `out`, and bias and multipliers have a value for each output.
    unsafe { tiles.run(&mut job, 1) }
}

/// Adds outputs to int16 values; how many there were.
pub(in crate::kernels) fn add16(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    shift: u32,
    block: &Block<'_>,
    out: &mut [&mut [i16]; TOKENS],
) -> usize {
    let tiles = Tiles::new(matrix, block, out).filter(|tiles| tiles.have(constants));
    let Some(tiles) = tiles else { return 0 };
    let [bias, mult] = constants.map(<[i32]>::as_ptr);
    let mut job = Job { bias, mult, shift: shift as i32, ..tiles.job(picovit_cortex_m_add16, out) };
    // SAFETY: as in `int8`; the rows' values are halfwords where they lie.
    unsafe { tiles.run(&mut job, 2) }
}

/// Plain sums, without bias; how many there were.
pub(in crate::kernels) fn sums(
    matrix: Matrix<'_>,
    block: &Block<'_>,
    out: &mut [&mut [i32]; TOKENS],
) -> usize {
    let Some(tiles) = Tiles::new(matrix, block, out) else { return 0 };
    let mut job = tiles.job(picovit_cortex_m_sums, out);
    // SAFETY: as in `int8`, without bias and multipliers; the rows' values are words where they lie.
    unsafe { tiles.run(&mut job, 4) }
}

/// int8 outputs over uint8 operands, by a multiplier for each token; how many there were.
pub(in crate::kernels) fn rows(
    matrix: Matrix<'_>,
    mults: [i32; TOKENS],
    block: &Block<'_>,
    out: &mut [&mut [i8]; TOKENS],
) -> usize {
    let Some(tiles) = Tiles::new(matrix, block, out) else { return 0 };
    let [first, shift] = mults;
    let mut job = Job { first, shift, part: PART_U8, ..tiles.job(picovit_cortex_m_rows, out) };
    // SAFETY: as in `int8`, without bias and multipliers.
    unsafe { tiles.run(&mut job, 1) }
}
