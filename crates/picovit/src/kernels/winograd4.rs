//! Convolutions by Winograd's F(4x4, 3x3): sixteen outputs from 36 products instead of 144.
//!
//! As [`winograd`](super::winograd()), in whole numbers: sums wrap, and come back, see
//! [`pack_winograd4`](crate::format::pack_winograd4).

#[cfg(not(mve))]
use super::requant::mulhi_add;
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
use super::winograd::Winograd;
use crate::format::WINOGRAD4_POSITIONS;
#[cfg(not(mve))]
use crate::format::{WINOGRAD4_NINTH, WINOGRAD4_OUTPUTS, WINOGRAD4_SHIFTS, winograd4_place};

/// Transforms a 6x6 patch, `B^T d B`: channels `first..` of the `inputs` that there are. Of every pixel
/// as many channels are taken, a multiple of eight, as the first one has.
///
/// `patch` is int16 `[position][inputs]`; `spare` is memory for
/// [`WINOGRAD4_SUMS`](crate::format::WINOGRAD4_SUMS).
pub fn winograd4_patch(
    pixels: &[&[i8]; WINOGRAD4_POSITIONS],
    (inputs, first): (usize, usize),
    spare: &mut [i32],
    patch: &mut [i16],
) {
    #[cfg(mve)]
    super::helium::winograd4_patch(pixels, (inputs, first), spare, patch);
    #[cfg(not(mve))]
    {
        let _ = spare;
        transform(pixels, (inputs, first), patch);
    }
}

/// See [`winograd4_patch`].
#[cfg(not(mve))]
fn transform(
    pixels: &[&[i8]; WINOGRAD4_POSITIONS],
    (inputs, first): (usize, usize),
    patch: &mut [i16],
) {
    for channel in 0..pixels[0].len() {
        let value = |pixel: &[i8]| i16::from(pixel.get(channel).copied().unwrap_or(0));
        let [p, q, r, s, t, u] = *pixels.as_chunks::<6>().0 else { return };
        let [a, b, c, d, e, f] = [p, q, r, s, t, u].map(|row| difference(row.map(value)));
        for x in 0..6 {
            for (y, value) in
                difference([a[x], b[x], c[x], d[x], e[x], f[x]]).into_iter().enumerate()
            {
                if let Some(out) = patch.get_mut((6 * y + x) * inputs + first + channel) {
                    *out = value;
                }
            }
        }
    }
}

/// `B^T` times a column of six: at most ten times as large, 100 times after both.
#[cfg(not(mve))]
#[inline(always)]
const fn difference([a, b, c, d, e, f]: [i16; 6]) -> [i16; 6] {
    let (g, h) = (e - 4 * c, d - 4 * b);
    let (i, j) = (e - c, 2 * (d - b));
    [4 * a - 5 * c + e, g + h, g - h, i + j, i - j, 4 * b - 5 * d + f]
}

/// int8 outputs `[4x4 pixels][outputs]` of a patch; the layer's weights are as
/// [`pack_winograd4`](crate::format::pack_winograd4) gives them. `sums` is memory for
/// [`WINOGRAD4_SUMS`](crate::format::WINOGRAD4_SUMS).
pub fn winograd4(layer: Winograd<'_>, patch: &[i16], sums: &mut [i32], out: &mut [i8]) {
    #[cfg(mve)]
    super::helium::winograd4(layer, patch, sums, out);
    #[cfg(wide)]
    if dispatch(OnVectors { layer, patch, out: &mut *out }).is_some() {
        return;
    }
    #[cfg(not(mve))]
    {
        let _ = sums;
        compute(layer, patch, out);
    }
}

/// [`winograd4`] in portable code that hosts compile for each instruction set.
#[cfg(wide)]
struct OnVectors<'k> {
    layer: Winograd<'k>,
    patch: &'k [i16],
    out: &'k mut [i8],
}

#[cfg(wide)]
impl Kernel for OnVectors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        compute(self.layer, self.patch, self.out);
    }
}

/// See [`winograd4`].
#[cfg(not(mve))]
#[inline(always)]
fn compute(layer: Winograd<'_>, patch: &[i16], out: &mut [i8]) {
    let outputs = layer.bias.len();
    let inputs = patch.len() / WINOGRAD4_POSITIONS;
    for group in 0..outputs / WINOGRAD4_OUTPUTS {
        let mut sums = [[0; WINOGRAD4_POSITIONS]; WINOGRAD4_OUTPUTS];
        for position in 0..WINOGRAD4_POSITIONS {
            let weights = layer.weights.get(winograd4_place(inputs, group, position)..);
            let values = patch.get(position * inputs..(position + 1) * inputs).unwrap_or_default();
            for (sums, product) in
                sums.iter_mut().zip(products(weights.unwrap_or_default(), values))
            {
                if let Some(sum) = sums.get_mut(position) {
                    *sum = product;
                }
            }
        }
        for (lane, sums) in sums.into_iter().enumerate() {
            let output = group * WINOGRAD4_OUTPUTS + lane;
            let constant = |values: &[i32]| values.get(output).copied().unwrap_or(0);
            let (bias, mult) = (constant(layer.bias), constant(layer.mult));
            for (pixel, sum) in squares(sums).into_iter().enumerate() {
                let value = mulhi_add(layer.zero, sum.wrapping_add(bias), mult).clamp(-128, 127);
                if let Some(out) = out.get_mut(pixel * outputs + output) {
                    *out = value as i8;
                }
            }
        }
    }
}

/// Sums of a position over all inputs.
#[cfg(not(mve))]
#[inline(always)]
fn products(weights: &[i16], values: &[i16]) -> [i32; WINOGRAD4_OUTPUTS] {
    let mut sums = [0i32; WINOGRAD4_OUTPUTS];
    let steps = weights.as_chunks::<64>().0.iter().zip(values.as_chunks::<8>().0);
    for (weights, values) in steps {
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<8>().0) {
            let products = weights.iter().zip(values).map(|(&w, &x)| i32::from(w) * i32::from(x));
            *sum = products.fold(*sum, i32::wrapping_add);
        }
    }
    sums
}

/// The sixteen sums of a convolution.
#[cfg(not(mve))]
#[inline(always)]
fn squares(sums: [i32; WINOGRAD4_POSITIONS]) -> [i32; 16] {
    let mut columns = [[0; 6]; 4];
    for x in 0..6 {
        let column = core::array::from_fn(|y| sums.get(6 * y + x).copied().unwrap_or(0));
        for (row, value) in columns.iter_mut().zip(shrink(column)) {
            row[x] = value;
        }
    }
    let mut out = [0; 16];
    for ((row, by), out) in columns.into_iter().zip(WINOGRAD4_SHIFTS).zip(out.as_chunks_mut().0) {
        let values: &mut [i32; 4] = out;
        for ((out, value), and) in values.iter_mut().zip(shrink(row)).zip(WINOGRAD4_SHIFTS) {
            *out = value.wrapping_mul(WINOGRAD4_NINTH) >> (by + and);
        }
    }
    out
}

/// `A^T` times a column of six: 24, 12, 6 and 6 times the outputs.
#[cfg(not(mve))]
#[inline(always)]
const fn shrink([a, b, c, d, e, f]: [i32; 6]) -> [i32; 4] {
    let (s, p) = (b.wrapping_add(c), b.wrapping_sub(c));
    let (t, q) = (d.wrapping_add(e), d.wrapping_sub(e));
    let twice = q.wrapping_add(q);
    [
        t.wrapping_add(a.wrapping_mul(6)).wrapping_sub(s.wrapping_mul(4)),
        q.wrapping_sub(p.wrapping_add(p)),
        t.wrapping_sub(s),
        f.wrapping_mul(6).wrapping_add(twice).wrapping_sub(p),
    ]
}
