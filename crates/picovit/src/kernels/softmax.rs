//! Softmax weights by table and the reciprocal of their sum, section 7 of `docs/arithmetic.md`.

use core::num::{NonZeroU32, NonZeroU64};

use super::requant::DIVIDES_64_BITS;
#[cfg(not(mve))]
use super::requant::mulhi;
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
use crate::format::EXP_ENTRIES;

/// Writes the weight of every score and returns their sum.
#[inline]
pub fn softmax_weights(
    scores: &[i32],
    shift: u32,
    mult: i32,
    table: &[u8; EXP_ENTRIES],
    weights: &mut [u8],
) -> u32 {
    #[cfg(mve)]
    {
        let max = super::helium::largest(scores);
        super::helium::weights(scores, max, (shift, mult), table, weights)
    }
    #[cfg(not(mve))]
    softmax_weights_by_value(scores, shift, mult, table, weights)
}

/// As [`softmax_weights`], for processors without vectors of scores.
#[cfg(not(mve))]
#[inline(always)]
fn softmax_weights_by_value(
    scores: &[i32],
    shift: u32,
    mult: i32,
    table: &[u8; EXP_ENTRIES],
    weights: &mut [u8],
) -> u32 {
    #[cfg(dsp)]
    if let (fours, []) = scores.as_chunks() {
        let max = super::cortex_m::largest(fours);
        let mut sum = 0;
        for (four, weights) in fours.iter().zip(weights.as_chunks_mut().0) {
            (*weights, sum) = super::cortex_m::weights(four, max, shift, mult, table, sum);
        }
        return sum;
    }
    #[cfg(target_arch = "aarch64")]
    if let (steps, []) = scores.as_chunks()
        && weights.len() >= scores.len()
        && super::neon::is_current()
    {
        let max = scores.iter().copied().max().unwrap_or(0);
        let weights = weights.as_chunks_mut().0;
        // SAFETY: NEON is current.
        return unsafe { super::neon::weights(steps, max, (shift, mult), table, weights) };
    }
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() && super::x86::values512::has_vbmi() {
        // SAFETY: AVX-512 is current, and VBMI has been asked for.
        return unsafe { super::x86::values512::weights(scores, shift, mult, table, weights) };
    }
    #[cfg(target_feature = "simd128")]
    if let (steps, []) = scores.as_chunks()
        && weights.len() >= scores.len()
        && super::wasm::is_current()
    {
        let max = scores.iter().copied().max().unwrap_or(0);
        let weights = weights.as_chunks_mut().0;
        return super::wasm::softmax_weights(steps, max, (shift, mult), table, weights);
    }
    #[cfg(wide)]
    if let Some(sum) = dispatch(Weights { scores, shift, mult, table, weights: &mut *weights }) {
        return sum;
    }
    let max = scores.iter().copied().max().unwrap_or(0);
    let mut sum = 0u32;
    for (&score, weight) in scores.iter().zip(weights) {
        *weight = table[index(max, score, shift, mult)];
        sum = sum.wrapping_add(*weight as u32);
    }
    sum
}

/// Where the weight of a score is in the table.
#[cfg(not(mve))]
#[inline(always)]
fn index(max: i32, score: i32, shift: u32, mult: i32) -> usize {
    let index = mulhi(max.wrapping_sub(score).wrapping_shl(shift), mult);
    // A negative index needs a wrapped difference, which a compiled model excludes.
    (index as u32).min(EXP_ENTRIES as u32 - 1) as usize
}

/// [`softmax_weights`] on vectors.
#[cfg(wide)]
struct Weights<'k> {
    scores: &'k [i32],
    shift: u32,
    mult: i32,
    table: &'k [u8; EXP_ENTRIES],
    weights: &'k mut [u8],
}

#[cfg(wide)]
impl Kernel for Weights<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u32 {
        /// Scores whose places are found at once; the table is read one by one.
        const STEP: usize = 16;
        let Self { scores, shift, mult, table, weights } = self;
        let max = scores.iter().copied().max().unwrap_or(0);
        let place = |score| index(max, score, shift, mult);
        let count = scores.len().min(weights.len());
        let (chunks, rest) = scores.get(..count).unwrap_or_default().as_chunks::<STEP>();
        let weights = weights.get_mut(..count).unwrap_or_default();
        let (weight_chunks, weights_rest) = weights.as_chunks_mut::<STEP>();
        let mut sum = 0u32;
        for (scores, weights) in chunks.iter().zip(weight_chunks) {
            let places: [u32; STEP] = core::array::from_fn(|lane| place(scores[lane]) as u32);
            for (weight, place) in weights.iter_mut().zip(places) {
                *weight = table[place as usize % EXP_ENTRIES];
                sum = sum.wrapping_add(*weight as u32);
            }
        }
        for (&score, weight) in rest.iter().zip(weights_rest) {
            *weight = table[place(score)];
            sum = sum.wrapping_add(*weight as u32);
        }
        sum
    }
}

/// The multiplier that divides a weighted sum by the sum of its weights.
#[must_use]
#[inline]
pub fn row_mult(numerator: u64, sum: u32) -> i32 {
    let divisor = NonZeroU32::new(sum).unwrap_or(NonZeroU32::MIN);
    let numerator = numerator.saturating_add(divisor.get() as u64 / 2);
    divided(numerator, divisor).min(i32::MAX as u64) as i32
}

/// A quotient, digit by digit unless the processor divides 64 bits at once. Divisors are below 2^24, as are sums of at most 2^16 weights.
fn divided(numerator: u64, divisor: NonZeroU32) -> u64 {
    if DIVIDES_64_BITS || divisor.get() >> 24 != 0 {
        return numerator / NonZeroU64::from(divisor);
    }
    let (mut quotient, mut rest) = (0u64, 0u32);
    for digit in numerator.to_be_bytes() {
        rest = rest << 8 | digit as u32;
        quotient = quotient << 8 | (rest / divisor) as u64;
        rest %= divisor;
    }
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_those_of_whole_numbers() {
        for numerator in [0, 1, 254, 1 << 40, 0x0123_4567_89ab_cdef, u64::MAX] {
            for divisor in [1, 2, 255, 16_320, 0xff_ffff, 0x100_0000, u32::MAX] {
                let quotient = divided(numerator, NonZeroU32::new(divisor).unwrap());
                assert_eq!(quotient, numerator / u64::from(divisor));
            }
        }
    }
}
