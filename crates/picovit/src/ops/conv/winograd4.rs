//! 3x3 convolutions by Winograd's F(4x4, 3x3), a tile of 4x4 outputs at a time.

use super::Conv;
use super::winograd::decode_weights;
use crate::engine::{Probe, Tap};
use crate::format::{
    ConvRecord, WINOGRAD4_INPUTS, WINOGRAD4_POSITIONS, WINOGRAD4_SUMS, winograd4_patch,
    winograd4_weights,
};
use crate::kernels;
use crate::model::Constants;
use crate::ops::Layer;
use crate::rows::rows_mut;
use crate::scratch::Scratch;

/// Edge of a tile of outputs.
pub(super) const TILE: usize = 4;

/// Edge of the patch that they come from.
pub(super) const PATCH: usize = 6;

/// Bias and multipliers of a record, and its transformed weights, of which those of so many outputs lie
/// together.
pub(super) fn decode<'a>(
    r: &ConvRecord,
    together: usize,
    constants: &Constants<'a>,
) -> (Layer<'a>, &'a [i16]) {
    let (inputs, outputs) = (r.all_channels(), r.out_channels as usize);
    let whole = [r.in_channels, r.in_channels2]
        .iter()
        .all(|&channels| (channels as usize).is_multiple_of(WINOGRAD4_INPUTS))
        && outputs.is_multiple_of(together);
    decode_weights(r, whole, winograd4_weights(outputs, inputs), constants)
}

impl Conv<'_> {
    #[inline(never)]
    pub(super) fn run_winograd4<P: Probe>(
        &self,
        maps: [&[i8]; 2],
        output: &mut [i8],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let inputs = r.all_channels();
        let channels = r.out_channels as usize;
        let patch: &mut [i16] = scratch.take(winograd4_patch(inputs));
        let sums: &mut [i32] = scratch.take(WINOGRAD4_SUMS);
        let pixels: &mut [i8] = scratch.take(TILE * TILE * channels);
        let layer = self.winograd_layer();
        let (height, width) = r.map_size();
        if r.pool_kernel != 0 {
            output.fill(r.low);
        }
        for y in (0..height).step_by(TILE) {
            for x in (0..width).step_by(TILE) {
                self.patch4(maps, (y, x), sums, patch);
                kernels::winograd4(layer, patch, sums, pixels);
                let columns = TILE.min(width - x);
                for (y, row) in (y..height).zip(rows_mut(pixels, TILE * channels)) {
                    let row = row.get_mut(..columns * channels).unwrap_or_default();
                    self.put_row((y, x), row, output, tap);
                }
            }
        }
    }

    /// Takes pixels of a row of the convolution's map, behind its activation, into the output.
    fn put_row<P: Probe>(
        &self,
        (y, x): (usize, usize),
        pixels: &mut [i8],
        output: &mut [i8],
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        self.activate((y, x), pixels, tap);
        let channels = r.out_channels as usize;
        let (out_height, out_width) = r.out_size();
        if r.pool_kernel == 0 {
            let start = (y * out_width + x) * channels;
            let out = output.get_mut(start..start + pixels.len());
            return kernels::copy(pixels, out.unwrap_or_default());
        }
        let pool = self.pool();
        let end = x + pixels.len() / channels.max(1);
        let steps = pool.covering(x, out_width).start..pool.covering(end - 1, out_width).end;
        for row in pool.covering(y, out_height) {
            let start = (row * out_width + steps.start) * channels;
            let out = output.get_mut(start..start + steps.len() * channels).unwrap_or_default();
            for (step, out) in steps.clone().zip(rows_mut(out, channels)) {
                let first = step * pool.stride;
                let from = first.saturating_sub(pool.padding).max(x);
                // `clamp` checks its limits, and panics.
                let to = (first + pool.kernel).saturating_sub(pool.padding).min(end).max(from);
                let pixels = pixels.get((from - x) * channels..(to - x) * channels);
                kernels::max_into_pixel(pixels.unwrap_or_default(), out);
            }
        }
    }

    /// Transforms the patch that the 4x4 outputs at `corner` come from.
    #[inline(never)]
    fn patch4(
        &self,
        maps: [&[i8]; 2],
        corner: (usize, usize),
        spare: &mut [i32],
        patch: &mut [i16],
    ) {
        let inputs = self.record.all_channels();
        self.each_patch::<PATCH, _>(
            maps,
            corner,
            |pixels: &[&[i8]; WINOGRAD4_POSITIONS], first| {
                kernels::winograd4_patch(pixels, (inputs, first), spare, patch);
            },
        );
    }
}
