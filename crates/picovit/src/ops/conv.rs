//! Convolution with fused activation and max-pooling, streamed row by row: the convolution's own map
//! never exists, only one row of it.

mod winograd;
mod winograd4;
mod winograd4_tiles;

use super::{Layer, Table, Value, pools, slides};
use crate::engine::{Probe, Site, Tap};
use crate::format::{ConvRecord, Packing, TOKENS, WINOGRAD4_OUTPUTS, WINOGRAD4_TILE_OUTPUTS};
use crate::kernels::{self, Block, Int8, PatchPairs, PixelRow, Window};
use crate::model::Constants;
use crate::rows::{pairs_mut, rows_mut};
use crate::scratch::Scratch;

/// Whether the build has Winograd's F(2x2, 3x3): chips have what is made for them.
const WINOGRAD2: bool = Packing::ALL_TAKEN || cfg!(all(dsp, not(mve)));

/// Whether it has F(4x4, 3x3).
const WINOGRAD4: bool = Packing::ALL_TAKEN || cfg!(mve);

/// Whether it has F(4x4, 3x3) of many tiles at a time, which is for hosts.
const WINOGRAD4_TILES: bool = Packing::ALL_TAKEN;

/// Whether it may have [`PatchPairs`].
const PATCH_PAIRS: bool = cfg!(mve);

/// See [`ConvRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    pub(crate) record: &'a ConvRecord,
    zero_in: &'a [i8],
    /// Without weights where they are transformed.
    layer: Layer<'a>,
    /// Transformed weights, or none.
    winograd: &'a [i16],
    table: Option<Table<'a>>,
}

/// Whether the build has code for a record of this kind.
pub(super) fn is_supported(record: &[u8]) -> bool {
    let Ok(r) = bytemuck::try_from_bytes::<ConvRecord>(record) else { return true };
    let form = match r.winograd {
        1 => WINOGRAD2,
        2 => WINOGRAD4,
        3 => WINOGRAD4_TILES,
        // None, or none that there is.
        _ => true,
    };
    form && (r.in_channels2 == 0 || cfg!(feature = "mobilevit"))
}

impl<'a> Conv<'a> {
    pub(crate) fn decode(r: &'a ConvRecord, constants: &Constants<'a>) -> Self {
        let sizes = [r.in_height, r.in_width, r.in_channels, r.out_channels];
        let borders = [r.pool_padding, r.pool_padding_after];
        let pool = pools(r.pool_kernel, r.pool_stride, borders);
        let plain = r.padding_bytes == [0; 13] && r.head.reserved == 0;
        let second = r.in_channels2 > 0 || r.input2 == 0;
        let clamp = r.table == 0 || r.low == i8::MIN;
        let window = slides(r.kernel, r.stride, r.padding);
        constants
            .ensure(plain && second && clamp && window && pool && sizes.iter().all(|&s| s > 0));
        let ((height, width), (out_height, out_width)) = (r.map_size(), r.out_size());
        constants.ensure(height > 0 && width > 0 && out_height > 0 && out_width > 0);
        let channels = r.out_channels as usize;
        let kernel = r.kernel as usize;
        let in_channels = r.all_channels();
        let (layer, winograd) = if r.winograd == 0 {
            // More than 32 bits have, as a record may claim, is more than any file has.
            let extents = (channels, (kernel * kernel).saturating_mul(in_channels));
            (Layer::decode(constants, [r.weights, r.bias, r.mult], extents), &[][..])
        } else if r.winograd == 1 && WINOGRAD2 {
            winograd::decode(r, constants)
        } else if r.winograd == 2 && WINOGRAD4 {
            winograd4::decode(r, WINOGRAD4_OUTPUTS, constants)
        } else if r.winograd == 3 && WINOGRAD4_TILES {
            winograd4::decode(r, WINOGRAD4_TILE_OUTPUTS, constants)
        } else {
            constants.ensure(false);
            Default::default()
        };
        Self {
            record: r,
            zero_in: constants.slice(r.zero_in, in_channels),
            layer,
            winograd,
            table: Table::decode(r.table, constants),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a ConvRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::Map {
            height: self.record.in_height as usize,
            width: self.record.in_width as usize,
            channels: self.record.in_channels as usize,
        }
    }

    /// Order of the weights.
    pub(crate) fn packing(&self) -> Packing {
        self.layer.weights.packing
    }

    /// The second input, if there is one.
    pub(crate) fn second(&self) -> Option<Value> {
        let r = self.record;
        (r.in_channels2 > 0).then_some(Value::Map {
            height: r.in_height as usize,
            width: r.in_width as usize,
            channels: r.in_channels2 as usize,
        })
    }

    pub(crate) fn output(&self) -> Value {
        let (height, width) = self.record.out_size();
        Value::Map { height, width, channels: self.record.out_channels as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(
        &self,
        input: &[i8],
        second: &[i8],
        output: &mut [i8],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        if r.winograd != 0 {
            // The other kinds were refused.
            if WINOGRAD4_TILES && r.winograd == 3 {
                self.run_winograd4_tiles([input, second], output, scratch, tap);
            } else if WINOGRAD2 && (r.winograd == 1 || !WINOGRAD4) {
                self.run_winograd([input, second], output, scratch, tap);
            } else if WINOGRAD4 {
                self.run_winograd4([input, second], output, scratch, tap);
            }
            return tap.i8(Site::Output, 0, 0, output);
        }
        let channels = r.out_channels as usize;
        let (map_height, map_width) = r.map_size();
        let (_, out_width) = r.out_size();
        let patch_len = r.kernel as usize * r.kernel as usize * r.all_channels();
        let patch: &mut [i8] = scratch.take(patch_len);
        let block = self.packing().row_block_bytes(patch_len, map_width);
        let block: &mut [u8] = scratch.take(block);
        let out_row = out_width * channels;
        let patches = self.patch_pairs(input);
        let source = (input, second, patches.as_ref());
        if r.pool_kernel == 0 {
            for (y, out) in rows_mut(output, out_row).enumerate() {
                self.map_row(y, source, (patch, block), out, tap);
            }
        } else {
            let row: &mut [i8] = scratch.take(map_width * channels);
            // No value of the map is below `low`, so it is neutral for the maximum.
            output.fill(r.low);
            for y in 0..map_height {
                self.map_row(y, source, (patch, block), row, tap);
                self.pool_row(y, row, output);
            }
        }
        tap.i8(Site::Output, 0, 0, output);
    }

    /// The convolution's window.
    fn window(&self) -> Window {
        Window {
            kernel: self.record.kernel as usize,
            stride: self.record.stride as usize,
            padding: self.record.padding as usize,
        }
    }

    /// Patches that need not be copied one by one.
    #[inline(always)]
    fn patch_pairs<'m>(&self, input: &'m [i8]) -> Option<PatchPairs<'m>> {
        let r = self.record;
        let extent = (r.in_height as usize, r.in_width as usize, r.in_channels as usize);
        // Whole steps are copied as fast.
        let fits = r.in_channels2 == 0 && !extent.2.is_multiple_of(self.packing().step());
        let window = self.window();
        fits.then(|| PatchPairs::new(self.packing(), input, extent, window, self.zero_in))?
    }

    /// The pooling window.
    fn pool(&self) -> Window {
        Window {
            kernel: self.record.pool_kernel as usize,
            stride: self.record.pool_stride as usize,
            padding: self.record.pool_padding as usize,
        }
    }

    /// Takes row `y` of the convolution's map into the rows of the output that it is pooled to. Apart, as
    /// its registers would be on the stack of products.
    #[inline(never)]
    fn pool_row(&self, y: usize, row: &[i8], output: &mut [i8]) {
        let channels = self.record.out_channels as usize;
        let (out_height, out_width) = self.record.out_size();
        let (pool, out_row) = (self.pool(), out_width * channels);
        for step in pool.covering(y, out_height) {
            let out = output.get_mut(step * out_row..(step + 1) * out_row);
            kernels::max_into_row(row, channels, pool, out.unwrap_or_default());
        }
    }

    /// Row `y` of the convolution's map, behind its activation.
    fn map_row<P: Probe>(
        &self,
        y: usize,
        (input, second, patches): (&[i8], &[i8], Option<&PatchPairs<'_>>),
        (patch, block): (&mut [i8], &mut [u8]),
        row: &mut [i8],
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let window = self.window();
        let (height, width) = (r.in_height as usize, r.in_width as usize);
        let channels = [r.in_channels as usize, r.in_channels2 as usize];
        let form = Int8 { low: r.low, ..Int8::around(r.zero_out as i32) };
        let mut block = Block::new(self.packing(), patch.len(), block);
        let steps = channels[1] == 0 && channels[0].is_multiple_of(self.packing().step());
        let mut put = |block: &mut Block<'_>, token: usize, x: usize| {
            let corner = (y * window.stride, x * window.stride);
            let extent = (height, width, channels[0]);
            if steps {
                let place = (block, token);
                kernels::patch_into_block(input, extent, window, corner, self.zero_in, place);
                return;
            }
            // Only MobileViT joins maps.
            if channels[1] == 0 || !cfg!(feature = "mobilevit") {
                kernels::copy_patch(input, extent, window, corner, self.zero_in, patch);
            } else {
                let extent = (height, width, channels);
                kernels::copy_patch_pair(
                    [input, second],
                    extent,
                    window,
                    corner,
                    self.zero_in,
                    patch,
                );
            }
            block.set(token, patch);
        };
        if let Some(patches) = patches.filter(|_| PATCH_PAIRS) {
            self.gather_row(patches, y, form, row, &mut block);
        } else if self.packing().by_rows() {
            let map_width = r.map_size().1;
            if steps {
                let extent = (height, width, channels[0]);
                let source = PixelRow { map: input, extent, window, y, zero: self.zero_in };
                self.layer.convolve_row(source, form, &mut block, row);
            } else {
                (0..map_width).for_each(|x| put(&mut block, x, x));
                self.layer.int8_rows(&mut block, form, row);
            }
        } else {
            let pixels = pairs_mut(row, r.out_channels as usize);
            for (pair, pixels) in pixels.enumerate() {
                for token in 0..TOKENS {
                    put(&mut block, token, pair * TOKENS + token);
                }
                self.layer.int8(&block, form, pixels);
            }
        }
        self.activate((y, 0), row, tap);
    }

    /// The activation of pixels of the convolution's map, side by side from a place on.
    #[inline(always)]
    fn activate<P: Probe>(&self, (y, x): (usize, usize), pixels: &mut [i8], tap: &mut Tap<'_, P>) {
        if let Some(table) = self.table {
            tap.i8(Site::Hidden, y * self.record.map_size().1 + x, 0, pixels);
            table.apply(pixels);
        }
    }

    /// Row `y` of the convolution's map, of patches that need not be copied one by one.
    fn gather_row(
        &self,
        patches: &PatchPairs<'_>,
        y: usize,
        form: Int8,
        row: &mut [i8],
        block: &mut Block<'_>,
    ) {
        let pixels = pairs_mut(row, self.record.out_channels as usize);
        for (pair, pixels) in pixels.enumerate() {
            patches.write((y, pair * TOKENS), block);
            self.layer.int8(block, form, pixels);
        }
    }
}
