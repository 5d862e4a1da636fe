//! Products of Winograd's F(4x4, 3x3), of many tiles at a time: those of 16 bits with one value for all
//! lanes, as four outputs share a register.

use core::arch::aarch64::*;

use super::super::wide::{LANES, Lanes};
use super::super::winograd4_tiles::{Constants, Squares, TILES, TilePairs, TilePatches, TileSums};
use super::{narrow8, registers, requant, store};
use crate::format::{PATCH_CHANNELS, WINOGRAD4_NINTH, WINOGRAD4_POSITIONS, WINOGRAD4_SHIFTS};

/// Pairs of inputs that a register of a patch has.
const PAIRS: usize = 4;

/// Sums of sixteen outputs, for each tile.
type Sums = [[int32x4_t; 4]; TILES];

/// Weights of a pair of inputs.
type Weights = [i16; 32];

/// [`TilePatches::set`].
#[inline(never)]
#[target_feature(enable = "neon")]
pub(in super::super) fn set_patch(
    patches: &mut TilePatches<'_>,
    tile: usize,
    pixels: &[&[i8]; WINOGRAD4_POSITIONS],
    first: usize,
) {
    let TilePatches { tiles, inputs, .. } = *patches;
    // From one position to the next.
    let step = tiles.patch_index(inputs, 1, (0, 0));
    for at in (0..pixels[0].len()).step_by(LANES) {
        let start = tiles.patch_index(inputs, 0, (first + at, tile));
        let mut rows = [[vdupq_n_s16(0); 6]; 6];
        for (row, pixels) in rows.iter_mut().zip(pixels.as_chunks::<6>().0) {
            for (value, pixel) in row.iter_mut().zip(pixels) {
                if let Some(bytes) = pixel.get(at..at + LANES) {
                    // SAFETY: there are eight bytes.
                    *value = vmovl_s8(unsafe { vld1_s8(bytes.as_ptr()) });
                }
            }
            *row = difference(*row);
        }
        let [a, b, c, d, e, f] = rows;
        for x in 0..6 {
            let column = difference([a[x], b[x], c[x], d[x], e[x], f[x]]);
            for y in 0..6 {
                let index = start + (6 * y + x) * step;
                if let Some(out) = patches.values.get_mut(index..index + LANES) {
                    // SAFETY: there are eight values.
                    unsafe { vst1q_s16(out.as_mut_ptr(), column[y]) };
                }
            }
        }
    }
}

/// `B^T` times a column of six, as [`winograd4`](super::super::winograd4()) has it, of some channels.
#[inline]
#[target_feature(enable = "neon")]
fn difference([a, b, c, d, e, f]: [int16x8_t; 6]) -> [int16x8_t; 6] {
    let [four, five] = [vdupq_n_s16(4), vdupq_n_s16(5)];
    let (g, h) = (vmlsq_s16(e, c, four), vmlsq_s16(d, b, four));
    let (i, j) = (vsubq_s16(e, c), vsubq_s16(d, b));
    let j = vaddq_s16(j, j);
    [
        vmlsq_s16(vmlaq_s16(e, a, four), c, five),
        vaddq_s16(g, h),
        vsubq_s16(g, h),
        vaddq_s16(i, j),
        vsubq_s16(i, j),
        vmlsq_s16(vmlaq_s16(f, b, four), d, five),
    ]
}

/// Adds the products of a pair of inputs: its weights, and values `$first` and `$second` of the registers.
/// A macro, as functions with a target feature cannot be made to be inlined.
macro_rules! add_pair {
    ($sums:ident, $weights:expr, $x:ident, $first:literal, $second:literal) => {
        for half in 0..2 {
            // SAFETY: there are 16 values at either place.
            let weights = unsafe { vld2q_s16($weights.as_ptr().add(16 * half)) };
            let [first, second] = [weights.0, weights.1];
            for tile in 0..TILES {
                let [low, high] = [2 * half, 2 * half + 1];
                let sum = $sums[tile][low];
                let sum = vmlal_laneq_s16::<$first>(sum, vget_low_s16(first), $x[tile]);
                $sums[tile][low] = vmlal_laneq_s16::<$second>(sum, vget_low_s16(second), $x[tile]);
                let sum = vmlal_high_laneq_s16::<$first>($sums[tile][high], first, $x[tile]);
                $sums[tile][high] = vmlal_high_laneq_s16::<$second>(sum, second, $x[tile]);
            }
        }
    };
}

/// [`Simd::add_pairs`](super::super::wide::Simd::add_pairs).
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn add_pairs(sums: TileSums, weights: &[Weights], patches: &TilePairs) -> TileSums {
    // SAFETY: as many bytes of which any are valid.
    let mut sums: Sums = unsafe { core::mem::transmute(sums) };
    let steps = weights.as_chunks::<PAIRS>().0.iter().enumerate();
    for (step, weights) in steps.take(PATCH_CHANNELS / (2 * PAIRS)) {
        let mut x = [vdupq_n_s16(0); TILES];
        for tile in 0..TILES {
            // SAFETY: there are so many patches of so many values.
            let values = unsafe { patches.as_ptr().add(tile * PATCH_CHANNELS + 2 * PAIRS * step) };
            // SAFETY: as above.
            x[tile] = unsafe { vld1q_s16(values) };
        }
        add_pair!(sums, weights[0], x, 0, 1);
        add_pair!(sums, weights[1], x, 2, 3);
        add_pair!(sums, weights[2], x, 4, 5);
        add_pair!(sums, weights[3], x, 6, 7);
    }
    // SAFETY: as above.
    unsafe { core::mem::transmute(sums) }
}

/// Eight sums.
type Pair = [int32x4_t; 2];

/// [`Simd::squares`](super::super::wide::Simd::squares).
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn squares(constants: Constants, sums: impl Fn(usize) -> Lanes) -> Squares {
    let Constants { bias, mult, zero } = constants;
    let mut columns = [[[vdupq_n_s32(0); 2]; 6]; 4];
    for x in 0..6 {
        let [a, b, c] = [registers(sums(x)), registers(sums(6 + x)), registers(sums(12 + x))];
        let [d, e] = [registers(sums(18 + x)), registers(sums(24 + x))];
        let values = shrink([a, b, c, d, e, registers(sums(30 + x))]);
        for y in 0..4 {
            columns[y][x] = values[y];
        }
    }
    let (bias, ninth) = (registers(bias), vdupq_n_s32(WINOGRAD4_NINTH));
    let mut out = [[0; LANES]; 16];
    for y in 0..4 {
        let row = shrink(columns[y]);
        for x in 0..4 {
            let shift = vdupq_n_s32(-((WINOGRAD4_SHIFTS[y] + WINOGRAD4_SHIFTS[x]) as i32));
            let mut halves = [[0; 4]; 2];
            for half in 0..2 {
                let sum = vshlq_s32(vmulq_s32(row[x][half], ninth), shift);
                halves[half] = store(vaddq_s32(sum, bias[half]));
            }
            let sums = bytemuck::must_cast(halves);
            out[4 * y + x] = narrow8(requant([zero; LANES], sums, 0, mult), i8::MIN);
        }
    }
    out
}

/// `A^T` times a column of six, as [`winograd4`](super::super::winograd4()) has it.
#[inline]
#[target_feature(enable = "neon")]
fn shrink([a, b, c, d, e, f]: [Pair; 6]) -> [Pair; 4] {
    let [two, four, six] = [vdupq_n_s32(2), vdupq_n_s32(4), vdupq_n_s32(6)];
    let mut out = [[two; 2]; 4];
    for half in 0..2 {
        let (b, c, d, e) = (b[half], c[half], d[half], e[half]);
        let (s, p) = (vaddq_s32(b, c), vsubq_s32(b, c));
        let (t, q) = (vaddq_s32(d, e), vsubq_s32(d, e));
        out[0][half] = vmlsq_s32(vmlaq_s32(t, a[half], six), s, four);
        out[1][half] = vmlsq_s32(q, p, two);
        out[2][half] = vsubq_s32(t, s);
        out[3][half] = vsubq_s32(vmlaq_s32(vaddq_s32(q, q), f[half], six), p);
    }
    out
}
