//! Patches and maxima of maps by AVX-512.

use super::super::conv::{PatchRow, Window, max_into_row_by, patch_row};
use super::lanes512::{BYTES, load, store};

/// [`max_into_row`](super::super::max_into_row).
#[target_feature(enable = "avx512f,avx512bw")]
pub(in super::super) fn max_into_row(row: &[i8], channels: usize, window: Window, out: &mut [i8]) {
    #[inline(always)]
    fn max_into(values: &[i8], out: &mut [i8]) {
        // SAFETY: the only caller has the features.
        unsafe { super::values512::max_into(values, out) };
    }
    max_into_row_by(max_into, row, channels, window, out);
}

/// The patches of a row of pixels into rows of so many bytes, what follows a patch set to 0.
#[target_feature(enable = "avx512f,avx512bw")]
pub(in super::super) fn patches(
    map: &[i8],
    extent: (usize, usize, usize),
    window: Window,
    y: usize,
    zero: &[i8],
    (rows, row_bytes): (&mut [i8], usize),
) {
    let channels = extent.2;
    for (x, row) in rows.chunks_mut(row_bytes.max(1)).enumerate() {
        let mut rest = row;
        for ky in 0..window.kernel {
            let corner = (y * window.stride, x * window.stride);
            let PatchRow { before, pixels, after } = patch_row(map, extent, window, corner, ky);
            for _ in 0..before {
                rest = put(zero, channels, rest);
            }
            rest = put(pixels, pixels.len(), rest);
            for _ in 0..after {
                rest = put(zero, channels, rest);
            }
        }
        rest.iter_mut().for_each(|value| *value = 0);
    }
}

/// Writes so many values and returns what follows them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn put<'o>(values: &[i8], count: usize, out: &'o mut [i8]) -> &'o mut [i8] {
    let (out, rest) = out.split_at_mut_checked(count).unwrap_or_default();
    for (values, out) in values.chunks(BYTES).zip(out.chunks_mut(BYTES)) {
        store(load(values), out);
    }
    rest
}
