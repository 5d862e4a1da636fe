//! Matrix products: runs over whole tiles, from weights to stored outputs.
//!
//! A vector of sixteen inputs of each of two tokens meets four channels, whose eight sums lie in the
//! even general registers, the only ones that VMLADAVA adds to. The even channels of a tile come
//! first, then the odd ones: narrowing instructions write either every other value of a vector or the
//! ones between, which brings both back in order.

use core::arch::global_asm;
use core::ptr;

use crate::format::packing::{HELIUM_STEP, HELIUM_TILE};
use crate::format::{Packing, TOKENS};
use crate::kernels::block::Block;
use crate::kernels::matmul::Matrix;

/// Bytes that a step takes of a tile.
const TILE_STEP: usize = HELIUM_TILE * HELIUM_STEP;

/// Bytes of code of a step, see below.
const STEP_CODE: usize = 56;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55

    @ Where a job's fields are on the stack.
    .equ TOKENS, 0
    .equ OUT1, 4
    .equ END, 8
    .equ FINISH, 12
    .equ SHIFT, 16
    .equ ENTRY, 24
    .equ ENTRY2, 28
    .equ FRAME, 32

    @ r0 to r6: sums of the first token, r8 to lr: of the second. r1: weights, r3: tokens.
    .macro picovit_step type, a
    vldrb.u8 q0, [r3], #16
    vldrb.u8 q1, [r3], #16
    vldrb.u8 q2, [r1], #16
    vmladav\a\().\type r0, q2, q0
    vmladav\a\().\type r8, q2, q1
    vldrb.u8 q3, [r1], #16
    vmladav\a\().\type r2, q3, q0
    vmladav\a\().\type r10, q3, q1
    vldrb.u8 q2, [r1], #16
    vmladav\a\().\type r4, q2, q0
    vmladav\a\().\type r12, q2, q1
    vldrb.u8 q3, [r1], #16
    vmladav\a\().\type r6, q3, q0
    vmladav\a\().\type lr, q3, q1
    .endm

    @ Sums over all steps: the first one, then into a loop of four at the step that makes it end with
    @ the last. r7: end of the tokens.
    .macro picovit_sums type, loop, entry
    ldr r3, [sp, #TOKENS]
    picovit_step \type
    ldr pc, [sp, #\entry]
    .balign 4
\loop:
    picovit_step \type, a
    picovit_step \type, a
    picovit_step \type, a
    picovit_step \type, a
    cmp r3, r7
    bne.w \loop
    .endm

    @ The sums of a tile: of even channels in q4 and q5, one for each token, of odd ones in q0 and q1.
    .macro picovit_tile type, even, odd
    picovit_sums \type, \even, ENTRY
    vmov q4[2], q4[0], r0, r4
    vmov q4[3], q4[1], r2, r6
    vmov q5[2], q5[0], r8, r12
    vmov q5[3], q5[1], r10, lr
    picovit_sums \type, \odd, ENTRY2
    vmov q0[2], q0[0], r0, r4
    vmov q0[3], q0[1], r2, r6
    vmov q1[2], q1[0], r8, r12
    vmov q1[3], q1[1], r10, lr
    ldr pc, [sp, #FINISH]
    .endm

    @ r0: weights, r1: a job. Puts weights into r1, outputs of the first token into r5, bias into r9,
    @ multipliers into r11.
    .macro picovit_start even, odd
    push {{r4-r11, lr}}
    vpush {{d8-d15}}
    sub sp, #FRAME
    ldmia r1!, {{r2-r11}}
    str r2, [sp, #TOKENS]
    str r5, [sp, #OUT1]
    str r6, [sp, #END]
    str r9, [sp, #FINISH]
    vdup.32 q6, r10
    vdup.32 q7, r11
    ldrd r2, r12, [r1]
    str r2, [sp, #SHIFT]
    adr r2, \even
    adr r5, \odd
    add r2, r2, r12
    add r5, r5, r12
    orr r2, r2, #1
    orr r5, r5, #1
    strd r2, r5, [sp, #ENTRY]
    mov r1, r0
    mov r5, r4
    mov r9, r7
    mov r11, r8
    mov r7, r3
    .endm

    .macro picovit_bias
    vld20.32 {{q2, q3}}, [r9]
    vld21.32 {{q2, q3}}, [r9]!
    vadd.i32 q4, q4, q2
    vadd.i32 q5, q5, q2
    vadd.i32 q0, q0, q3
    vadd.i32 q1, q1, q3
    .endm

    .macro picovit_shift
    ldr r0, [sp, #SHIFT]
    vshl.s32 q4, r0
    vshl.s32 q5, r0
    vshl.s32 q0, r0
    vshl.s32 q1, r0
    .endm

    .macro picovit_mult
    vld20.32 {{q2, q3}}, [r11]
    vld21.32 {{q2, q3}}, [r11]!
    vrmulh.s32 q4, q4, q2
    vrmulh.s32 q5, q5, q2
    vrmulh.s32 q0, q0, q3
    vrmulh.s32 q1, q1, q3
    .endm

    @ To int16, all channels of a token together and in order.
    .macro picovit_narrow
    vqmovnb.s32 q4, q4
    vqmovnt.s32 q4, q0
    vqmovnb.s32 q5, q5
    vqmovnt.s32 q5, q1
    .endm

    @ Stores a tile and compares with the end. Here and below the first token comes last: it is the
    @ only one where both are stored to one place.
    .macro picovit_store8
    ldr r0, [sp, #OUT1]
    vstrb.16 q5, [r0], #8
    str r0, [sp, #OUT1]
    vstrb.16 q4, [r5], #8
    ldr r0, [sp, #END]
    cmp r5, r0
    .endm

    .macro picovit_end
    add sp, #FRAME
    vpop {{d8-d15}}
    pop {{r4-r11, pc}}
    .endm

    .section .text.picovit_helium_run,"ax",%progbits
    .balign 4
    .global picovit_helium_signed
    .type picovit_helium_signed, %function
    .thumb_func
picovit_helium_signed:
    picovit_start picovit_helium_even, picovit_helium_odd
    .balign 4
1:
    picovit_tile s8, picovit_helium_even, picovit_helium_odd

    .balign 4
    .global picovit_helium_int8_shifted
    .type picovit_helium_int8_shifted, %function
    .thumb_func
picovit_helium_int8_shifted:
    picovit_bias
    picovit_shift
    b 2f
    .balign 4
    .global picovit_helium_int8
    .type picovit_helium_int8, %function
    .thumb_func
    @ q6: zero points, q7: lowest values.
picovit_helium_int8:
    picovit_bias
2:
    picovit_mult
    picovit_narrow
    vqadd.s16 q4, q4, q6
    vqadd.s16 q5, q5, q6
    vqmovnb.s16 q4, q4
    vqmovnb.s16 q5, q5
    vmax.s8 q4, q4, q7
    vmax.s8 q5, q5, q7
    picovit_store8
    bne.w 1b
    b 9f

    .balign 4
    .global picovit_helium_sums
    .type picovit_helium_sums, %function
    .thumb_func
picovit_helium_sums:
    ldr r0, [sp, #OUT1]
    vmov q2, q5
    vmov q3, q1
    vst20.32 {{q2, q3}}, [r0]
    vst21.32 {{q2, q3}}, [r0]!
    str r0, [sp, #OUT1]
    vmov q5, q0
    vst20.32 {{q4, q5}}, [r5]
    vst21.32 {{q4, q5}}, [r5]!
    ldr r0, [sp, #END]
    cmp r5, r0
    bne.w 1b
    b 9f

    .balign 4
    .global picovit_helium_add16
    .type picovit_helium_add16, %function
    .thumb_func
picovit_helium_add16:
    picovit_bias
    picovit_shift
    picovit_mult
    ldr r0, [sp, #OUT1]
    vldrh.u16 q2, [r0]
    vmovlb.s16 q3, q2
    vmovlt.s16 q2, q2
    vadd.i32 q5, q5, q3
    vadd.i32 q1, q1, q2
    vldrh.u16 q2, [r5]
    vmovlb.s16 q3, q2
    vmovlt.s16 q2, q2
    vadd.i32 q4, q4, q3
    vadd.i32 q0, q0, q2
    picovit_narrow
    vstrh.16 q5, [r0], #16
    str r0, [sp, #OUT1]
    vstrh.16 q4, [r5], #16
    ldr r0, [sp, #END]
    cmp r5, r0
    bne.w 1b
9:
    picovit_end
    .size picovit_helium_signed, . - picovit_helium_signed

    .balign 4
    .global picovit_helium_unsigned
    .type picovit_helium_unsigned, %function
    .thumb_func
picovit_helium_unsigned:
    picovit_start picovit_helium_even_u8, picovit_helium_odd_u8
    .balign 4
1:
    picovit_tile u8, picovit_helium_even_u8, picovit_helium_odd_u8

    .balign 4
    .global picovit_helium_rows
    .type picovit_helium_rows, %function
    .thumb_func
    @ r9, r11: what to add to the tokens' sums, q6, q7: the tokens' multipliers.
picovit_helium_rows:
    vadd.i32 q4, q4, r9
    vadd.i32 q0, q0, r9
    vadd.i32 q5, q5, r11
    vadd.i32 q1, q1, r11
    vrmulh.s32 q4, q4, q6
    vrmulh.s32 q0, q0, q6
    vrmulh.s32 q5, q5, q7
    vrmulh.s32 q1, q1, q7
    picovit_narrow
    vqmovnb.s16 q4, q4
    vqmovnb.s16 q5, q5
    picovit_store8
    bne.w 1b
    picovit_end
    .size picovit_helium_unsigned, . - picovit_helium_unsigned

    .balign 4
    .global picovit_helium_total
    .type picovit_helium_total, %function
    .thumb_func
    @ r0: tokens, r1: steps. Gives the sums of their values.
picovit_helium_total:
    push {{r4, lr}}
    mov r3, r0
    movs r2, #0
    movs r4, #0
    dls lr, r1
1:
    vldrb.u8 q0, [r3], #16
    vaddva.u8 r2, q0
    vldrb.u8 q0, [r3], #16
    vaddva.u8 r4, q0
    le lr, 1b
    mov r0, r2
    mov r1, r4
    pop {{r4, pc}}
    .size picovit_helium_total, . - picovit_helium_total
    .purgem picovit_step
    .purgem picovit_sums
    .purgem picovit_tile
    .purgem picovit_start
    .purgem picovit_bias
    .purgem picovit_shift
    .purgem picovit_mult
    .purgem picovit_narrow
    .purgem picovit_store8
    .purgem picovit_end
    .text
    "#
);

/// What a run over tiles needs beside the weights, as the code above expects it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Job {
    tokens: *const u8,
    tokens_end: *const u8,
    out: [*mut u8; TOKENS],
    /// Of the first token.
    out_end: *mut u8,
    bias: *const i32,
    mult: *const i32,
    /// What becomes of the sums, one of the entry points below.
    finish: unsafe extern "C" fn(),
    first: u32,
    second: u32,
    shift: u32,
    /// Bytes of code of the steps that a loop leaves out when it starts.
    skip: usize,
}

unsafe extern "C" {
    fn picovit_helium_signed(weights: *const i8, job: *const Job);
    fn picovit_helium_unsigned(weights: *const i8, job: *const Job);
    fn picovit_helium_total(tokens: *const u8, steps: usize) -> u64;
    // Parts of the functions above, no functions of their own.
    fn picovit_helium_int8();
    fn picovit_helium_int8_shifted();
    fn picovit_helium_rows();
    fn picovit_helium_sums();
    fn picovit_helium_add16();
}

/// One of the first two functions above.
type Entry = unsafe extern "C" fn(*const i8, *const Job);

/// The outputs: whole tiles, and what is left over for a last one, whose weights are padded. Where
/// there is no second token, its outputs are stored where the first one's go, and overwritten.
struct Tiles<'a> {
    weights: &'a [i8],
    tokens: &'a [u8],
    steps: usize,
    tiles: usize,
    rest: usize,
}

impl<'a> Tiles<'a> {
    fn new<T>(matrix: Matrix<'a>, block: &'a Block<'_>, out: &[&mut [T]; TOKENS]) -> Option<Self> {
        // Extents are the caller's. Where one wraps it becomes 0: there are no steps, or too few places
        // for the outputs.
        let steps = matrix.inputs.wrapping_add(HELIUM_STEP - 1) / HELIUM_STEP;
        let (outputs, tokens) = (matrix.outputs, block.bytes());
        let [one, two] = out;
        let fits = matrix.packing == Packing::Helium
            && block.packing() == Packing::Helium
            && outputs > 0
            && steps > 0
            && matrix.bytes.len() / TILE_STEP / steps
                >= outputs.wrapping_add(HELIUM_TILE - 1) / HELIUM_TILE
            && tokens.len() / (TOKENS * HELIUM_STEP) >= steps
            && one.len() >= outputs
            && (two.is_empty() || two.len() >= outputs);
        let (tiles, rest) = (outputs / HELIUM_TILE, outputs % HELIUM_TILE);
        fits.then_some(Self { weights: matrix.bytes, tokens, steps, tiles, rest })
    }

    /// Outputs.
    fn outputs(&self) -> usize {
        self.tiles * HELIUM_TILE + self.rest
    }

    /// Whether arrays have a value for each output.
    fn have(&self, constants: [&[i32]; 2]) -> bool {
        constants.iter().all(|values| values.len() >= self.outputs())
    }

    fn job<T>(&self, finish: unsafe extern "C" fn(), out: &mut [&mut [T]; TOKENS]) -> Job {
        let tokens = self.tokens.as_ptr_range();
        let [one, two] = out;
        let whole = self.tiles * HELIUM_TILE;
        let range = one.get_mut(..whole).unwrap_or_default().as_mut_ptr_range();
        let second = if two.is_empty() { range.start } else { two.as_mut_ptr() };
        let skip = match self.steps {
            1 => 4,
            steps => 3 - (steps + 2) % 4,
        };
        let end = self.tokens.get(..self.steps * TOKENS * HELIUM_STEP).unwrap_or_default();
        Job {
            tokens: tokens.start,
            tokens_end: end.as_ptr_range().end,
            out: [range.start.cast(), second.cast()],
            out_end: range.end.cast(),
            bias: ptr::null(),
            mult: ptr::null(),
            finish,
            first: 0,
            second: 0,
            shift: 0,
            skip: skip * STEP_CODE,
        }
    }

    /// Does a job; how many outputs there were.
    ///
    /// # Safety
    /// `job` is [`Self::job`] for `out`, its finish for values of this type and for constants as there
    /// are, if it takes any; these have a value for each output.
    #[inline(always)]
    unsafe fn run<T: bytemuck::Pod>(
        &self,
        entry: Entry,
        job: &Job,
        constants: [&[i32]; 2],
        out: &mut [&mut [T]; TOKENS],
    ) -> usize {
        if self.tiles > 0 {
            // SAFETY: there are as many weights and tokens as the job reads, and each row of `out` has
            // its places; the caller answers for the rest. The code keeps the registers of the procedure
            // call standard.
            unsafe { entry(self.weights.as_ptr(), job) }
        }
        if self.rest > 0 {
            let whole = self.tiles * HELIUM_TILE;
            let rest = whole..whole + self.rest;
            let constants = constants.map(|values| values.get(rest.clone()).unwrap_or_default());
            let rows = out.each_mut().map(|row| {
                bytemuck::must_cast_slice_mut(row.get_mut(rest.clone()).unwrap_or_default())
            });
            // SAFETY: as above, and values of this type are of this size.
            unsafe { self.last(entry, job, constants, (rows, size_of::<T>())) }
        }
        self.outputs()
    }

    /// The last tile, in memory of its own: values of so many bytes.
    ///
    /// # Safety
    /// As [`Self::run`], with what belongs to these outputs.
    #[inline(never)]
    unsafe fn last(
        &self,
        entry: Entry,
        job: &Job,
        constants: [&[i32]; 2],
        ([first, second], size): ([&mut [u8]; TOKENS], usize),
    ) {
        let [mut bias, mut mult] = [[0; HELIUM_TILE]; 2];
        put(constants[0], &mut bias);
        put(constants[1], &mut mult);
        let [mut one, mut two] = [[0u32; HELIUM_TILE]; TOKENS];
        let one: &mut [u8] = bytemuck::bytes_of_mut(&mut one);
        let two: &mut [u8] = bytemuck::bytes_of_mut(&mut two);
        put(first, one);
        put(second, two);
        let place = one.as_mut_ptr();
        let mut job = Job {
            out: [place, if second.is_empty() { place } else { two.as_mut_ptr() }],
            out_end: place.wrapping_add(HELIUM_TILE * size),
            ..*job
        };
        if !constants[0].is_empty() {
            (job.bias, job.mult) = (bias.as_ptr(), mult.as_ptr());
        }
        let whole = self.tiles * self.steps * TILE_STEP;
        let weights = self.weights.get(whole..).unwrap_or_default();
        // SAFETY: the weights of a tile are there, and memory for its constants and outputs, words
        // at most, with their alignment. The caller answers for the rest. As in `run`.
        unsafe { entry(weights.as_ptr(), &job) }
        put(one, first);
        put(two, second);
    }
}

/// Copies as much as there is.
#[inline(always)]
fn put<T: Copy>(source: &[T], target: &mut [T]) {
    target.iter_mut().zip(source).for_each(|(target, &value)| *target = value);
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
    let (Some(tiles), Ok(zero)) = (tiles, i16::try_from(zero)) else { return 0 };
    let finish = if shift == 0 { picovit_helium_int8 } else { picovit_helium_int8_shifted };
    let job = Job {
        bias: constants[0].as_ptr(),
        mult: constants[1].as_ptr(),
        first: bytemuck::must_cast([zero; 2]),
        second: bytemuck::must_cast([low; 4]),
        shift,
        ..tiles.job(finish, out)
    };
    // SAFETY: the job is that of `out`, and bias and multipliers have a value for each output.
    unsafe { tiles.run(picovit_helium_signed, &job, constants, out) }
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
    let job = Job {
        bias: constants[0].as_ptr(),
        mult: constants[1].as_ptr(),
        shift,
        ..tiles.job(picovit_helium_add16, out)
    };
    // SAFETY: as in `int8`; both rows' values are read before any is written.
    unsafe { tiles.run(picovit_helium_signed, &job, constants, out) }
}

/// Plain sums, without bias; how many there were.
pub(in crate::kernels) fn sums(
    matrix: Matrix<'_>,
    block: &Block<'_>,
    out: &mut [&mut [i32]; TOKENS],
) -> usize {
    let Some(tiles) = Tiles::new(matrix, block, out) else { return 0 };
    let job = tiles.job(picovit_helium_sums, out);
    // SAFETY: as in `int8`, without bias and multipliers.
    unsafe { tiles.run(picovit_helium_signed, &job, [&[]; 2], out) }
}

/// int8 outputs over uint8 operands, by a multiplier for each token; how many there were. As weights
/// are stored plus 128, sums are too large by 128 times the sum of the operands, among which none may
/// be behind the last: what pads a block has to be 0.
pub(in crate::kernels) fn rows(
    matrix: Matrix<'_>,
    mults: [i32; TOKENS],
    block: &Block<'_>,
    out: &mut [&mut [i8]; TOKENS],
) -> usize {
    let Some(tiles) = Tiles::new(matrix, block, out) else { return 0 };
    // SAFETY: `Tiles` has seen to it that so many steps are there. As in `int8`.
    let totals = unsafe { picovit_helium_total(tiles.tokens.as_ptr(), tiles.steps) };
    let [first, second]: [u32; TOKENS] = bytemuck::must_cast(totals);
    let minus =
        |total: u32| ptr::without_provenance(total.wrapping_mul(128).wrapping_neg() as usize);
    let job = Job {
        bias: minus(first),
        mult: minus(second),
        first: mults[0] as u32,
        second: mults[1] as u32,
        ..tiles.job(picovit_helium_rows, out)
    };
    // SAFETY: as in `int8`, without bias and multipliers, whose places hold numbers here.
    unsafe { tiles.run(picovit_helium_unsigned, &job, [&[]; 2], out) }
}
