//! What becomes of the sums of a matrix product.

use super::block::Block;
use super::matmul::{Matrix, matmul};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::requant::{mulhi_add, requant8, residual_add};
#[cfg(wide)]
use super::wide::{LinearAdd16, LinearInt8, Scores, WeightedSums, dispatch};
#[cfg(target_arch = "x86_64")]
use super::x86::product512;
use crate::format::{Packing, TOKENS};

/// Whether kernels in assembly leave anything to the portable product: weights of another packing. In
/// memory of a validated model they do all of their own.
const LEAVES_REST: bool = cfg!(not(dsp)) || Packing::ALL_TAKEN;

/// Whether so many outputs are all that there is to do.
#[inline(always)]
fn is_all(done: usize, outputs: usize) -> bool {
    debug_assert!(LEAVES_REST || done == outputs, "memory that no validated model gives");
    done == outputs || !LEAVES_REST
}

/// How sums become int8: `clamp(zero + mulhi(sum << shift, mult), low, 127)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int8 {
    /// Zero point.
    pub zero: i32,
    /// Smallest value.
    pub low: i8,
    /// Left shift of the sums.
    pub shift: u32,
}

impl Int8 {
    /// All int8 values, around this zero point.
    #[must_use]
    pub const fn around(zero: i32) -> Self {
        Self { zero, low: i8::MIN, shift: 0 }
    }
}

/// int8 outputs: `constants` are bias and multiplier of each.
///
/// The block is one of the matrix's packing, with as many inputs, and holds [`TOKENS`] tokens. `out` has
/// a row of the matrix's outputs for each; one that is not wanted is empty.
pub fn linear_int8(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    block: &Block<'_>,
    mut out: [&mut [i8]; TOKENS],
) {
    let [bias, mult] = constants;
    let Int8 { zero, low, shift } = form;
    #[cfg(dsp)]
    let done = match matrix.packing.known() {
        #[cfg(mve)]
        Packing::Helium => {
            super::helium::int8(matrix, constants, (zero, low, shift), block, &mut out)
        }
        _ => super::cortex_m::int8(matrix, constants, (zero, low, shift), block, &mut out),
    };
    #[cfg(target_arch = "aarch64")]
    if neon::perform(neon::LinearInt8 { matrix, constants, form, block, out: &mut out }) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if product512::linear_int8(matrix, constants, form, block, &mut out) {
        return;
    }
    #[cfg(wide)]
    if dispatch(LinearInt8 { matrix, constants, form, block, out: &mut out }).is_some() {
        return;
    }
    #[cfg(not(dsp))]
    let done = 0;
    if is_all(done, matrix.outputs) {
        return;
    }
    matmul::<i8>(matrix, done, bias, block, &mut |output, sums| {
        let mult = mult.get(output).copied().unwrap_or(0);
        for (row, sum) in out.iter_mut().zip(sums) {
            if let Some(out) = row.get_mut(output) {
                let value = mulhi_add(zero, sum.wrapping_shl(shift), mult);
                *out = value.min(127).max(low as i32) as i8;
            }
        }
    });
}

/// Adds `mulhi(sum << shift, mult)` to int16 values, saturating: `constants` are bias and multiplier of
/// each output.
///
/// The block is one of the matrix's packing, with as many inputs, and holds [`TOKENS`] tokens. `out` has
/// a row of the matrix's outputs for each; one that is not wanted is empty.
pub fn linear_add16(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    shift: u32,
    block: &Block<'_>,
    mut out: [&mut [i16]; TOKENS],
) {
    let [bias, mult] = constants;
    #[cfg(dsp)]
    let done = match matrix.packing.known() {
        #[cfg(mve)]
        Packing::Helium => super::helium::add16(matrix, constants, shift, block, &mut out),
        _ => super::cortex_m::add16(matrix, constants, shift, block, &mut out),
    };
    #[cfg(target_arch = "aarch64")]
    if neon::perform(neon::LinearAdd16 { matrix, constants, shift, block, out: &mut out }) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if product512::linear_add16(matrix, constants, shift, block, &mut out) {
        return;
    }
    #[cfg(wide)]
    if dispatch(LinearAdd16 { matrix, constants, shift, block, out: &mut out }).is_some() {
        return;
    }
    #[cfg(not(dsp))]
    let done = 0;
    if is_all(done, matrix.outputs) {
        return;
    }
    matmul::<i8>(matrix, done, bias, block, &mut |output, sums| {
        let mult = mult.get(output).copied().unwrap_or(0);
        for (row, sum) in out.iter_mut().zip(sums) {
            if let Some(x) = row.get_mut(output) {
                *x = residual_add(*x, sum, shift, mult);
            }
        }
    });
}

/// Scores of queries in a block against keys: plain sums.
///
/// The block is one of int8 values, of the keys' packing and with as many inputs, and holds [`TOKENS`]
/// queries. `out` has a score of each key for each; a row that is not wanted is empty.
pub fn scores(keys: Matrix<'_>, queries: &Block<'_>, mut out: [&mut [i32]; TOKENS]) {
    #[cfg(dsp)]
    let done = match keys.packing.known() {
        #[cfg(mve)]
        Packing::Helium => super::helium::sums(keys, queries, &mut out),
        _ => super::cortex_m::sums(keys, queries, &mut out),
    };
    #[cfg(target_arch = "aarch64")]
    if neon::perform(neon::Scores { keys, queries, out: &mut out }) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if product512::scores(keys, queries, &mut out) {
        return;
    }
    #[cfg(wide)]
    if dispatch(Scores { keys, queries, out: &mut out }).is_some() {
        return;
    }
    #[cfg(not(dsp))]
    let done = 0;
    if is_all(done, keys.outputs) {
        return;
    }
    matmul::<i8>(keys, done, &[], queries, &mut |token, sums| {
        for (row, sum) in out.iter_mut().zip(sums) {
            if let Some(score) = row.get_mut(token) {
                *score = sum;
            }
        }
    });
}

/// Weighted sums of values, by a multiplier for each query: `sat8(mulhi(sum, mult))`.
///
/// The block is one of uint8 weights, of the values' packing and with as many inputs, and holds those of
/// [`TOKENS`] queries; the values are packed by
/// [`Packing::pack_unsigned`](crate::format::Packing::pack_unsigned). `out` has a row of the matrix's
/// outputs for each; one that is not wanted is empty.
pub fn weighted_sums(
    values: Matrix<'_>,
    weights: &Block<'_>,
    mults: [i32; TOKENS],
    mut out: [&mut [i8]; TOKENS],
) {
    #[cfg(dsp)]
    let done = match values.packing.known() {
        #[cfg(mve)]
        Packing::Helium => super::helium::rows(values, mults, weights, &mut out),
        _ => super::cortex_m::rows(values, mults, weights, &mut out),
    };
    #[cfg(target_arch = "aarch64")]
    if neon::perform(neon::WeightedSums { values, weights, mults, out: &mut out }) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if product512::weighted_sums(values, weights, &mults, &mut out) {
        return;
    }
    #[cfg(wide)]
    if dispatch(WeightedSums { values, weights, mults, out: &mut out }).is_some() {
        return;
    }
    #[cfg(not(dsp))]
    let done = 0;
    if is_all(done, values.outputs) {
        return;
    }
    matmul::<u8>(values, done, &[], weights, &mut |channel, sums| {
        for ((row, sum), mult) in out.iter_mut().zip(sums).zip(mults) {
            if let Some(out) = row.get_mut(channel) {
                *out = requant8(sum, mult, 0);
            }
        }
    });
}
