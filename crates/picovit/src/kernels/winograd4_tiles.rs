//! Convolutions by Winograd's F(4x4, 3x3), many tiles at a time, for hosts. As
//! [`winograd4`](super::winograd4()) but that each weight is read once for all of them.

use super::requant::mulhi_add;
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
use super::winograd::Winograd;
use super::winograd4::{difference, squares};
#[cfg(target_arch = "x86_64")]
use super::x86::{is_avx512, winograd512};
use crate::format::{
    PATCH_CHANNELS, TileRows, WINOGRAD4_POSITIONS, WINOGRAD4_TILE_OUTPUTS, winograd4_tile_place,
};

/// Tiles that share the weights in registers.
const TILES: usize = 4;

/// Sums of [`WINOGRAD4_TILE_OUTPUTS`] outputs.
type Sums = [i32; WINOGRAD4_TILE_OUTPUTS];

/// Transformed patches of some rows of tiles.
#[derive(Debug)]
pub struct TilePatches<'k> {
    /// int16 `[position][inputs / 32][place][32]`, see [`TileRows::patch_values`].
    pub values: &'k mut [i16],
    /// Of these tiles.
    pub tiles: TileRows,
    /// So many inputs of each, a multiple of eight.
    pub inputs: usize,
}

impl TilePatches<'_> {
    /// Transforms a 6x6 patch, `B^T d B`, to the place of a tile: channels `first..` of the inputs. Of
    /// every pixel as many channels are taken, a multiple of eight, as the first one has.
    pub fn set(&mut self, tile: usize, pixels: &[&[i8]; WINOGRAD4_POSITIONS], first: usize) {
        #[cfg(target_arch = "x86_64")]
        if is_avx512() {
            // SAFETY: AVX-512 is current.
            return unsafe { winograd512::set_patch(self, tile, pixels, first) };
        }
        #[cfg(wide)]
        {
            let patch = OnVectors::Patch { patches: &mut *self, tile, pixels, first };
            if dispatch(patch).is_some() {
                return;
            }
        }
        self.transform(tile, pixels, first);
    }

    /// See [`Self::set`].
    #[inline(always)]
    fn transform(&mut self, tile: usize, pixels: &[&[i8]; WINOGRAD4_POSITIONS], first: usize) {
        for at in (0..pixels[0].len()).step_by(LANES) {
            let value = |pixel: &[i8]| {
                let values = pixel.get(at..).and_then(<[i8]>::first_chunk::<LANES>);
                values.map_or([0; LANES], |values| values.map(i16::from))
            };
            let mut rows = [[[0; LANES]; 6]; 6];
            for (row, pixels) in rows.iter_mut().zip(pixels.as_chunks::<6>().0) {
                *row = differences(pixels.map(value));
            }
            let [a, b, c, d, e, f] = rows;
            for x in 0..6 {
                let column = differences([a[x], b[x], c[x], d[x], e[x], f[x]]);
                for (y, values) in column.into_iter().enumerate() {
                    let index = self.tiles.patch_index(self.inputs, 6 * y + x, (first + at, tile));
                    if let Some(out) = self.values.get_mut(index..index + LANES) {
                        out.copy_from_slice(&values);
                    }
                }
            }
        }
    }
}

/// Channels that are transformed at a time.
const LANES: usize = 8;

/// [`difference`] of some channels.
#[inline(always)]
fn differences(columns: [[i16; LANES]; 6]) -> [[i16; LANES]; 6] {
    let mut out = [[0; LANES]; 6];
    for lane in 0..LANES {
        let values = difference(columns.map(|column| column[lane]));
        for (out, value) in out.iter_mut().zip(values) {
            out[lane] = value;
        }
    }
    out
}

/// int8 outputs `[row of pixels][column of pixels][outputs]` of whole tiles; the layer's weights are as
/// [`pack_winograd4_tiles`](crate::format::pack_winograd4_tiles) gives them. `sums` is memory for
/// [`WINOGRAD4_TILE_SUMS`](crate::format::WINOGRAD4_TILE_SUMS).
pub fn winograd4_tiles(
    layer: Winograd<'_>,
    patches: &TilePatches<'_>,
    sums: &mut [i32],
    out: &mut [i8],
) {
    #[cfg(target_arch = "x86_64")]
    if is_avx512() {
        // SAFETY: AVX-512 is current.
        return unsafe { winograd512::compute(layer, patches, sums, out) };
    }
    #[cfg(wide)]
    {
        let tiles = OnVectors::Tiles { layer, patches, sums: &mut *sums, out: &mut *out };
        if dispatch(tiles).is_some() {
            return;
        }
    }
    compute(add_pairs, layer, patches, sums, out);
}

/// The above in portable code that hosts compile for each instruction set.
#[cfg(wide)]
enum OnVectors<'k, 'p> {
    Patch {
        patches: &'k mut TilePatches<'p>,
        tile: usize,
        pixels: &'k [&'k [i8]; WINOGRAD4_POSITIONS],
        first: usize,
    },
    Tiles {
        layer: Winograd<'k>,
        patches: &'k TilePatches<'p>,
        sums: &'k mut [i32],
        out: &'k mut [i8],
    },
}

#[cfg(wide)]
impl Kernel for OnVectors<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self {
            OnVectors::Patch { patches, tile, pixels, first } => {
                patches.transform(tile, pixels, first);
            }
            OnVectors::Tiles { layer, patches, sums, out } => {
                compute(|sums, w, x| simd.add_pairs(sums, w, x), layer, patches, sums, out);
            }
        }
    }
}

/// Adds the products of a pair of inputs of a patch.
#[inline(always)]
pub(super) fn add_pairs(sums: &mut Sums, weights: &[i16; 32], [x0, x1]: [i16; 2]) {
    for (sum, &[w0, w1]) in sums.iter_mut().zip(weights.as_chunks().0) {
        let products = i32::from(w0) * i32::from(x0) + i32::from(w1) * i32::from(x1);
        *sum = sum.wrapping_add(products);
    }
}

/// See [`winograd4_tiles`].
#[inline(always)]
fn compute(
    add: impl Fn(&mut Sums, &[i16; 32], [i16; 2]) + Copy,
    layer: Winograd<'_>,
    patches: &TilePatches<'_>,
    sums: &mut [i32],
    out: &mut [i8],
) {
    let TilePatches { tiles, inputs, .. } = *patches;
    let outputs = layer.bias.len();
    let sums = sums.as_chunks_mut::<WINOGRAD4_TILE_OUTPUTS>().0;
    for group in 0..outputs / WINOGRAD4_TILE_OUTPUTS {
        for first in (0..tiles.count()).step_by(TILES) {
            for (position, sums) in sums.as_chunks_mut::<TILES>().0.iter_mut().enumerate() {
                if position < WINOGRAD4_POSITIONS {
                    let place = winograd4_tile_place(inputs, group, position);
                    let weights = layer.weights.get(place..).unwrap_or_default();
                    *sums = products(add, weights, patches, (position, first));
                }
            }
            for (lane, tile) in (first..tiles.count().min(first + TILES)).enumerate() {
                let (top, left) = (4 * (tile / tiles.columns), 4 * (tile % tiles.columns));
                for i in 0..WINOGRAD4_TILE_OUTPUTS {
                    let output = group * WINOGRAD4_TILE_OUTPUTS + i;
                    let constant = |values: &[i32]| values.get(output).copied().unwrap_or(0);
                    let (bias, mult) = (constant(layer.bias), constant(layer.mult));
                    let positions = core::array::from_fn(|position| {
                        sums.get(position * TILES + lane).map_or(0, |sums| sums[i])
                    });
                    for (pixel, sum) in squares(positions).into_iter().enumerate() {
                        let value = mulhi_add(layer.zero, sum.wrapping_add(bias), mult);
                        let row = (top + pixel / 4) * 4 * tiles.columns;
                        let place = (row + left + pixel % 4) * outputs + output;
                        if let Some(out) = out.get_mut(place) {
                            *out = value.clamp(-128, 127) as i8;
                        }
                    }
                }
            }
        }
    }
}

/// Sums of a position over all inputs, for [`TILES`] tiles from `first` on.
#[inline(always)]
fn products(
    add: impl Fn(&mut Sums, &[i16; 32], [i16; 2]) + Copy,
    weights: &[i16],
    TilePatches { values, tiles, inputs }: &TilePatches<'_>,
    (position, first): (usize, usize),
) -> [Sums; TILES] {
    let mut sums = [[0; WINOGRAD4_TILE_OUTPUTS]; TILES];
    let mut weights = weights.as_chunks::<32>().0;
    for channel in (0..*inputs).step_by(PATCH_CHANNELS) {
        let index = tiles.patch_index(*inputs, position, (channel, first));
        let patches = values.get(index..).and_then(<[i16]>::first_chunk);
        let Some(patches): Option<&[i16; TILES * PATCH_CHANNELS]> = patches else { break };
        let pairs = PATCH_CHANNELS.min(inputs - channel) / 2;
        let Some((now, rest)) = weights.split_at_checked(pairs) else { break };
        for (pair, weights) in now.iter().enumerate() {
            for (tile, sums) in sums.iter_mut().enumerate() {
                let place = tile * PATCH_CHANNELS + 2 * pair;
                if let Some(&[x0, x1]) = patches.get(place..place + 2) {
                    add(sums, weights, [x0, x1]);
                }
            }
        }
        weights = rest;
    }
    sums
}
