//! Weights of convolutions by Winograd's F(4x4, 3x3).
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. The rows of their
//! matrix `G` are taken 4, -6, -6, 24, 24 and 1 times, so that all numbers are whole, and those of `A^T`
//! to match: sums are 576, 288, 144, 72 or 36 times those of the convolution, exactly, modulo 2^32.
//! Division by 9 is the multiplication by its inverse, what is left are shifts.

use crate::rows::rows;

/// Products of a tile, one for each value of a transformed 6x6 patch.
pub const WINOGRAD4_POSITIONS: usize = 36;

/// Outputs that lie together.
pub const WINOGRAD4_OUTPUTS: usize = 8;

/// What the numbers of inputs are multiples of.
pub const WINOGRAD4_INPUTS: usize = 8;

/// Sums of a patch and [`WINOGRAD4_OUTPUTS`] outputs.
pub const WINOGRAD4_SUMS: usize = WINOGRAD4_POSITIONS * WINOGRAD4_OUTPUTS;

/// The inverse of 9 modulo 2^32.
pub const WINOGRAD4_NINTH: i32 = 0x38e3_8e39;

/// By what powers of two the sums of a row or column of outputs are too large.
pub const WINOGRAD4_SHIFTS: [u32; 4] = [3, 2, 1, 1];

/// Sums that come out whole: so many bits are left of 32 for the sign and the sum.
pub const WINOGRAD4_SUM_BITS: u32 = 26;

/// Index of the first weight of a group of [`WINOGRAD4_OUTPUTS`] outputs at a position:
/// `[outputs / 8][position][inputs / 8][8][8]`.
#[cfg(not(mve))]
pub(crate) const fn winograd4_place(inputs: usize, group: usize, position: usize) -> usize {
    (group * WINOGRAD4_POSITIONS + position) * inputs * WINOGRAD4_OUTPUTS
}

/// int16 values of the weights of a convolution; saturates.
#[must_use]
pub const fn winograd4_weights(outputs: usize, inputs: usize) -> usize {
    outputs.saturating_mul(inputs).saturating_mul(WINOGRAD4_POSITIONS)
}

/// int16 values of a transformed patch, `[position][inputs]`; saturates.
#[must_use]
pub const fn winograd4_patch(inputs: usize) -> usize {
    inputs.saturating_mul(WINOGRAD4_POSITIONS)
}

/// Transforms weights `[outputs][3][3][inputs]`. Both numbers of channels are multiples of
/// [`WINOGRAD4_OUTPUTS`] and [`WINOGRAD4_INPUTS`].
///
/// `packed` has [`winograd4_weights`]; values that find no place in it are left out.
pub fn pack_winograd4(weights: &[i8], inputs: usize, packed: &mut [i16]) {
    pack::<WINOGRAD4_OUTPUTS, WINOGRAD4_INPUTS>(weights, inputs, packed);
}

/// Transforms weights to `[outputs / LANES][position][inputs / BESIDE][LANES][BESIDE]`.
pub(super) fn pack<const LANES: usize, const BESIDE: usize>(
    weights: &[i8],
    inputs: usize,
    packed: &mut [i16],
) {
    for (output, kernel) in rows(weights, 9 * inputs).enumerate() {
        let (group, lane) = (output / LANES, output % LANES);
        for channel in 0..inputs {
            for (position, value) in expand_kernel(kernel, inputs, channel).into_iter().enumerate()
            {
                let place = (group * WINOGRAD4_POSITIONS + position) * inputs * LANES;
                let step = channel / BESIDE * LANES + lane;
                let place = place + step * BESIDE + channel % BESIDE;
                if let Some(weight) = packed.get_mut(place) {
                    *weight = value;
                }
            }
        }
    }
}

/// `G w G^T` of a channel of a kernel `[3][3][inputs]`, at each position.
fn expand_kernel(kernel: &[i8], inputs: usize, channel: usize) -> [i16; WINOGRAD4_POSITIONS] {
    let tap = |place: usize| i16::from(*kernel.get(place * inputs + channel).unwrap_or(&0));
    let [a, b, c] = [0, 1, 2].map(|x| expand([tap(x), tap(3 + x), tap(6 + x)]));
    let mut positions = [0; WINOGRAD4_POSITIONS];
    let rows = a.into_iter().zip(b).zip(c).zip(positions.as_chunks_mut().0);
    for (((a, b), c), row) in rows {
        *row = expand([a, b, c]);
    }
    positions
}

/// `G` times a column of three, its rows taken as above: at most seven times as large.
const fn expand([a, b, c]: [i16; 3]) -> [i16; 6] {
    [a, a + b + c, a - b + c, a + 2 * b + 4 * c, a - 2 * b + 4 * c, c]
}
