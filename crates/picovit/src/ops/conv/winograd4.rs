//! 3x3 convolutions by Winograd's F(4x4, 3x3), a tile of 4x4 outputs at a time.

use core::array;

use super::Conv;
use crate::engine::{Probe, Site, Tap};
use crate::format::{
    ConvRecord, WINOGRAD4_INPUTS, WINOGRAD4_OUTPUTS, WINOGRAD4_POSITIONS, WINOGRAD4_SUMS,
    winograd4_patch, winograd4_weights,
};
use crate::kernels::{self, Winograd};
use crate::model::Constants;
use crate::ops::Layer;
use crate::rows::rows_mut;
use crate::scratch::Scratch;

/// Edge of a tile of outputs.
const TILE: usize = 4;

/// Edge of the patch that they come from.
const PATCH: usize = 6;

/// Bias and multipliers of a record, and its transformed weights.
pub(super) fn decode<'a>(r: &ConvRecord, constants: &Constants<'a>) -> (Layer<'a>, &'a [i16]) {
    let (inputs, outputs) = (r.all_channels(), r.out_channels as usize);
    let whole = [r.in_channels, r.in_channels2]
        .iter()
        .all(|&channels| (channels as usize).is_multiple_of(WINOGRAD4_INPUTS))
        && outputs.is_multiple_of(WINOGRAD4_OUTPUTS);
    let window = r.kernel == 3 && r.stride == 1 && r.low == i8::MIN;
    constants.ensure(whole && window);
    let layer = Layer {
        bias: constants.slice(r.bias, outputs),
        mult: constants.slice(r.mult, outputs),
        ..Default::default()
    };
    (layer, constants.slice(r.weights, winograd4_weights(outputs, inputs)))
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
        let layer = Winograd {
            weights: self.winograd,
            bias: self.layer.bias,
            mult: self.layer.mult,
            zero: r.zero_out.into(),
        };
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
        if let Some(table) = self.table {
            tap.i8(Site::Hidden, y * r.map_size().1 + x, 0, pixels);
            table.apply(pixels);
        }
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

    /// Transforms the patch that the 4x4 outputs at `(y, x)` come from.
    #[inline(never)]
    fn patch4(
        &self,
        maps: [&[i8]; 2],
        (y, x): (usize, usize),
        spare: &mut [i32],
        patch: &mut [i16],
    ) {
        let r = self.record;
        let inputs = r.all_channels();
        let padding = r.padding as usize;
        let (height, width) = (r.in_height as usize, r.in_width as usize);
        let mut first = 0;
        for (map, channels) in maps.into_iter().zip([r.in_channels, r.in_channels2]) {
            let channels = channels as usize;
            let zero = self.zero_in.get(first..first + channels).unwrap_or_default();
            let pixels: [&[i8]; WINOGRAD4_POSITIONS] = array::from_fn(|place| {
                let y = (y + place / PATCH).checked_sub(padding).filter(|&y| y < height);
                let x = (x + place % PATCH).checked_sub(padding).filter(|&x| x < width);
                let start = y.zip(x).map_or(usize::MAX, |(y, x)| (y * width + x) * channels);
                map.get(start..start.saturating_add(channels)).unwrap_or(zero)
            });
            kernels::winograd4_patch(&pixels, (inputs, first), spare, patch);
            first += channels;
            // Only MobileViT joins maps.
            if first >= inputs || !cfg!(feature = "mobilevit") {
                break;
            }
        }
    }
}
