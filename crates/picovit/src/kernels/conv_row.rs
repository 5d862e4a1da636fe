//! A row of a convolution's map at a time, for hosts.

use super::block::Block;
use super::conv::{Window, patch_into_block};
use super::layer::Int8;
use super::layer_rows::linear_int8_rows;
use super::matmul::Matrix;
#[cfg(target_arch = "x86_64")]
use super::x86::{conv512, is_avx512, maps512};

/// Where a row of a convolution's map comes from.
#[derive(Clone, Copy, Debug)]
pub struct PixelRow<'m> {
    /// The input, `[height][width][channels]`.
    pub map: &'m [i8],
    /// Height, width and channels of the input.
    pub extent: (usize, usize, usize),
    /// The convolution's window.
    pub window: Window,
    /// Which row it is.
    pub y: usize,
    /// Values of a pixel outside the input.
    pub zero: &'m [i8],
}

/// int8 outputs of all pixels of a row, one after the other, as
/// [`linear_int8_rows`] has them of the patches. Pixels have whole steps of the
/// packing, and the block has room for all patches.
pub fn convolve_row(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    source: PixelRow<'_>,
    block: &mut Block<'_>,
    out: &mut [i8],
) {
    #[cfg(target_arch = "x86_64")]
    if conv512::convolve_row(matrix, constants, form, source, block, out) {
        return;
    }
    patches_into_block(source, out.len().checked_div(matrix.outputs).unwrap_or(0), block);
    linear_int8_rows(matrix, constants, form, block, out);
}

/// The patches of the first pixels of a row.
fn patches_into_block(source: PixelRow<'_>, count: usize, block: &mut Block<'_>) {
    let PixelRow { map, extent, window, y, zero } = source;
    #[cfg(target_arch = "x86_64")]
    if is_avx512() {
        let rows = block.first_rows_mut(count);
        // SAFETY: AVX-512 is current.
        return unsafe { maps512::patches(map, extent, window, y, zero, rows) };
    }
    for x in 0..count {
        let corner = (y * window.stride, x * window.stride);
        patch_into_block(map, extent, window, corner, zero, (block, x));
    }
}
