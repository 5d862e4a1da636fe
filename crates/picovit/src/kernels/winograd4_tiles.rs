//! Convolutions by Winograd's F(4x4, 3x3), many tiles at a time, for hosts. As
//! [`winograd4`](super::winograd4()) but that each weight is read once for all of them.

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::requant::mulhi_add;
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
use super::winograd::Winograd;
#[cfg(target_arch = "x86_64")]
use super::x86::{is_avx512, winograd512};
use crate::format::{
    PATCH_CHANNELS, TileRows, WINOGRAD4_NINTH, WINOGRAD4_POSITIONS, WINOGRAD4_SHIFTS,
    WINOGRAD4_TILE_OUTPUTS, winograd4_tile_place,
};

/// Tiles that share the weights in registers.
pub(super) const TILES: usize = 4;

/// Sums of [`WINOGRAD4_TILE_OUTPUTS`] outputs, for each of them.
pub(super) type TileSums = [[i32; WINOGRAD4_TILE_OUTPUTS]; TILES];

/// Some inputs of their patches at a position.
pub(super) type TilePairs = [i16; TILES * PATCH_CHANNELS];

/// Channels that are transformed at a time, and outputs.
const LANES: usize = 8;

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
    /// every pixel as many channels are taken as the first one has; that and `first` are multiples of
    /// eight.
    pub fn set(&mut self, tile: usize, pixels: &[&[i8]; WINOGRAD4_POSITIONS], first: usize) {
        #[cfg(target_arch = "x86_64")]
        if is_avx512() {
            // SAFETY: AVX-512 is current.
            return unsafe { winograd512::set_patch(self, tile, pixels, first) };
        }
        #[cfg(target_arch = "aarch64")]
        if neon::is_current() {
            // SAFETY: NEON is current.
            return unsafe { neon::set_patch(self, tile, pixels, first) };
        }
        #[cfg(all(wide, not(target_arch = "aarch64")))]
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
                *row = difference(pixels.map(value));
            }
            let [a, b, c, d, e, f] = rows;
            for x in 0..6 {
                let column = difference([a[x], b[x], c[x], d[x], e[x], f[x]]);
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

/// An operation lane by lane. Of few lanes at a time and so plain, as compilers only then use vectors.
#[inline(always)]
fn each<T: Copy>(mut a: [T; LANES], b: [T; LANES], op: impl Fn(T, T) -> T) -> [T; LANES] {
    for lane in 0..LANES {
        a[lane] = op(a[lane], b[lane]);
    }
    a
}

/// `B^T` times a column of six, as [`winograd4`](super::winograd4()) has it, of some channels.
#[inline(always)]
fn difference([a, b, c, d, e, f]: [[i16; LANES]; 6]) -> [[i16; LANES]; 6] {
    let add = |a, b| each(a, b, i16::wrapping_add);
    let sub = |a, b| each(a, b, i16::wrapping_sub);
    let four = |a: [i16; LANES]| each(a, a, |a, _| a << 2);
    let (g, h) = (sub(e, four(c)), sub(d, four(b)));
    let (i, j) = (sub(e, c), sub(d, b));
    let j = add(j, j);
    let first = add(sub(four(a), add(four(c), c)), e);
    let last = add(sub(four(b), add(four(d), d)), f);
    [first, add(g, h), sub(g, h), add(i, j), sub(i, j), last]
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
    compute(Portable, layer, patches, sums, out);
}

/// The above in portable code that hosts compile for each instruction set.
#[cfg(wide)]
enum OnVectors<'k, 'p> {
    #[cfg(not(target_arch = "aarch64"))]
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
            #[cfg(not(target_arch = "aarch64"))]
            OnVectors::Patch { patches, tile, pixels, first } => {
                patches.transform(tile, pixels, first);
            }
            OnVectors::Tiles { layer, patches, sums, out } => {
                compute(simd, layer, patches, sums, out);
            }
        }
    }
}

/// What differs from one instruction set to the other.
trait Steps: Copy {
    /// Adds the products of up to sixteen pairs of inputs of some patches, a multiple of four.
    fn add_pairs(self, sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums;

    /// The sixteen pixels of a tile, of some outputs, of the sums at each position.
    fn squares(self, constants: Constants, sums: impl Fn(usize) -> [i32; LANES]) -> Squares;
}

/// Pixels of a tile, of some outputs.
pub(super) type Squares = [[i8; LANES]; 16];

/// Of some outputs.
#[derive(Clone, Copy)]
pub(super) struct Constants {
    pub(super) bias: [i32; LANES],
    pub(super) mult: [i32; LANES],
    pub(super) zero: i32,
}

/// Portable code.
#[derive(Clone, Copy)]
struct Portable;

impl Steps for Portable {
    #[inline(always)]
    fn add_pairs(self, sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums {
        add_pairs(sums, weights, patches)
    }

    #[inline(always)]
    fn squares(self, constants: Constants, sums: impl Fn(usize) -> [i32; LANES]) -> Squares {
        squares(constants, sums, |zero, sums, mult| {
            let mut out = [0; LANES];
            for ((out, sum), mult) in out.iter_mut().zip(sums).zip(mult) {
                *out = mulhi_add(zero, sum, mult).clamp(-128, 127) as i8;
            }
            out
        })
    }
}

#[cfg(wide)]
impl<S: Simd> Steps for S {
    #[inline(always)]
    fn add_pairs(self, sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums {
        Simd::add_pairs(self, sums, weights, patches)
    }

    #[inline(always)]
    fn squares(self, constants: Constants, sums: impl Fn(usize) -> [i32; LANES]) -> Squares {
        Simd::squares(self, constants, sums)
    }
}

/// See [`Steps::add_pairs`].
#[inline(always)]
pub(super) fn add_pairs(
    mut sums: TileSums,
    weights: &[[i16; 32]],
    patches: &TilePairs,
) -> TileSums {
    for (sums, patch) in sums.iter_mut().zip(patches.as_chunks::<PATCH_CHANNELS>().0) {
        for (weights, [x0, x1]) in weights.iter().zip(patch.as_chunks().0) {
            for (sum, [w0, w1]) in sums.iter_mut().zip(weights.as_chunks().0) {
                let products = i32::from(*w0) * i32::from(*x0);
                let products = products.wrapping_add(i32::from(*w1) * i32::from(*x1));
                *sum = sum.wrapping_add(products);
            }
        }
    }
    sums
}

/// See [`winograd4_tiles`].
#[inline(always)]
fn compute(
    steps: impl Steps,
    layer: Winograd<'_>,
    patches: &TilePatches<'_>,
    sums: &mut [i32],
    out: &mut [i8],
) {
    let TilePatches { tiles, inputs, .. } = *patches;
    let outputs = layer.bias.len();
    let (sums, _) = sums.as_chunks_mut::<WINOGRAD4_TILE_OUTPUTS>();
    for group in 0..outputs / WINOGRAD4_TILE_OUTPUTS {
        for first in (0..tiles.count()).step_by(TILES) {
            let places = sums.as_chunks_mut::<TILES>().0.iter_mut().take(WINOGRAD4_POSITIONS);
            for (position, sums) in places.enumerate() {
                let place = winograd4_tile_place(inputs, group, position);
                let weights = layer.weights.get(place..).unwrap_or_default();
                *sums = products(steps, weights, patches, (position, first));
            }
            for (lane, tile) in (first..tiles.count().min(first + TILES)).enumerate() {
                let row = tile.checked_div(tiles.columns).unwrap_or(0);
                let corner = 4 * (row * 4 * tiles.columns + tile - row * tiles.columns);
                for half in 0..WINOGRAD4_TILE_OUTPUTS / LANES {
                    let output = group * WINOGRAD4_TILE_OUTPUTS + half * LANES;
                    let constant = |values: &[i32]| {
                        let values = values.get(output..).and_then(<[i32]>::first_chunk);
                        values.copied().unwrap_or_default()
                    };
                    let (bias, mult) = (constant(layer.bias), constant(layer.mult));
                    let constants = Constants { bias, mult, zero: layer.zero };
                    let pixels = steps.squares(constants, |position| {
                        let sums = sums.get(position * TILES + lane);
                        let sums = sums.and_then(|sums| sums.as_chunks().0.get(half));
                        sums.copied().unwrap_or_default()
                    });
                    for (pixel, values) in pixels.into_iter().enumerate() {
                        let place = corner + pixel / 4 * 4 * tiles.columns + pixel % 4;
                        let place = place * outputs + output;
                        if let Some(out) = out.get_mut(place..place + LANES) {
                            out.copy_from_slice(&values);
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
    steps: impl Steps,
    weights: &[i16],
    TilePatches { values, tiles, inputs }: &TilePatches<'_>,
    (position, first): (usize, usize),
) -> TileSums {
    let mut sums = [[0; WINOGRAD4_TILE_OUTPUTS]; TILES];
    let mut weights = weights.as_chunks().0;
    for channel in (0..*inputs).step_by(PATCH_CHANNELS) {
        let index = tiles.patch_index(*inputs, position, (channel, first));
        let Some(patches) = values.get(index..).and_then(<[i16]>::first_chunk) else { break };
        let pairs = PATCH_CHANNELS.min(inputs - channel) / 2;
        let Some((now, rest)) = weights.split_at_checked(pairs) else { break };
        sums = steps.add_pairs(sums, now, patches);
        weights = rest;
    }
    sums
}

/// See [`Steps::squares`]; `outputs` gives int8 outputs of sums, `zero + mulhi(sum, mult)`.
#[inline(always)]
pub(super) fn squares(
    Constants { bias, mult, zero }: Constants,
    sums: impl Fn(usize) -> [i32; LANES],
    outputs: impl Fn(i32, [i32; LANES], [i32; LANES]) -> [i8; LANES],
) -> Squares {
    let mut columns = [[[0; LANES]; 6]; 4];
    for x in 0..6 {
        // No `map`: that is not always inlined.
        let [a, b, c] = [sums(x), sums(6 + x), sums(12 + x)];
        let column = [a, b, c, sums(18 + x), sums(24 + x), sums(30 + x)];
        for (row, values) in columns.iter_mut().zip(shrink(column)) {
            row[x] = values;
        }
    }
    let mut out = [[0; LANES]; 16];
    for ((row, by), out) in columns.into_iter().zip(WINOGRAD4_SHIFTS).zip(out.as_chunks_mut().0) {
        let pixels: &mut [_; 4] = out;
        for ((out, values), and) in pixels.iter_mut().zip(shrink(row)).zip(WINOGRAD4_SHIFTS) {
            let sums = each(values, bias, |value, bias| {
                (value.wrapping_mul(WINOGRAD4_NINTH) >> (by + and)).wrapping_add(bias)
            });
            *out = outputs(zero, sums, mult);
        }
    }
    out
}

/// `A^T` times a column of six, as [`winograd4`](super::winograd4()) has it, of some outputs.
#[inline(always)]
fn shrink([a, b, c, d, e, f]: [[i32; LANES]; 6]) -> [[i32; LANES]; 4] {
    let add = |a, b| each(a, b, i32::wrapping_add);
    let sub = |a, b| each(a, b, i32::wrapping_sub);
    let six = |a: [i32; LANES]| each(a, a, |a, _| a.wrapping_mul(6));
    let ((s, p), (t, q)) = ((add(b, c), sub(b, c)), (add(d, e), sub(d, e)));
    [
        sub(add(t, six(a)), each(s, s, |s, _| s << 2)),
        sub(q, add(p, p)),
        sub(t, s),
        sub(add(six(f), add(q, q)), p),
    ]
}
