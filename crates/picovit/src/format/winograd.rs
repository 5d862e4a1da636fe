//! Weights of convolutions by Winograd's F(2x2, 3x3).
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. Their matrix `G`
//! is taken twice, on either side, so that all numbers are whole: sums are four times those of the
//! convolution, exactly.

use super::TOKENS;
use crate::rows::rows;

/// Products of a tile, one for each value of a transformed 4x4 patch.
pub const WINOGRAD_POSITIONS: usize = 16;

/// Outputs that lie together.
pub const WINOGRAD_OUTPUTS: usize = 4;

/// What the number of inputs is a multiple of.
pub const WINOGRAD_INPUTS: usize = 16;

/// Sums of two patches and [`WINOGRAD_OUTPUTS`] outputs.
pub const WINOGRAD_SUMS: usize = WINOGRAD_POSITIONS * WINOGRAD_OUTPUTS * TOKENS;

/// Where a channel's value is among the inputs of a position: the first and third of a quad lie
/// together, as do the others, as one instruction gives them.
#[must_use]
#[inline]
pub(crate) const fn winograd_input(channel: usize) -> usize {
    channel / 4 * 4 + channel % 2 * 2 + channel % 4 / 2
}

/// Index of the first of [`WINOGRAD_OUTPUTS`] outputs' pairs of weights:
/// `[outputs / 4][position][inputs / 2][4][2]`.
pub(crate) const fn winograd_place(inputs: usize, group: usize, position: usize) -> usize {
    (group * WINOGRAD_POSITIONS + position) * inputs * WINOGRAD_OUTPUTS
}

/// int16 values of the weights of a convolution; saturates.
#[must_use]
pub const fn winograd_weights(outputs: usize, inputs: usize) -> usize {
    outputs.saturating_mul(inputs).saturating_mul(WINOGRAD_POSITIONS)
}

/// int16 values of [`TOKENS`] transformed patches; saturates.
#[must_use]
pub const fn winograd_patches(inputs: usize) -> usize {
    inputs.saturating_mul(WINOGRAD_POSITIONS * TOKENS)
}

/// Transforms weights `[outputs][3][3][inputs]`, `2 G g (2 G)^T`. Both numbers of channels are
/// multiples of [`WINOGRAD_OUTPUTS`] and [`WINOGRAD_INPUTS`].
///
/// `packed` has [`winograd_weights`]; values that find no place in it are left out.
pub fn pack_winograd(weights: &[i8], inputs: usize, packed: &mut [i16]) {
    for (output, kernel) in rows(weights, 9 * inputs).enumerate() {
        let (group, lane) = (output / WINOGRAD_OUTPUTS, output % WINOGRAD_OUTPUTS);
        for channel in 0..inputs {
            let tap = |place: usize| i16::from(*kernel.get(place * inputs + channel).unwrap_or(&0));
            let columns = [0, 1, 2].map(|x| expand([tap(x), tap(3 + x), tap(6 + x)]));
            let [a, b, c] = columns;
            let input = winograd_input(channel);
            for (y, ((a, b), c)) in a.into_iter().zip(b).zip(c).enumerate() {
                for (x, value) in expand([a, b, c]).into_iter().enumerate() {
                    let place = winograd_place(inputs, group, 4 * y + x);
                    let place = place + input / 2 * 2 * WINOGRAD_OUTPUTS + 2 * lane + input % 2;
                    if let Some(weight) = packed.get_mut(place) {
                        *weight = value;
                    }
                }
            }
        }
    }
}

/// `2 G` times a column of three.
const fn expand([a, b, c]: [i16; 3]) -> [i16; 4] {
    [2 * a, a + b + c, a - b + c, 2 * c]
}
