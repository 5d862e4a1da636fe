//! Work on single values: layer norm, softmax weights, what is added to values. Functions that leave
//! the last values to their callers say how many they have done.

use core::arch::wasm32::*;

use super::super::residual::Shortcut;
use super::{mulhi, register, store};
use crate::format::EXP_ENTRIES;

/// Values of a step, and of a register of 32 bits.
const STEP: usize = 8;
const HALF: usize = STEP / 2;

/// A step of 16-bit values, 32 bits wide.
#[inline(always)]
fn wide(values: v128) -> [v128; 2] {
    [i32x4_extend_low_i16x8(values), i32x4_extend_high_i16x8(values)]
}

/// A step of 8-bit values, 16 bits wide.
#[inline(always)]
fn bytes(values: &[i8; STEP]) -> v128 {
    // SAFETY: there are eight bytes, and no alignment is asked for.
    unsafe { i16x8_load_extend_i8x8(values.as_ptr()) }
}

/// Writes a step of 16-bit values, saturated to 8 bits.
#[inline(always)]
fn store_bytes(values: v128, out: &mut [i8; STEP]) {
    *out = bytemuck::must_cast(i64x2_extract_lane::<0>(i8x16_narrow_i16x8(values, values)));
}

/// The halves of a step of 32-bit values.
#[inline(always)]
fn halves(values: &[i32; STEP]) -> [v128; 2] {
    [register(values), register(&values[HALF..])]
}

/// The sum of steps of values, and that of their squares.
#[inline]
pub(in super::super) fn sums_of_squares(steps: &[[i16; STEP]]) -> (i32, u64) {
    let (mut sums, mut squares) = (i32x4_splat(0), i64x2_splat(0));
    for step in steps {
        let x = register(step);
        sums = i32x4_add(sums, i32x4_extadd_pairwise_i16x8(x));
        // Two squares fit 32 bits without a sign.
        let pairs = i32x4_dot_i16x8(x, x);
        squares = i64x2_add(squares, u64x2_extend_low_u32x4(pairs));
        squares = i64x2_add(squares, u64x2_extend_high_u32x4(pairs));
    }
    let sum = [i32x4_extract_lane::<0>(sums), i32x4_extract_lane::<1>(sums)];
    let rest = [i32x4_extract_lane::<2>(sums), i32x4_extract_lane::<3>(sums)];
    let sum = sum.into_iter().chain(rest).fold(0i32, i32::wrapping_add);
    let squares = [u64x2_extract_lane::<0>(squares), u64x2_extract_lane::<1>(squares)];
    (sum, squares[0].wrapping_add(squares[1]))
}

/// A token on its way through a layer norm: width and sum, shifted, and the inverse.
struct Norm([v128; 3]);

impl Norm {
    #[inline(always)]
    fn new((width, sum, inverse): (i32, i32, i32)) -> Self {
        Self([width, sum, inverse].map(|value| i32x4_splat(value)))
    }

    /// `offset + mulhi(value, gain)` of a step.
    #[inline(always)]
    fn outputs(&self, x: v128, gain: &[i32; STEP], offset: &[i32; STEP]) -> [v128; 2] {
        let Self([width, sum, inverse]) = *self;
        let (mut values, gain, offset) = (wide(x), halves(gain), halves(offset));
        for half in 0..2 {
            let value = mulhi(i32x4_sub(i32x4_mul(values[half], width), sum), inverse);
            values[half] = i32x4_add(offset[half], mulhi(value, gain[half]));
        }
        values
    }
}

/// [`NormalizedRow::write8`](super::super::NormalizedRow::write8).
#[inline]
pub(in super::super) fn write8(
    x: &[i16],
    row: (i32, i32, i32),
    [gain, offset]: [&[i32]; 2],
    out: &mut [i8],
) -> usize {
    let norm = Norm::new(row);
    let constants = gain.as_chunks().0.iter().zip(offset.as_chunks().0);
    let steps = x.as_chunks::<STEP>().0.iter().zip(constants).zip(out.as_chunks_mut().0);
    let mut done = 0;
    for ((x, (gain, offset)), out) in steps {
        let values = norm.outputs(register(x), gain, offset).map(|values| i32x4_shr(values, 8));
        store_bytes(i16x8_narrow_i32x4(values[0], values[1]), out);
        done += STEP;
    }
    done
}

/// [`NormalizedRow::write16`](super::super::NormalizedRow::write16).
#[inline]
pub(in super::super) fn write16(
    x: &mut [i16],
    row: (i32, i32, i32),
    [gain, offset]: [&[i32]; 2],
) -> usize {
    let norm = Norm::new(row);
    let constants = gain.as_chunks().0.iter().zip(offset.as_chunks().0);
    let mut done = 0;
    for (x, (gain, offset)) in x.as_chunks_mut::<STEP>().0.iter_mut().zip(constants) {
        let values = norm.outputs(register(x), gain, offset);
        store(i16x8_narrow_i32x4(values[0], values[1]), x);
        done += STEP;
    }
    done
}

/// Weights of steps of scores; their sum.
#[inline]
pub(in super::super) fn softmax_weights(
    scores: &[[i32; HALF]],
    max: i32,
    (shift, mult): (u32, i32),
    table: &[u8; EXP_ENTRIES],
    weights: &mut [[u8; HALF]],
) -> u32 {
    let (max, mult, last) = (i32x4_splat(max), i32x4_splat(mult), EXP_ENTRIES - 1);
    let end = i32x4_splat(last as i32);
    let mut sum = 0u32;
    for (scores, weights) in scores.iter().zip(weights) {
        let difference = i32x4_shl(i32x4_sub(max, register(scores)), shift);
        let place = u32x4_min(mulhi(difference, mult), end);
        let places = [
            u32x4_extract_lane::<0>(place),
            u32x4_extract_lane::<1>(place),
            u32x4_extract_lane::<2>(place),
            u32x4_extract_lane::<3>(place),
        ];
        // SAFETY: places end with the table's last entry.
        *weights = places.map(|place| unsafe { *table.get_unchecked(place as usize) });
        sum = weights.iter().fold(sum, |sum, &weight| sum.wrapping_add(weight.into()));
    }
    sum
}

/// [`residual_add8`](super::super::residual_add8).
#[inline]
pub(in super::super) fn residual_add8(
    sums: &[i32],
    [bias, mult]: [&[i32]; 2],
    shortcut: Shortcut,
    x: &mut [i8],
) -> usize {
    let Shortcut { zero_in, mult: kept, zero_out } = shortcut;
    let [zero_in, kept, zero_out] = [zero_in, kept, zero_out].map(|value| i32x4_splat(value));
    let constants = bias.as_chunks().0.iter().zip(mult.as_chunks().0);
    let steps = sums.as_chunks::<STEP>().0.iter().zip(constants);
    let mut done = 0;
    for (x, (sums, (bias, mult))) in x.as_chunks_mut::<STEP>().0.iter_mut().zip(steps) {
        let mut values = wide(bytes(x));
        let (sums, bias, mult) = (halves(sums), halves(bias), halves(mult));
        for half in 0..2 {
            let centred = i32x4_shl(i32x4_sub(values[half], zero_in), 16);
            let value = i32x4_add(zero_out, mulhi(centred, kept));
            let sum = i32x4_add(sums[half], bias[half]);
            values[half] = i32x4_add(value, mulhi(sum, mult[half]));
        }
        store_bytes(i16x8_narrow_i32x4(values[0], values[1]), x);
        done += STEP;
    }
    done
}

/// [`add_scaled_channels`](super::super::add_scaled_channels); without constants for each channel,
/// with these for all.
#[inline(always)]
pub(in super::super) fn add_scaled(
    x: &[i8],
    constants: impl Fn(usize) -> Option<[[v128; 2]; 2]>,
    out: &mut [i16],
) -> usize {
    let mut done = 0;
    for (x, out) in x.as_chunks::<STEP>().0.iter().zip(out.as_chunks_mut::<STEP>().0) {
        let Some([zero, mult]) = constants(done) else { break };
        let (x, mut values) = (wide(bytes(x)), wide(register(out)));
        for half in 0..2 {
            let centred = i32x4_shl(i32x4_sub(x[half], zero[half]), 16);
            values[half] = i32x4_add(values[half], mulhi(centred, mult[half]));
        }
        store(i16x8_narrow_i32x4(values[0], values[1]), out);
        done += STEP;
    }
    done
}

/// One constant for all channels.
#[inline(always)]
pub(in super::super) fn same(value: i32) -> [v128; 2] {
    [i32x4_splat(value); 2]
}

/// Constants of the channels from one on.
#[inline(always)]
pub(in super::super) fn each(values: &[i32], channel: usize) -> Option<[v128; 2]> {
    values.get(channel..)?.first_chunk().map(halves)
}
