//! Softmax weights by table and the reciprocal of their sum, section 7 of `docs/arithmetic.md`.

use core::num::{NonZeroU32, NonZeroU64};

use super::requant::mulhi;
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
    #[cfg(dsp)]
    if let (fours, []) = scores.as_chunks() {
        let max = super::cortex_m::largest(fours);
        let mut sum = 0;
        for (four, weights) in fours.iter().zip(weights.as_chunks_mut().0) {
            (*weights, sum) = super::cortex_m::weights(four, max, shift, mult, table, sum);
        }
        return sum;
    }
    let max = scores.iter().copied().max().unwrap_or(0);
    let mut sum = 0u32;
    for (&score, weight) in scores.iter().zip(weights) {
        let index = mulhi(max.wrapping_sub(score).wrapping_shl(shift), mult);
        // A negative index needs a wrapped difference, which a compiled model excludes.
        let index = (index as u32 as usize).min(EXP_ENTRIES - 1);
        *weight = table[index];
        sum = sum.wrapping_add(*weight as u32);
    }
    sum
}

/// The multiplier that divides a weighted sum by the sum of its weights.
#[must_use]
#[inline]
pub fn row_mult(numerator: u64, sum: u32) -> i32 {
    let divisor = NonZeroU32::new(sum).unwrap_or(NonZeroU32::MIN);
    let numerator = numerator.saturating_add(divisor.get() as u64 / 2);
    divided(numerator, divisor).min(i32::MAX as u64) as i32
}

/// A quotient, digit by digit: chips have no division of 64 bits. Divisors are below 2^24, as are
/// sums of at most 2^16 weights.
fn divided(numerator: u64, divisor: NonZeroU32) -> u64 {
    if divisor.get() >> 24 != 0 {
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
