//! 3x3 convolutions by Winograd's F(4x4, 3x3), some rows of tiles of 4x4 outputs at a time.

use super::Conv;
use super::winograd::decode_weights;
use crate::engine::{Probe, Site, Tap};
use crate::format::{
    ConvRecord, TileRows, WINOGRAD4_INPUTS, WINOGRAD4_POSITIONS, WINOGRAD4_TILE_OUTPUTS,
    WINOGRAD4_TILE_SUMS, winograd4_weights,
};
use crate::kernels::{self, TilePatches};
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
        && outputs.is_multiple_of(WINOGRAD4_TILE_OUTPUTS);
    decode_weights(r, whole, winograd4_weights(outputs, inputs), constants)
}

impl Conv<'_> {
    #[inline(never)]
    pub(super) fn run_winograd4_tiles<P: Probe>(
        &self,
        maps: [&[i8]; 2],
        output: &mut [i8],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let inputs = r.all_channels();
        let channels = r.out_channels as usize;
        let (height, width) = r.map_size();
        let tiles = TileRows::of((height, width));
        let values: &mut [i16] = scratch.take(tiles.patch_values(inputs));
        let sums: &mut [i32] = scratch.take(WINOGRAD4_TILE_SUMS);
        let pixels: &mut [i8] = scratch.take(tiles.pixel_values(channels));
        let mut patches = TilePatches { values, tiles, inputs };
        let layer = self.winograd_layer();
        if r.pool_kernel != 0 {
            output.fill(r.low);
        }
        for top in (0..height).step_by(TILE * tiles.rows.max(1)) {
            for tile in 0..tiles.count() {
                let corner = (top + TILE * (tile / tiles.columns), TILE * (tile % tiles.columns));
                if corner.0 < height {
                    self.each_patch::<PATCH, _>(
                        maps,
                        corner,
                        |pixels: &[&[i8]; WINOGRAD4_POSITIONS], first| {
                            patches.set(tile, pixels, first);
                        },
                    );
                }
            }
            kernels::winograd4_tiles(layer, &patches, sums, pixels);
            let rows = rows_mut(pixels, TILE * tiles.columns * channels);
            for (y, row) in (top..height).zip(rows) {
                let row = row.get_mut(..width * channels).unwrap_or_default();
                self.put_map_row(y, row, output, tap);
            }
        }
    }

    /// Takes a row of the convolution's map, behind its activation, into the output.
    fn put_map_row<P: Probe>(
        &self,
        y: usize,
        row: &mut [i8],
        output: &mut [i8],
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        if let Some(table) = self.table {
            tap.i8(Site::Hidden, y * r.map_size().1, 0, row);
            table.apply(row);
        }
        let channels = r.out_channels as usize;
        let (out_height, out_width) = r.out_size();
        let out_row = out_width * channels;
        let place = |y: usize| y * out_row..(y + 1) * out_row;
        if r.pool_kernel == 0 {
            return kernels::copy(row, output.get_mut(place(y)).unwrap_or_default());
        }
        let pool = self.pool();
        for step in pool.covering(y, out_height) {
            let out = output.get_mut(place(step)).unwrap_or_default();
            kernels::max_into_row(row, channels, pool, out);
        }
    }
}
