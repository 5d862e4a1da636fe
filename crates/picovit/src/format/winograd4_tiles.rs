//! Convolutions by Winograd's F(4x4, 3x3), many tiles at a time, for hosts: weights, which are as
//! [`pack_winograd4`](super::pack_winograd4) has them but in another order, are read once for all of them.

use super::packing::WIDE_TILE;
use super::winograd4::{WINOGRAD4_POSITIONS, pack};

/// Outputs that lie together.
pub const WINOGRAD4_TILE_OUTPUTS: usize = WIDE_TILE;

/// Edge of a tile.
const TILE: usize = 4;

/// Tiles whose sums are kept at a time, of [`WINOGRAD4_TILE_OUTPUTS`] outputs.
const SUMS: usize = 16;

/// What the numbers of places for patches are multiples of.
const PLACES: usize = 4;

/// Sums that are kept at a time, int32.
pub const WINOGRAD4_TILE_SUMS: usize = WINOGRAD4_POSITIONS * SUMS * WINOGRAD4_TILE_OUTPUTS;

/// Channels of a patch that lie together.
pub(crate) const PATCH_CHANNELS: usize = 32;

/// Rows of tiles that are computed at a time: as many as have sixteen tiles, or one that has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileRows {
    /// How many rows.
    pub rows: usize,
    /// Tiles of a row.
    pub columns: usize,
}

impl TileRows {
    /// Of a map of this height and width.
    #[must_use]
    pub const fn of((height, width): (usize, usize)) -> Self {
        let columns = width.div_ceil(TILE);
        let all = height.div_ceil(TILE);
        let rows = match SUMS.checked_div(columns) {
            None | Some(0) => 1,
            Some(rows) => rows,
        };
        Self { rows: if rows < all { rows } else { all }, columns }
    }

    /// How many tiles.
    #[must_use]
    pub const fn count(self) -> usize {
        self.rows.saturating_mul(self.columns)
    }

    /// Places for patches: some more than tiles, so that kernels need not count them one by one.
    #[must_use]
    pub const fn places(self) -> usize {
        self.count().div_ceil(PLACES).saturating_mul(PLACES)
    }

    /// int16 values of transformed patches of so many inputs,
    /// `[position][inputs / 32][place][32]`; saturates.
    #[must_use]
    pub const fn patch_values(self, inputs: usize) -> usize {
        let channels = inputs.div_ceil(PATCH_CHANNELS).saturating_mul(PATCH_CHANNELS);
        self.places().saturating_mul(channels).saturating_mul(WINOGRAD4_POSITIONS)
    }

    /// int8 values of so many outputs, `[row of pixels][column of pixels][outputs]`; saturates.
    #[must_use]
    pub const fn pixel_values(self, outputs: usize) -> usize {
        self.count().saturating_mul(TILE * TILE).saturating_mul(outputs)
    }

    /// Index of a channel of a patch at a position, which others follow up to the next multiple of
    /// [`PATCH_CHANNELS`].
    #[inline(always)]
    pub(crate) const fn patch_index(
        self,
        inputs: usize,
        position: usize,
        (channel, place): (usize, usize),
    ) -> usize {
        let part = position * inputs.div_ceil(PATCH_CHANNELS) + channel / PATCH_CHANNELS;
        (part * self.places() + place) * PATCH_CHANNELS + channel % PATCH_CHANNELS
    }
}

/// Index of the first weight of a group of [`WINOGRAD4_TILE_OUTPUTS`] outputs at a position:
/// `[outputs / 16][position][inputs / 2][16][2]`.
pub(crate) const fn winograd4_tile_place(inputs: usize, group: usize, position: usize) -> usize {
    (group * WINOGRAD4_POSITIONS + position) * inputs * WINOGRAD4_TILE_OUTPUTS
}

/// Transforms weights `[outputs][3][3][inputs]`. Outputs are a multiple of [`WINOGRAD4_TILE_OUTPUTS`], inputs of
/// [`WINOGRAD4_INPUTS`](super::WINOGRAD4_INPUTS).
///
/// `packed` has [`winograd4_weights`](super::winograd4_weights); values that find no place in it are left out.
pub fn pack_winograd4_tiles(weights: &[i8], inputs: usize, packed: &mut [i16]) {
    pack::<WINOGRAD4_TILE_OUTPUTS, 2>(weights, inputs, packed);
}
