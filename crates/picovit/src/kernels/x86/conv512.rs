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
    /// Values of a row of the window.
    line: usize,
    /// Values of a row of the map.
    step: usize,
    /// Values of the map from a whole patch's first to its last.
    span: usize,
}

impl<'k> Patches<'k> {
    /// Of extents that a map can have.
    #[inline(always)]
    fn new(source: PixelRow<'k>) -> Option<Self> {
        let PixelRow { extent: (_, width, channels), window, .. } = source;
        let line = window.kernel.checked_mul(channels)?;
        let step = width.checked_mul(channels)?;
        let span = window.kernel.checked_sub(1)?.checked_mul(step)?.checked_add(line)?;
        Some(Self { source, line, step, span })
    }

    /// A patch, from its first value to its last, if all of it is in the map.
    #[inline(always)]
    fn whole(self, x: usize) -> Option<&'k [i8]> {
        let PixelRow { map, extent: (height, width, channels), window, y, .. } = self.source;
        let (row, column) = (y * window.stride, x * window.stride);
        let (row, column) = (row.checked_sub(window.padding)?, column.checked_sub(window.padding)?);
        let inside = row + window.kernel <= height && column + window.kernel <= width;
        let rest = map.get((row * width + column) * channels..).filter(|_| inside)?;
        rest.get(..self.span)
    }
}

/// [`Patches`] and the rows of those that are not whole.
#[derive(Clone, Copy)]
struct Written<'k> {
    patches: Patches<'k>,
    rows: &'k [i8],
}

impl Places for Written<'_> {
    #[inline(always)]
    fn token(self, x: usize) -> Token {
        let Patches { line, step, source, .. } = self.patches;
        match self.patches.whole(x) {
            Some(values) => Token { place: values.as_ptr().cast(), step },
            None => {
                let place = self.rows.as_ptr().wrapping_add(x * source.window.kernel * line);
                Token { place: place.cast(), step: line }
            }
        }
    }
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
    let Some(patches) = Patches::new(source) else { return false };
    let Some(tiles) = Tiles::with_lines(matrix, window.kernel) else { return false };
    let Some(count) = out.len().checked_div(matrix.outputs) else { return false };
    let patch = tiles.token_bytes();
    let fits = patches.line == tiles.line_bytes() && block.inputs() == patch;
    if !fits || block.packing() != Packing::Wide {
        return false;
    }
    let (rows, row_bytes) = block.first_rows_mut(count);
    if row_bytes != patch || rows.len() / patch < count {
        return false;
    }
    for x in (0..count).filter(|&x| patches.whole(x).is_none()) {
        let corner = (y * window.stride, x * window.stride);
        let row = rows.get_mut(x * patch..).unwrap_or_default();
        // SAFETY: AVX-512 is current, as there are tiles.
        unsafe { border_patch(map, extent, window, corner, zero, row, patch) };
    }
    let out = out.get_mut(..count * matrix.outputs).unwrap_or_default();
    let places = Written { patches, rows };
    // SAFETY: as above. A token has as many lines as the window has rows, each of the matrix's bytes: in
    // the map, which has them from the first to the last, or in its row, of which there are as many as
    // tokens.
    unsafe { linear_int8_places(tiles, constants, form, places, out) };
    true
}
