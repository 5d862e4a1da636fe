//! NEON of every AArch64.

use core::arch::aarch64::*;

use super::super::block::Operand;
use super::super::wide::{Kernel, LANES, Lanes, Rows, Simd, Sums, simd};
use super::{BYTES, fold4, load, narrow8, narrow16, padded, requant, store};
use crate::format::TOKENS;

/// Proof that the processor has it: made in [`run`] alone.
#[derive(Clone, Copy)]
struct Neon(());

/// Runs a kernel.
#[target_feature(enable = "neon")]
pub(in super::super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon(()))
}

simd!(Neon);

/// Adds the products of [`BYTES`] inputs from `at` on. Tokens without a sign enter as `x - 128`;
/// `missing` is the sum of their weights.
///
/// # Safety
/// With `WHOLE`, all slices have as many.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const WHOLE: bool, T: Operand>(
    sums: &mut [[int32x4_t; LANES]; TOKENS],
    missing: &mut [int32x4_t; LANES],
    weights: &[&[i8]; LANES],
    tokens: [&[T]; TOKENS],
    at: usize,
) {
    // SAFETY: the caller's promise.
    let mut x = unsafe { [load::<WHOLE, T>(tokens[0], at), load::<WHOLE, T>(tokens[1], at)] };
    if !T::SIGNED {
        let half = vdupq_n_s8(-128);
        x = [veorq_s8(x[0], half), veorq_s8(x[1], half)];
    }
    for lane in 0..LANES {
        // SAFETY: the caller's promise.
        let w = unsafe { load::<WHOLE, i8>(weights[lane], at) };
        for token in 0..TOKENS {
            // Two products of -128 with itself exceed 16 bits: each is added by itself.
            let low = vmull_s8(vget_low_s8(w), vget_low_s8(x[token]));
            let high = vmull_high_s8(w, x[token]);
            let sum = vpadalq_s16(sums[token][lane], low);
            sums[token][lane] = vpadalq_s16(sum, high);
        }
        if !T::SIGNED {
            missing[lane] = vpadalq_s16(missing[lane], vpaddlq_s8(w));
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn rows<T: Operand>(matrix: Rows<'_>, tokens: [&[T]; TOKENS]) -> Sums {
    let inputs = matrix.inputs().min(tokens[0].len()).min(tokens[1].len());
    let mut weights: [&[i8]; LANES] = [&[]; LANES];
    for lane in 0..LANES {
        // What follows the inputs in a row must not count.
        weights[lane] = matrix.row(lane).get(..inputs).unwrap_or_default();
    }
    let zero = vdupq_n_s32(0);
    let (mut all, mut missing) = ([[zero; LANES]; TOKENS], [zero; LANES]);
    let whole = inputs / BYTES * BYTES;
    for at in (0..whole).step_by(BYTES) {
        // SAFETY: `at` and the 15 after it are below the length of all slices.
        unsafe { step::<true, T>(&mut all, &mut missing, &weights, tokens, at) };
    }
    if whole < inputs {
        // SAFETY: not whole.
        unsafe { step::<false, T>(&mut all, &mut missing, &weights, tokens, whole) };
    }
    let mut sums = [[[0; 4]; 2]; TOKENS];
    for token in 0..TOKENS {
        for half in 0..2 {
            let mut lanes = [zero; 4];
            for lane in 0..4 {
                let place = 4 * half + lane;
                lanes[lane] = all[token][place];
                if !T::SIGNED {
                    lanes[lane] = vaddq_s32(lanes[lane], vshlq_n_s32::<7>(missing[place]));
                }
            }
            sums[token][half] = store(fold4(lanes));
        }
    }
    bytemuck::must_cast(sums)
}

#[inline]
#[target_feature(enable = "neon")]
fn tiles<T: Operand>(tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
    let zero = vdupq_n_s32(0);
    let (mut even, mut odd) = ([[zero; 2]; TOKENS], [[zero; 2]; TOKENS]);
    // Inputs 0, 2, 0, 2, 1, 3, 1, 3 of four, as the weights lie: bytes at the upper end of 16 bits.
    let z = 0xff;
    let places: [u8; BYTES] = [z, 0, z, 2, z, 0, z, 2, z, 1, z, 3, z, 1, z, 3];
    // SAFETY: it has 16 bytes.
    let places = unsafe { vld1q_u8(places.as_ptr()) };
    for (quad, at) in (0..tokens[0].len()).step_by(4).enumerate() {
        let mut x = [vdupq_n_s16(0); TOKENS];
        for token in 0..TOKENS {
            let spread = vqtbl1q_s8(padded(tokens[token], at), places);
            x[token] = if T::SIGNED {
                vshrq_n_s16::<8>(vreinterpretq_s16_s8(spread))
            } else {
                vreinterpretq_s16_u16(vshrq_n_u16::<8>(vreinterpretq_u16_s8(spread)))
            };
        }
        for tile in 0..2 {
            let packed = vreinterpretq_s16_s8(padded(tiles[tile], BYTES * quad));
            // A halfword is `256 * odd + even`.
            let low = vshrq_n_s16::<8>(vshlq_n_s16::<8>(packed));
            let high = vshrq_n_s16::<8>(vaddq_s16(packed, vdupq_n_s16(0x80)));
            for token in 0..TOKENS {
                let (x, x_low) = (x[token], vget_low_s16(x[token]));
                let sum = vmlal_s16(even[token][tile], vget_low_s16(low), x_low);
                even[token][tile] = vmlal_high_s16(sum, low, x);
                let sum = vmlal_s16(odd[token][tile], vget_low_s16(high), x_low);
                odd[token][tile] = vmlal_high_s16(sum, high, x);
            }
        }
    }
    let sums = |token: usize, tile: usize| {
        let [a, c, b, d] = store(vpaddq_s32(even[token][tile], odd[token][tile]));
        [a, b, c, d]
    };
    bytemuck::must_cast([[sums(0, 0), sums(0, 1)], [sums(1, 0), sums(1, 1)]])
}
