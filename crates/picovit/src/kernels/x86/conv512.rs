//! A row of a convolution's map by AVX-512. Patches that lie in the input whole are multiplied where they
//! are; only those at the border are copied.

use super::super::block::Block;
use super::super::conv_row::PixelRow;
use super::super::layer::Int8;
use super::super::matmul::Matrix;
use super::maps512::border_patch;
use super::product512::{Places, Tiles, Token, linear_int8_places};
use crate::format::Packing;

/// Patches of a row: in the map where they are whole, else in rows one after the other.
#[derive(Clone, Copy)]
struct Patches<'k> {
    source: PixelRow<'k>,
    rows: &'k [i8],
}

impl Places for Patches<'_> {
    #[inline(always)]
    fn token(self, x: usize) -> Token {
        let (_, width, channels) = self.source.extent;
        let line = self.source.window.kernel * channels;
        match whole(self.source, x) {
            Some(values) => Token { place: values.as_ptr().cast(), step: width * channels },
            None => {
                let patch = self.source.window.kernel * line;
                let place = self.rows.as_ptr().wrapping_add(x * patch);
                Token { place: place.cast(), step: line }
            }
        }
    }
}

/// A patch, from its first value to its last, if all of it is in the map.
#[inline(always)]
fn whole(source: PixelRow<'_>, x: usize) -> Option<&[i8]> {
    let PixelRow { map, extent: (height, width, channels), window, y, .. } = source;
    let (row, column) = (y * window.stride, x * window.stride);
    let (row, column) = (row.checked_sub(window.padding)?, column.checked_sub(window.padding)?);
    let inside = row + window.kernel <= height && column + window.kernel <= width;
    let first = (row * width + column) * channels;
    let values = window.kernel.checked_sub(1)? * width * channels + window.kernel * channels;
    map.get(first..first + values).filter(|_| inside)
}

/// [`convolve_row`](super::super::convolve_row); whether it has been computed.
#[inline]
pub(in super::super) fn convolve_row(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    source: PixelRow<'_>,
    block: &mut Block<'_>,
    out: &mut [i8],
) -> bool {
    let PixelRow { extent, window, y, zero, map } = source;
    let patch = window.kernel * window.kernel * extent.2;
    let Some(tiles) = Tiles::with_lines(matrix, window.kernel) else { return false };
    let Some(count) = out.len().checked_div(matrix.outputs) else { return false };
    if block.packing() != Packing::Wide || block.inputs() != patch || matrix.inputs != patch {
        return false;
    }
    let (rows, row_bytes) = block.first_rows_mut(count);
    if row_bytes != patch || rows.len() != count * patch {
        return false;
    }
    for x in (0..count).filter(|&x| whole(source, x).is_none()) {
        let corner = (y * window.stride, x * window.stride);
        let row = rows.get_mut(x * patch..).unwrap_or_default();
        // SAFETY: AVX-512 is current, as there are tiles.
        unsafe { border_patch(map, extent, window, corner, zero, row, patch) };
    }
    let out = out.get_mut(..count * matrix.outputs).unwrap_or_default();
    let places = Patches { source, rows };
    // SAFETY: as above. A token has as many lines as the window has rows, of as many bytes: in the map,
    // which has them from the first to the last, or in its row, of which there are as many as tokens.
    unsafe { linear_int8_places(tiles, constants, form, places, out) };
    true
}
