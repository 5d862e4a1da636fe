//! 3x3 convolutions by Winograd's F(4x4, 3x3), some rows of tiles of 4x4 outputs at a time.

use super::Conv;
use super::winograd4::{PATCH, TILE};
use crate::engine::{Probe, Tap};
use crate::format::{TileRows, WINOGRAD4_POSITIONS, WINOGRAD4_TILE_SUMS};
use crate::kernels::{self, TilePatches};
use crate::rows::rows_mut;
use crate::scratch::Scratch;

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
            for (row, y) in (top..height).step_by(TILE).take(tiles.rows).enumerate() {
                for (column, x) in (0..width).step_by(TILE).enumerate() {
                    let tile = row * tiles.columns + column;
                    let set = |pixels: &[&[i8]; WINOGRAD4_POSITIONS], first| {
                        patches.set(tile, pixels, first);
                    };
                    self.each_patch::<PATCH, _>(maps, (y, x), set);
                }
            }
            kernels::winograd4_tiles(layer, &patches, sums, pixels);
            let rows = rows_mut(pixels, TILE * tiles.columns * channels);
            for (y, row) in (top..height).zip(rows) {
                let row = row.get_mut(..width * channels).unwrap_or_default();
                self.activate((y, 0), row, tap);
                if r.pool_kernel != 0 {
                    self.pool_row(y, row, output);
                } else {
                    let out = output.get_mut(y * row.len()..(y + 1) * row.len());
                    kernels::copy(row, out.unwrap_or_default());
                }
            }
        }
    }
}
