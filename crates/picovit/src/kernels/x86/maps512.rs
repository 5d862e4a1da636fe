//! Patches and maxima of maps by AVX-512.

use core::arch::x86_64::_mm512_max_epi8;

use super::super::conv::{PatchRow, Window, patch_row};
use super::lanes512::{BYTES, load, store};
use crate::format::packing::WIDE_QUAD;

/// [`max_into_row`](super::super::max_into_row).
#[target_feature(enable = "avx512f,avx512bw")]
pub(in super::super) fn max_into_row(row: &[i8], channels: usize, window: Window, out: &mut [i8]) {
    let channels = channels.max(1);
    let width = row.len() / channels;
    for (column, out) in out.chunks_mut(channels).enumerate() {
        let pixels = row.get(window.covered(column, width, channels)).unwrap_or_default();
        for (part, out) in out.chunks_mut(BYTES).enumerate() {
            let mut max = load(out);
            let mut rest = pixels.get(part * BYTES..).unwrap_or_default();
            while !rest.is_empty() {
                max = _mm512_max_epi8(max, load(rest));
                rest = rest.get(channels..).unwrap_or_default();
            }
            store(max, out);
        }
    }
}

/// The patches of a row of pixels into rows of so many bytes, what follows a patch set to 0.
#[target_feature(enable = "avx512f,avx512bw")]
pub(in super::super) fn patches(
    map: &[i8],
    extent: (usize, usize, usize),
    window: Window,
    y: usize,
    zero: &[i8],
    (mut rows, row_bytes): (&mut [i8], usize),
) {
    let (height, width, channels) = extent;
    let Window { kernel, stride, padding } = window;
    let (top, values) = (y * stride, kernel * channels);
    let whole = top >= padding && top + kernel <= height + padding;
    let mut x = 0;
    while row_bytes > 0 && !rows.is_empty() {
        let left = x * stride;
        if whole && left >= padding && left + kernel <= width + padding {
            let first = ((top - padding) * width + left - padding) * channels;
            let mut source = map.get(first..).unwrap_or_default();
            let mut place = &mut *rows;
            for _ in 0..kernel {
                copy_over(source, values, place);
                source = source.get(width * channels..).unwrap_or_default();
                place = place.get_mut(values..).unwrap_or_default();
            }
            fill(place, row_bytes.saturating_sub(kernel * values));
        } else {
            border_patch(map, extent, window, (top, left), zero, &mut *rows, row_bytes);
        }
        rows = rows.get_mut(row_bytes..).unwrap_or_default();
        x += 1;
    }
}

/// Copies so many values, and perhaps some that follow them, which will be written later.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn copy_over(source: &[i8], count: usize, out: &mut [i8]) {
    let room = source.len().min(out.len());
    if count <= SHORT && room >= SHORT {
        if let (Some(source), Some(out)) = (source.first_chunk(), out.first_chunk_mut::<SHORT>()) {
            *out = *source;
        }
        return;
    }
    let mut at = 0;
    while at < count {
        let source = source.get(at..).unwrap_or_default();
        let out = out.get_mut(at..).unwrap_or_default();
        match (source.first_chunk::<BYTES>(), out.first_chunk_mut::<BYTES>()) {
            (Some(source), Some(out)) => store(load(source), out),
            _ => {
                let out = out.get_mut(..count - at).unwrap_or_default();
                store(load(source), out);
            }
        }
        at += BYTES;
    }
}

/// Values of which one copy is cheaper than a register's.
const SHORT: usize = 8;

/// Sets the first values to 0, and perhaps some that follow them, which will be written later.
#[inline(always)]
fn fill(out: &mut [i8], count: usize) {
    match out.first_chunk_mut::<WIDE_QUAD>() {
        Some(out) if count > 0 => *out = [0; WIDE_QUAD],
        _ => out.iter_mut().take(count).for_each(|value| *value = 0),
    }
}

/// A patch that is not whole.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn border_patch(
    map: &[i8],
    extent: (usize, usize, usize),
    window: Window,
    corner: (usize, usize),
    zero: &[i8],
    rows: &mut [i8],
    row_bytes: usize,
) {
    let mut rest = rows.get_mut(..row_bytes).unwrap_or_default();
    for ky in 0..window.kernel {
        let PatchRow { before, pixels, after } = patch_row(map, extent, window, corner, ky);
        for _ in 0..before {
            rest = put(zero, rest);
        }
        rest = put(pixels, rest);
        for _ in 0..after {
            rest = put(zero, rest);
        }
    }
    rest.iter_mut().for_each(|value| *value = 0);
}

/// Writes values and returns what follows them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn put<'o>(values: &[i8], out: &'o mut [i8]) -> &'o mut [i8] {
    let (out, rest) = out.split_at_mut_checked(values.len()).unwrap_or_default();
    if out.len() <= SHORT {
        out.iter_mut().zip(values).for_each(|(out, &value)| *out = value);
        return rest;
    }
    for (values, out) in values.chunks(BYTES).zip(out.chunks_mut(BYTES)) {
        store(load(values), out);
    }
    rest
}
