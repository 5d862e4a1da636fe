//! 3x3 convolutions by Winograd's F(2x2, 3x3), two tiles of 2x2 outputs at a time.

use core::array;

use super::Conv;
use crate::engine::{Probe, Site, Tap};
use crate::format::{
    ConvRecord, TOKENS, WINOGRAD_INPUTS, WINOGRAD_OUTPUTS, WINOGRAD_POSITIONS, WINOGRAD_SUMS,
    winograd_patches, winograd_weights,
};
use crate::kernels::{self, Winograd};
use crate::model::Constants;
use crate::ops::Layer;
use crate::rows::rows_mut;
use crate::scratch::Scratch;

/// Edge of a tile of outputs.
const TILE: usize = 2;

/// Bias and multipliers of a record, and its transformed weights.
pub(super) fn decode<'a>(r: &ConvRecord, constants: &Constants<'a>) -> (Layer<'a>, &'a [i16]) {
    let (inputs, outputs) = (r.all_channels(), r.out_channels as usize);
    let whole = [r.in_channels, r.in_channels2].iter().all(|channels| channels.is_multiple_of(4))
        && inputs.is_multiple_of(WINOGRAD_INPUTS)
        && outputs.is_multiple_of(WINOGRAD_OUTPUTS);
    let window = r.kernel == 3 && r.stride == 1 && r.low == i8::MIN;
    constants.ensure(whole && window);
    let layer = Layer {
        bias: constants.slice(r.bias, outputs),
        mult: constants.slice(r.mult, outputs),
        ..Default::default()
    };
    let weights = constants.slice(r.weights, winograd_weights(outputs, inputs));
    (layer, weights)
}

impl Conv<'_> {
    #[inline(never)]
    pub(super) fn run_winograd<P: Probe>(
        &self,
        maps: [&[i8]; 2],
        output: &mut [i8],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let inputs = r.all_channels();
        let channels = r.out_channels as usize;
        let patches: &mut [i16] = scratch.take(winograd_patches(inputs));
        let sums: &mut [i32] = scratch.take(WINOGRAD_SUMS);
        let pixels: &mut [i8] = scratch.take(TILE * TILE * TOKENS * channels);
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
            for x in (0..width).step_by(TILE * TOKENS) {
                for token in 0..TOKENS {
                    self.patch(maps, (y, x + token * TILE), (inputs, token), patches);
                }
                kernels::winograd(layer, patches, sums, pixels);
                for (place, pixel) in rows_mut(pixels, channels).enumerate() {
                    let (token, place) = (place / (TILE * TILE), place % (TILE * TILE));
                    let (y, x) = (y + place / TILE, x + token * TILE + place % TILE);
                    if y < height && x < width {
                        self.put((y, x), pixel, output, tap);
                    }
                }
            }
        }
    }

    /// Transforms the patch that the 2x2 outputs at `(y, x)` come from.
    fn patch(
        &self,
        maps: [&[i8]; 2],
        (y, x): (usize, usize),
        (inputs, token): (usize, usize),
        patches: &mut [i16],
    ) {
        let r = self.record;
        let padding = r.padding as usize;
        let (height, width) = (r.in_height as usize, r.in_width as usize);
        let mut first = 0;
        for (map, channels) in maps.into_iter().zip([r.in_channels, r.in_channels2]) {
            let channels = channels as usize;
            let zero = self.zero_in.get(first..first + channels).unwrap_or_default();
            let pixels: [&[i8]; WINOGRAD_POSITIONS] = array::from_fn(|place| {
                let y = (y + place / 4).checked_sub(padding).filter(|&y| y < height);
                let x = (x + place % 4).checked_sub(padding).filter(|&x| x < width);
                let start = y.zip(x).map_or(usize::MAX, |(y, x)| (y * width + x) * channels);
                map.get(start..start.saturating_add(channels)).unwrap_or(zero)
            });
            kernels::winograd_patch(pixels, (inputs, first, token), patches);
            first += channels;
            // Only MobileViT joins maps.
            if first >= inputs || !cfg!(feature = "mobilevit") {
                break;
            }
        }
    }

    /// Takes a pixel of the convolution's map, behind its activation, into the output.
    fn put<P: Probe>(
        &self,
        (y, x): (usize, usize),
        pixel: &mut [i8],
        output: &mut [i8],
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        if let Some(table) = self.table {
            tap.i8(Site::Hidden, y * r.map_size().1 + x, 0, pixel);
            table.apply(pixel);
        }
        let channels = r.out_channels as usize;
        let (out_height, out_width) = r.out_size();
        let place = |y: usize, x: usize| {
            let start = (y * out_width + x) * channels;
            start..start + channels
        };
        if r.pool_kernel == 0 {
            return kernels::copy(pixel, output.get_mut(place(y, x)).unwrap_or_default());
        }
        let pool = self.pool();
        for y in pool.covering(y, out_height) {
            for x in pool.covering(x, out_width) {
                kernels::max_into(pixel, output.get_mut(place(y, x)).unwrap_or_default());
            }
        }
    }
}
