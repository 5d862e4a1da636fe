//! Matrix products of row-major weights from the sums to what is stored, in registers throughout:
//! eight outputs of two tokens at a time. Fewer outputs than that are left to
//! [`wide`](super::super::wide).

use core::arch::aarch64::*;
use core::arch::asm;

use super::super::block::{Block, Operand};
use super::super::layer::Int8;
use super::super::matmul::Matrix;
use super::super::wide::LANES;
use super::{BYTES, Task};
use crate::format::{Packing, TOKENS};

/// Sums of four outputs and the four that follow, for each token.
pub(in super::super) type Quads = [[int32x4_t; 2]; TOKENS];

/// What the sums of eight outputs are made of. Rows of weights and tokens are memory of
/// `64 * blocks + 16 * steps + rest` values, of which the rest, if there is one, ends 16 bytes that
/// may be read.
pub(in super::super) struct Places {
    pub(super) weights: *const i8,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) tokens: [*const i8; TOKENS],
    pub(super) bias: *const i32,
    pub(super) blocks: usize,
    pub(super) steps: usize,
    /// From where the rest begins to where its last 16 values do, if there is one: below 0.
    pub(super) back: isize,
    /// What keeps the rest of those 16 values.
    pub(super) mask: uint8x16_t,
}

/// A kernel for the sums.
pub(in super::super) trait EightRows {
    /// Sums with their bias.
    ///
    /// # Safety
    /// The processor has the instructions and [`Places`] are as described there.
    unsafe fn sums<T: Operand>(places: &Places) -> Quads;
}

/// What becomes of the sums.
trait Sink {
    /// Whether it takes so many outputs, the last of them perhaps twice.
    fn fits(&self, outputs: usize) -> bool;

    /// Where the bias is, at least eight values.
    ///
    /// # Safety
    /// It fits the eight outputs from `first` on.
    unsafe fn bias(&self, _first: usize) -> *const i32 {
        ZEROS.as_ptr()
    }

    /// Takes the sums of eight outputs.
    ///
    /// # Safety
    /// It fits the eight outputs from `first` on; the processor has NEON.
    unsafe fn take(&mut self, first: usize, sums: Quads);
}

/// Nothing to begin with.
static ZEROS: [i32; LANES] = [0; LANES];

/// Zeros, then ones: what lies `n` bytes behind its start keeps the last `n` bytes of a register.
static MASKS: [u8; 2 * BYTES] = {
    let mut masks = [0; 2 * BYTES];
    let mut at = BYTES;
    while at < 2 * BYTES {
        masks[at] = 0xff;
        at += 1;
    }
    masks
};

/// What is read in front of where it starts, of rows of less than 16 values: the tokens, and weights
/// that do not have 16 bytes up to the end of their row.
struct Short {
    rows: [i8; 2 * BYTES + LANES * BYTES],
    tokens: [[i8; 2 * BYTES]; TOKENS],
}

impl Short {
    #[inline(always)]
    fn new<T: Operand>(weights: &[i8], tokens: [&[T]; TOKENS]) -> Self {
        let mut short =
            Self { rows: [0; 2 * BYTES + LANES * BYTES], tokens: [[0; 2 * BYTES]; TOKENS] };
        put(weights, &mut short.rows[BYTES..]);
        for (token, place) in tokens.into_iter().zip(&mut short.tokens) {
            put(bytemuck::must_cast_slice(token), &mut place[BYTES..]);
        }
        short
    }
}

/// Copies as much as there is and has room.
#[inline(always)]
fn put(source: &[i8], target: &mut [i8]) {
    target.iter_mut().zip(source).for_each(|(target, &value)| *target = value);
}

/// Computes a product unless its shape is left to others.
#[inline(always)]
fn product<K: EightRows, T: Operand>(
    matrix: Matrix<'_>,
    block: &Block<'_>,
    sink: impl Sink,
) -> bool {
    if matrix.inputs < BYTES {
        rows::<K, T, true>(matrix, block, sink)
    } else {
        rows::<K, T, false>(matrix, block, sink)
    }
}

/// As [`product`], of rows of less than 16 values or of longer ones.
#[inline(always)]
fn rows<K: EightRows, T: Operand, const SHORT: bool>(
    matrix: Matrix<'_>,
    block: &Block<'_>,
    mut sink: impl Sink,
) -> bool {
    let Matrix { packing, outputs, inputs, bytes } = matrix;
    let tokens = block.rows::<T>();
    let whole = outputs.checked_mul(inputs) == Some(bytes.len());
    let present = tokens.iter().all(|token| token.len() == inputs);
    let enough = inputs > 0 && outputs >= LANES;
    if packing != Packing::Portable || !whole || !present || !enough || !sink.fits(outputs) {
        return false;
    }
    let rest = inputs % BYTES;
    let short = SHORT.then(|| Short::new(bytes, tokens));
    // Tokens without a sign are taken step by step.
    let blocks = if T::SIGNED { inputs / (4 * BYTES) } else { 0 };
    let mut places = Places {
        weights: bytes.as_ptr(),
        stride: inputs,
        tokens: match &short {
            Some(short) => short.tokens.each_ref().map(|token| token[BYTES..].as_ptr()),
            None => tokens.map(|token| token.as_ptr().cast()),
        },
        bias: ZEROS.as_ptr(),
        blocks,
        steps: inputs / BYTES - 4 * blocks,
        back: if rest > 0 { rest as isize - BYTES as isize } else { 0 },
        // SAFETY: the rest is less than a half of it.
        mask: unsafe { vld1q_u8(MASKS.as_ptr().add(rest)) },
    };
    let mut first = 0;
    while first < outputs {
        // The last step may begin within the one before.
        let at = first.min(outputs - LANES);
        // SAFETY: there are `outputs` rows, of `inputs` values each, and the sink takes as many. That
        // `K` and NEON are there is what a task is run for.
        unsafe {
            places.bias = sink.bias(at);
            places.weights = match &short {
                Some(short) if (at + 1) * inputs < BYTES => {
                    short.rows[BYTES + at * inputs..].as_ptr()
                }
                _ => bytes.as_ptr().add(at * inputs),
            };
            sink.take(at, K::sums::<T>(&places));
        }
        first += LANES;
    }
    true
}

/// `addend + mulhi(sums, mult)`, the addend in the upper halves of 64 bits.
#[inline]
#[target_feature(enable = "neon")]
fn mulhi_add(addend: int64x2_t, sums: int32x4_t, mult: int32x4_t) -> int32x4_t {
    let values;
    // SAFETY: reads and writes registers. The compiler would take some of the multiplications apart.
    unsafe {
        asm!(
            "smull {low:v}.2d, {sums:v}.2s, {mult:v}.2s",
            "smull2 {high:v}.2d, {sums:v}.4s, {mult:v}.4s",
            "raddhn {values:v}.2s, {low:v}.2d, {addend:v}.2d",
            "raddhn2 {values:v}.4s, {high:v}.2d, {addend:v}.2d",
            sums = in(vreg) sums, mult = in(vreg) mult, addend = in(vreg) addend,
            low = out(vreg) _, high = out(vreg) _, values = out(vreg) values,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    values
}

/// An addend of [`mulhi_add`].
#[inline]
#[target_feature(enable = "neon")]
fn upper(value: i32) -> int64x2_t {
    vdupq_n_s64(i64::from(value) << 32)
}

/// Writes eight bytes in the first row, eight in the second if it is there.
///
/// # Safety
/// There is room.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn put8(out: &mut [&mut [i8]; TOKENS], at: usize, bytes: int8x16_t) {
    // SAFETY: the caller's promise.
    unsafe {
        vst1_s8(out[0].as_mut_ptr().add(at), vget_low_s8(bytes));
        if !out[1].is_empty() {
            vst1_s8(out[1].as_mut_ptr().add(at), vget_high_s8(bytes));
        }
    }
}

/// Saturated to int8.
#[inline]
#[target_feature(enable = "neon")]
fn bytes([one, two]: [[int32x4_t; 2]; TOKENS]) -> int8x16_t {
    let one = vqmovn_high_s32(vqmovn_s32(one[0]), one[1]);
    let two = vqmovn_high_s32(vqmovn_s32(two[0]), two[1]);
    vqmovn_high_s16(vqmovn_s16(one), two)
}

/// Whether rows have so many values; the second may be missing.
fn room<V>([one, two]: &[&mut [V]; TOKENS], outputs: usize) -> bool {
    one.len() >= outputs && (two.is_empty() || two.len() >= outputs)
}

/// [`linear_int8`](super::super::linear_int8).
pub(in super::super) struct LinearInt8<'k, 'o> {
    pub(in super::super) matrix: Matrix<'k>,
    pub(in super::super) constants: [&'k [i32]; 2],
    pub(in super::super) form: Int8,
    pub(in super::super) block: &'k Block<'k>,
    pub(in super::super) out: &'k mut [&'o mut [i8]; TOKENS],
}

impl Task for LinearInt8<'_, '_> {
    #[inline(always)]
    fn run<K: EightRows>(self) -> bool {
        product::<K, i8>(self.matrix, self.block, self)
    }
}

impl Sink for LinearInt8<'_, '_> {
    #[inline(always)]
    fn fits(&self, outputs: usize) -> bool {
        let constants = self.constants.iter().all(|values| values.len() >= outputs);
        constants && room(self.out, outputs)
    }

    #[inline(always)]
    unsafe fn bias(&self, first: usize) -> *const i32 {
        // SAFETY: the caller's promise.
        unsafe { self.constants[0].as_ptr().add(first) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn take(&mut self, first: usize, sums: Quads) {
        let Int8 { zero, low, shift } = self.form;
        // SAFETY: the caller's promise.
        let mult = unsafe { vld1q_s32_x2(self.constants[1].as_ptr().add(first)) };
        let (mult, zero) = ([mult.0, mult.1], upper(zero));
        let mut values = sums;
        for values in &mut values {
            for half in 0..2 {
                if shift != 0 {
                    values[half] = vshlq_s32(values[half], vdupq_n_s32((shift % 32) as i32));
                }
                values[half] = mulhi_add(zero, values[half], mult[half]);
            }
        }
        let bytes = vmaxq_s8(bytes(values), vdupq_n_s8(low));
        // SAFETY: the caller's promise.
        unsafe { put8(self.out, first, bytes) };
    }
}

/// [`linear_add16`](super::super::linear_add16).
pub(in super::super) struct LinearAdd16<'k, 'o> {
    pub(in super::super) matrix: Matrix<'k>,
    pub(in super::super) constants: [&'k [i32]; 2],
    pub(in super::super) shift: u32,
    pub(in super::super) block: &'k Block<'k>,
    pub(in super::super) out: &'k mut [&'o mut [i16]; TOKENS],
}

impl Task for LinearAdd16<'_, '_> {
    #[inline(always)]
    fn run<K: EightRows>(self) -> bool {
        product::<K, i8>(self.matrix, self.block, self)
    }
}

impl Sink for LinearAdd16<'_, '_> {
    #[inline(always)]
    fn fits(&self, outputs: usize) -> bool {
        // What is added is added once.
        let steps = outputs.is_multiple_of(LANES);
        let constants = self.constants.iter().all(|values| values.len() >= outputs);
        steps && constants && room(self.out, outputs)
    }

    #[inline(always)]
    unsafe fn bias(&self, first: usize) -> *const i32 {
        // SAFETY: the caller's promise.
        unsafe { self.constants[0].as_ptr().add(first) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn take(&mut self, first: usize, sums: Quads) {
        // SAFETY: the caller's promise.
        let mult = unsafe { vld1q_s32_x2(self.constants[1].as_ptr().add(first)) };
        let (mult, shift) = ([mult.0, mult.1], vdupq_n_s32((self.shift % 32) as i32));
        for (row, mut sums) in self.out.iter_mut().zip(sums) {
            if row.is_empty() {
                continue;
            }
            for half in 0..2 {
                sums[half] = mulhi_add(upper(0), vshlq_s32(sums[half], shift), mult[half]);
            }
            // SAFETY: the caller's promise.
            unsafe {
                let place = row.as_mut_ptr().add(first);
                let x = vld1q_s16(place);
                let low = vaddw_s16(sums[0], vget_low_s16(x));
                let high = vaddw_high_s16(sums[1], x);
                vst1q_s16(place, vqmovn_high_s32(vqmovn_s32(low), high));
            }
        }
    }
}

/// [`scores`](super::super::scores).
pub(in super::super) struct Scores<'k, 'o> {
    pub(in super::super) keys: Matrix<'k>,
    pub(in super::super) queries: &'k Block<'k>,
    pub(in super::super) out: &'k mut [&'o mut [i32]; TOKENS],
}

impl Task for Scores<'_, '_> {
    #[inline(always)]
    fn run<K: EightRows>(self) -> bool {
        product::<K, i8>(self.keys, self.queries, self)
    }
}

impl Sink for Scores<'_, '_> {
    #[inline(always)]
    fn fits(&self, outputs: usize) -> bool {
        room(self.out, outputs)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn take(&mut self, first: usize, sums: Quads) {
        for (row, [low, high]) in self.out.iter_mut().zip(sums) {
            if !row.is_empty() {
                // SAFETY: the caller's promise.
                unsafe { vst1q_s32_x2(row.as_mut_ptr().add(first), int32x4x2_t(low, high)) };
            }
        }
    }
}

/// [`weighted_sums`](super::super::weighted_sums).
pub(in super::super) struct WeightedSums<'k, 'o> {
    pub(in super::super) values: Matrix<'k>,
    pub(in super::super) weights: &'k Block<'k>,
    pub(in super::super) mults: [i32; TOKENS],
    pub(in super::super) out: &'k mut [&'o mut [i8]; TOKENS],
}

impl Task for WeightedSums<'_, '_> {
    #[inline(always)]
    fn run<K: EightRows>(self) -> bool {
        product::<K, u8>(self.values, self.weights, self)
    }
}

impl Sink for WeightedSums<'_, '_> {
    #[inline(always)]
    fn fits(&self, outputs: usize) -> bool {
        room(self.out, outputs)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn take(&mut self, first: usize, mut sums: Quads) {
        for (sums, mult) in sums.iter_mut().zip(self.mults) {
            for sums in sums {
                *sums = mulhi_add(upper(0), *sums, vdupq_n_s32(mult));
            }
        }
        // SAFETY: the caller's promise.
        unsafe { put8(self.out, first, bytes(sums)) };
    }
}
