//! Convolutions by Winograd's F(4x4, 3x3), many tiles at a time, by AVX-512 with VNNI. Two inputs of a patch
//! are broadcast and multiplied with those of sixteen outputs.

use core::arch::x86_64::*;

use super::super::winograd::Winograd;
use super::super::winograd4_tiles::TilePatches;
use super::lanes512::{Addend, LANES, Mult, constants, mulhi_add};
use crate::format::{
    PATCH_CHANNELS, TileRows, WINOGRAD4_NINTH, WINOGRAD4_POSITIONS, WINOGRAD4_SHIFTS,
    WINOGRAD4_TILE_OUTPUTS, WINOGRAD4_TILE_SUMS, winograd4_tile_place, winograd4_weights,
};

const _: () = assert!(LANES == WINOGRAD4_TILE_OUTPUTS && 2 * LANES == PATCH_CHANNELS);

/// [`TilePatches::set`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn set_patch(
    patches: &mut TilePatches<'_>,
    tile: usize,
    pixels: &[&[i8]; WINOGRAD4_POSITIONS],
    first: usize,
) {
    let TilePatches { ref mut values, tiles, inputs } = *patches;
    let channels = pixels.iter().map(|pixel| pixel.len()).min().unwrap_or(0);
    let end = first.saturating_add(channels);
    if tile >= tiles.places() || end > inputs || values.len() < tiles.patch_values(inputs) {
        return;
    }
    // From a place of one position to that of the next one.
    let step = tiles.patch_index(inputs, 1, (0, 0));
    let mut channel = first;
    while channel < end {
        let count = (PATCH_CHANNELS - channel % PATCH_CHANNELS).min(end - channel);
        // A shift of 32 would be none.
        let mask = u32::MAX >> (PATCH_CHANNELS - count);
        let at = channel - first;
        let mut rows = [[_mm512_setzero_si512(); 6]; 6];
        for x in 0..6 {
            // SAFETY: all pixels have `at + count` values, and no other is touched.
            let pixel = |y: usize| unsafe {
                let values = pixels[6 * y + x].as_ptr().add(at);
                _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, values))
            };
            let column = difference([pixel(0), pixel(1), pixel(2), pixel(3), pixel(4), pixel(5)]);
            for y in 0..6 {
                rows[y][x] = column[y];
            }
        }
        let place = values.as_mut_ptr().wrapping_add(tiles.patch_index(inputs, 0, (channel, tile)));
        for y in 0..6 {
            let row = difference(rows[y]);
            for x in 0..6 {
                // SAFETY: there are values for all places, and the tile has one, of so many channels.
                unsafe { _mm512_mask_storeu_epi16(place.add((6 * y + x) * step), mask, row[x]) };
            }
        }
        channel += count;
    }
}

/// `B^T` times a column of six.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn difference([a, b, c, d, e, f]: [__m512i; 6]) -> [__m512i; 6] {
    let (add, sub) = (_mm512_add_epi16, _mm512_sub_epi16);
    let [a4, b4, c4] = [a, b, c].map(|v| _mm512_slli_epi16::<2>(v));
    let (g, h) = (sub(e, c4), sub(d, b4));
    let (i, j) = (sub(e, c), _mm512_slli_epi16::<1>(sub(d, b)));
    let d5 = add(_mm512_slli_epi16::<2>(d), d);
    [add(sub(a4, add(c4, c)), e), add(g, h), sub(g, h), add(i, j), sub(i, j), add(sub(b4, d5), f)]
}

/// [`winograd4_tiles`](super::super::winograd4_tiles()).
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) fn compute(
    layer: Winograd<'_>,
    patches: &TilePatches<'_>,
    sums: &mut [i32],
    out: &mut [i8],
) {
    let TilePatches { ref values, tiles, inputs } = *patches;
    let outputs = layer.bias.len();
    let fits = values.len() >= tiles.patch_values(inputs)
        && outputs.is_multiple_of(LANES)
        && inputs.is_multiple_of(2)
        && layer.weights.len() >= winograd4_weights(outputs, inputs)
        && out.len() >= tiles.pixel_values(outputs)
        && sums.len() >= WINOGRAD4_TILE_SUMS;
    if !fits {
        return;
    }
    let mut first = 0;
    while first < outputs {
        macro_rules! take {
            ($groups:expr) => {
                // SAFETY: the function's features; all slices have been checked.
                unsafe { outputs_of::<{ $groups }>(layer, patches, first, sums, out) };
                first += $groups * LANES;
            };
        }
        if first + 2 * LANES <= outputs {
            take!(2);
        } else {
            take!(1);
        }
    }
}

/// `G` groups of outputs from `first` on, of all tiles.
///
/// # Safety
/// The slices have the lengths that [`compute`] asks for, and there are such outputs.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn outputs_of<const G: usize>(
    layer: Winograd<'_>,
    patches: &TilePatches<'_>,
    first: usize,
    sums: &mut [i32],
    out: &mut [i8],
) {
    let (tiles, outputs) = (patches.tiles, layer.bias.len());
    let mut tile = 0;
    while tile < tiles.count() {
        macro_rules! take {
            ($tiles:expr) => {
                // SAFETY: the caller's promise; there are so many places, and `sums` has room.
                unsafe {
                    products::<{ $tiles }, G>(layer.weights, patches, (first, tile), sums);
                    for i in 0..tiles.count().saturating_sub(tile).min($tiles) {
                        for group in 0..G {
                            let place = sums.as_ptr().add((i * G + group) * LANES);
                            let output = first + group * LANES;
                            let out = out.as_mut_ptr().add(output);
                            squares(
                                layer,
                                (place, $tiles * G),
                                output,
                                (tiles, tile + i),
                                (out, outputs),
                            );
                        }
                    }
                }
                tile += $tiles;
            };
        }
        if tile + 8 <= tiles.places() {
            take!(8);
        } else {
            take!(4);
        }
    }
}

/// Sums of all positions over all inputs, `[position][M][G][16]`.
///
/// # Safety
/// As [`outputs_of`]; there are `M` places from the tile on, and `sums` has room.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn products<const M: usize, const G: usize>(
    weights: &[i16],
    &TilePatches { ref values, tiles, inputs }: &TilePatches<'_>,
    (first, tile): (usize, usize),
    sums: &mut [i32],
) {
    let group = winograd4_tile_place(inputs, 1, 0);
    for position in 0..WINOGRAD4_POSITIONS {
        let mut acc = [[_mm512_setzero_si512(); G]; M];
        let mut w =
            weights.as_ptr().wrapping_add(winograd4_tile_place(inputs, first / LANES, position));
        for channel in (0..inputs).step_by(PATCH_CHANNELS) {
            let x = tiles.patch_index(inputs, position, (channel, tile));
            let x = values.as_ptr().wrapping_add(x);
            for pair in 0..PATCH_CHANNELS.min(inputs - channel) / 2 {
                // SAFETY: the caller's promise; there are as many pairs.
                unsafe {
                    let mut now = [_mm512_setzero_si512(); G];
                    for g in 0..G {
                        now[g] = _mm512_loadu_si512(w.add(g * group).cast());
                    }
                    for m in 0..M {
                        let two = x.add(m * PATCH_CHANNELS + 2 * pair).cast::<i32>();
                        let two = _mm512_set1_epi32(two.read_unaligned());
                        for g in 0..G {
                            acc[m][g] = _mm512_dpwssd_epi32(acc[m][g], now[g], two);
                        }
                    }
                }
                w = w.wrapping_add(2 * LANES);
            }
        }
        for (i, sum) in acc.as_flattened().iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let place = sums.as_mut_ptr().add((position * M * G + i) * LANES);
                _mm512_storeu_si512(place.cast(), *sum);
            }
        }
    }
}

/// The sixteen pixels of a tile, of sixteen outputs. Sums of a position are `step` registers from those of
/// the next one.
///
/// # Safety
/// All sums, pixels and outputs are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn squares(
    layer: Winograd<'_>,
    (sums, step): (*const i32, usize),
    output: usize,
    (tiles, tile): (TileRows, usize),
    (out, outputs): (*mut i8, usize),
) {
    let mut rows = [[_mm512_setzero_si512(); 6]; 4];
    for x in 0..6 {
        // SAFETY: the caller's promise.
        let sum =
            |y: usize| unsafe { _mm512_loadu_si512(sums.add((6 * y + x) * step * LANES).cast()) };
        let column = shrink([sum(0), sum(1), sum(2), sum(3), sum(4), sum(5)]);
        for y in 0..4 {
            rows[y][x] = column[y];
        }
    }
    let (bias, mult) = (constants(layer.bias, output), Mult::new(constants(layer.mult, output)));
    let (zero, ninth) = (Addend::splat(layer.zero), _mm512_set1_epi32(WINOGRAD4_NINTH));
    let width = 4 * tiles.columns;
    let corner = 4 * (tile / tiles.columns) * width + 4 * (tile % tiles.columns);
    for y in 0..4 {
        let row = shrink(rows[y]);
        for x in 0..4 {
            let by = WINOGRAD4_SHIFTS[y] + WINOGRAD4_SHIFTS[x];
            let whole = _mm512_mullo_epi32(row[x], ninth);
            let whole = _mm512_sra_epi32(whole, _mm_cvtsi32_si128(by as i32));
            let value = mulhi_add(zero, _mm512_add_epi32(whole, bias), mult);
            // SAFETY: the caller's promise.
            unsafe {
                let place = out.add((corner + y * width + x) * outputs);
                _mm_storeu_epi8(place, _mm512_cvtsepi32_epi8(value));
            }
        }
    }
}

/// `A^T` times a column of six: 24, 12, 6 and 6 times the outputs.
#[inline]
#[target_feature(enable = "avx512f")]
fn shrink([a, b, c, d, e, f]: [__m512i; 6]) -> [__m512i; 4] {
    let (add, sub) = (_mm512_add_epi32, _mm512_sub_epi32);
    let six = |v| _mm512_slli_epi32::<1>(add(_mm512_slli_epi32::<1>(v), v));
    let ((s, p), (t, q)) = ((add(b, c), sub(b, c)), (add(d, e), sub(d, e)));
    [
        sub(add(t, six(a)), _mm512_slli_epi32::<2>(s)),
        sub(q, add(p, p)),
        sub(t, s),
        sub(add(six(f), add(q, q)), p),
    ]
}
