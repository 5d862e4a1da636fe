//! Convolutions by Winograd's F(2x2, 3x3): four outputs from sixteen products instead of 36.
//!
//! Patches of 4x4 pixels are transformed, the products of each position summed over all input
//! channels, and the sums transformed into 2x2 outputs. All of it in whole numbers, see
//! [`pack_winograd`](crate::format::pack_winograd): the outputs are those of the convolution, bit by
//! bit.

#[cfg(not(dsp))]
use super::requant::mulhi_add;
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
#[cfg(not(all(dsp, not(mve))))]
use crate::format::TOKENS;
use crate::format::WINOGRAD_POSITIONS;
#[cfg(not(all(dsp, not(mve))))]
use crate::format::winograd_input;
#[cfg(not(dsp))]
use crate::format::{WINOGRAD_OUTPUTS, winograd_place};

/// Transforms a 4x4 patch, `B^T d B`: channels `first..` of the `inputs` of a token. Of every pixel
/// as many channels are taken, a multiple of four, as the first one has.
///
/// `patches` are int16 `[position][inputs / 2][token][2]`.
pub fn winograd_patch(
    pixels: [&[i8]; WINOGRAD_POSITIONS],
    (inputs, first, token): (usize, usize, usize),
    patches: &mut [i16],
) {
    #[cfg(all(dsp, not(mve)))]
    return super::cortex_m::winograd_patch(pixels, (inputs, first, token), patches);
    #[cfg(not(all(dsp, not(mve))))]
    for channel in 0..pixels[0].len() {
        let value = |pixel: &[i8]| i16::from(pixel.get(channel).copied().unwrap_or(0));
        let [p, q, r, s] = *pixels.as_chunks::<4>().0 else { return };
        let [a, b, c, d] = [p, q, r, s].map(|row| difference(row.map(value)));
        let input = winograd_input(first + channel);
        let place = input / 2 * 2 * TOKENS + 2 * token + input % 2;
        for (x, (((a, b), c), d)) in a.into_iter().zip(b).zip(c).zip(d).enumerate() {
            for (y, value) in difference([a, b, c, d]).into_iter().enumerate() {
                if let Some(out) = patches.get_mut((4 * y + x) * TOKENS * inputs + place) {
                    *out = value;
                }
            }
        }
    }
}

/// `B^T` times a column of four.
#[cfg(not(all(dsp, not(mve))))]
const fn difference([a, b, c, d]: [i16; 4]) -> [i16; 4] {
    [a - c, b + c, c - b, b - d]
}

/// What a convolution needs beside patches: weights in the order of the function that takes them, bias
/// and multiplier of each output, the zero point.
#[derive(Clone, Copy, Debug)]
pub struct Winograd<'a> {
    /// int16 values, by the function that takes them:
    ///
    /// | function | order | from |
    /// |---|---|---|
    /// | [`winograd`](winograd()) | `[outputs / 4][position][inputs / 2][4][2]` of 16 positions, inputs as `pack_winograd` puts them | [`pack_winograd`](crate::format::pack_winograd) |
    /// | [`winograd4`](super::winograd4()) | `[outputs / 8][36][inputs / 8][8][8]` | [`pack_winograd4`](crate::format::pack_winograd4) |
    /// | [`winograd4_tiles`](super::winograd4_tiles()) | `[outputs / 16][36][inputs / 2][16][2]` | [`pack_winograd4_tiles`](crate::format::pack_winograd4_tiles) |
    pub weights: &'a [i16],
    /// Biases.
    pub bias: &'a [i32],
    /// Multipliers.
    pub mult: &'a [i32],
    /// Zero point of the outputs.
    pub zero: i32,
}

/// int8 outputs `[token][2x2 pixels][outputs]` of two patches. `sums` is memory for
/// [`WINOGRAD_SUMS`](crate::format::WINOGRAD_SUMS).
pub fn winograd(layer: Winograd<'_>, patches: &[i16], sums: &mut [i32], out: &mut [i8]) {
    // Whatever a model's validation lets through fits there.
    #[cfg(dsp)]
    super::cortex_m::winograd(layer, patches, sums, out);
    #[cfg(wide)]
    if dispatch(OnVectors { layer, patches, out: &mut *out }).is_some() {
        return;
    }
    #[cfg(not(dsp))]
    {
        let _ = sums;
        compute(layer, patches, out);
    }
}

/// [`winograd`] in portable code that hosts compile for each instruction set.
#[cfg(wide)]
struct OnVectors<'k> {
    layer: Winograd<'k>,
    patches: &'k [i16],
    out: &'k mut [i8],
}

#[cfg(wide)]
impl Kernel for OnVectors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        compute(self.layer, self.patches, self.out);
    }
}

/// See [`winograd`].
#[cfg(not(dsp))]
#[inline(always)]
fn compute(layer: Winograd<'_>, patches: &[i16], out: &mut [i8]) {
    let outputs = layer.bias.len();
    let inputs = patches.len() / (WINOGRAD_POSITIONS * TOKENS);
    for group in 0..outputs / WINOGRAD_OUTPUTS {
        let mut sums = [[[0; WINOGRAD_POSITIONS]; TOKENS]; WINOGRAD_OUTPUTS];
        for position in 0..WINOGRAD_POSITIONS {
            let weights = layer.weights.get(winograd_place(inputs, group, position)..);
            let patch = patches.get(position * TOKENS * inputs..).unwrap_or_default();
            let products = products(weights.unwrap_or_default(), patch, inputs);
            for (sums, products) in sums.iter_mut().zip(products) {
                for (sums, product) in sums.iter_mut().zip(products) {
                    if let Some(sum) = sums.get_mut(position) {
                        *sum = product;
                    }
                }
            }
        }
        for (lane, sums) in sums.into_iter().enumerate() {
            let output = group * WINOGRAD_OUTPUTS + lane;
            let constant = |values: &[i32]| values.get(output).copied().unwrap_or(0);
            let (bias, mult) = (constant(layer.bias), constant(layer.mult));
            for (token, sums) in sums.into_iter().enumerate() {
                for (pixel, sum) in squares(sums, bias).into_iter().enumerate() {
                    let value = mulhi_add(layer.zero, sum, mult).clamp(-128, 127) as i8;
                    if let Some(out) = out.get_mut((4 * token + pixel) * outputs + output) {
                        *out = value;
                    }
                }
            }
        }
    }
}

/// Sums of a position over all inputs.
#[cfg(not(dsp))]
#[inline(always)]
fn products(weights: &[i16], patch: &[i16], inputs: usize) -> [[i32; TOKENS]; WINOGRAD_OUTPUTS] {
    let mut sums = [[0i32; TOKENS]; WINOGRAD_OUTPUTS];
    let pairs = weights.as_chunks::<8>().0.iter().zip(patch.as_chunks::<4>().0);
    for (weights, patch) in pairs.take(inputs / 2) {
        for (sums, weights) in sums.iter_mut().zip(weights.as_chunks::<2>().0) {
            let [w0, w1] = weights.map(i32::from);
            for (sum, inputs) in sums.iter_mut().zip(patch.as_chunks::<2>().0) {
                let [x0, x1] = inputs.map(i32::from);
                *sum = sum.wrapping_add(w0.wrapping_mul(x0).wrapping_add(w1.wrapping_mul(x1)));
            }
        }
    }
    sums
}

/// The four sums of a convolution, `(A^T m A) / 4 + bias`.
#[cfg(not(dsp))]
#[inline(always)]
fn squares(sums: [i32; WINOGRAD_POSITIONS], bias: i32) -> [i32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = sums;
    // This one is part of each, with the same sign.
    let f = f.wrapping_add(bias.wrapping_shl(2));
    let [a, b, c, d] = [[a, e, i, m], [b, f, j, n], [c, g, k, o], [d, h, l, p]].map(shrink);
    let [upper, lower] = [[a[0], b[0], c[0], d[0]], [a[1], b[1], c[1], d[1]]].map(shrink);
    [upper[0] >> 2, upper[1] >> 2, lower[0] >> 2, lower[1] >> 2]
}

/// `A^T` times a column of four.
#[cfg(not(dsp))]
#[inline(always)]
const fn shrink([a, b, c, d]: [i32; 4]) -> [i32; 2] {
    [a.wrapping_add(b).wrapping_add(c), b.wrapping_sub(c).wrapping_sub(d)]
}
