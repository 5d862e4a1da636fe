//! 3x3 convolutions by Winograd's F(2x2, 3x3), two tiles of 2x2 outputs at a time, and what other tiles
//! share with them.

use core::array;

use super::Conv;
use crate::engine::{Probe, Tap};
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

/// Edge of the patch that they come from.
const PATCH: usize = 4;

/// Bias and multipliers of a record, and its transformed weights.
pub(super) fn decode<'a>(r: &ConvRecord, constants: &Constants<'a>) -> (Layer<'a>, &'a [i16]) {
    let (inputs, outputs) = (r.all_channels(), r.out_channels as usize);
    let whole = [r.in_channels, r.in_channels2].iter().all(|channels| channels.is_multiple_of(4))
        && inputs.is_multiple_of(WINOGRAD_INPUTS)
        && outputs.is_multiple_of(WINOGRAD_OUTPUTS);
    decode_weights(r, whole, winograd_weights(outputs, inputs), constants)
}

/// The same for numbers of channels that fit, or not, and so many weights.
pub(super) fn decode_weights<'a>(
    r: &ConvRecord,
    fits: bool,
    weights: usize,
    constants: &Constants<'a>,
) -> (Layer<'a>, &'a [i16]) {
    constants.ensure(fits && r.kernel == 3 && r.stride == 1 && r.low == i8::MIN);
    let outputs = r.out_channels as usize;
    let layer = Layer {
        bias: constants.slice(r.bias, outputs),
        mult: constants.slice(r.mult, outputs),
        ..Default::default()
    };
    (layer, constants.slice(r.weights, weights))
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
        let layer = self.winograd_layer();
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

    /// What the kernels need beside patches.
    #[inline(always)]
    pub(super) fn winograd_layer(&self) -> Winograd<'_> {
        Winograd {
            weights: self.winograd,
            bias: self.layer.bias,
            mult: self.layer.mult,
            zero: self.record.zero_out.into(),
        }
    }

    /// Transforms the patch that the 2x2 outputs at `corner` come from.
    fn patch(
        &self,
        maps: [&[i8]; 2],
        corner: (usize, usize),
        (inputs, token): (usize, usize),
        patches: &mut [i16],
    ) {
        self.each_patch::<PATCH, _>(maps, corner, |pixels: &[&[i8]; WINOGRAD_POSITIONS], first| {
            kernels::winograd_patch(*pixels, (inputs, first, token), patches);
        });
    }

    /// Calls a function with the pixels of the patch at `corner`, of which `EDGE` lie side by side, and
    /// their first channel: once for each map.
    #[inline(always)]
    pub(super) fn each_patch<const EDGE: usize, const PIXELS: usize>(
        &self,
        maps: [&[i8]; 2],
        (y, x): (usize, usize),
        mut each: impl FnMut(&[&[i8]; PIXELS], usize),
    ) {
        let r = self.record;
        let padding = r.padding as usize;
        let (height, width) = (r.in_height as usize, r.in_width as usize);
        let mut first = 0;
        for (map, channels) in maps.into_iter().zip([r.in_channels, r.in_channels2]) {
            let channels = channels as usize;
            let zero = self.zero_in.get(first..first + channels).unwrap_or_default();
            let pixels = array::from_fn(|place| {
                let y = (y + place / EDGE).checked_sub(padding).filter(|&y| y < height);
                let x = (x + place % EDGE).checked_sub(padding).filter(|&x| x < width);
                let start = y.zip(x).map_or(usize::MAX, |(y, x)| (y * width + x) * channels);
                map.get(start..start.saturating_add(channels)).unwrap_or(zero)
            });
            each(&pixels, first);
            first += channels;
            // Only MobileViT joins maps.
            if first >= r.all_channels() || !cfg!(feature = "mobilevit") {
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
        self.activate((y, x), pixel, tap);
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
