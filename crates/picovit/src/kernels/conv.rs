//! Building blocks of the streamed convolution: the input patch of one pixel, and pooling of a
//! finished row into the output.

#[cfg(not(mve))]
use core::marker::PhantomData;

use super::block::Block;
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
use crate::format::Packing;
#[cfg(not(mve))]
use crate::rows::rows;
use crate::rows::rows_mut;

/// Where a square window lies: edge, step and border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border.
    pub padding: usize,
}

impl Window {
    /// First output step whose window covers `position`, and one past the last, of `steps`.
    #[must_use]
    #[inline]
    pub fn covering(&self, position: usize, steps: usize) -> core::ops::Range<usize> {
        let stride = self.stride.max(1);
        let padded = position + self.padding;
        let first = (padded + 1).saturating_sub(self.kernel).div_ceil(stride);
        first.min(steps)..(padded / stride + 1).min(steps)
    }

    /// Values of a row of `width` pixels that the window covers at a step.
    #[inline(always)]
    pub(super) fn covered(
        &self,
        step: usize,
        width: usize,
        channels: usize,
    ) -> core::ops::Range<usize> {
        let start = step * self.stride;
        let first = start.saturating_sub(self.padding);
        let end = (start + self.kernel).saturating_sub(self.padding).min(width);
        first * channels..end * channels
    }
}

/// Where a row of a patch comes from: columns before, inside and after the map.
pub(super) struct PatchRow<'m> {
    pub(super) before: usize,
    pub(super) pixels: &'m [i8],
    pub(super) after: usize,
}

/// Row `ky` of the patch whose first pixel is `(y, x)`, in padded coordinates.
#[inline(always)]
pub(super) fn patch_row<'m>(
    map: &'m [i8],
    (height, width, channels): (usize, usize, usize),
    window: Window,
    (y, x): (usize, usize),
    ky: usize,
) -> PatchRow<'m> {
    let source = (y + ky).checked_sub(window.padding).filter(|&y| y < height);
    let Some(y) = source else {
        return PatchRow { before: window.kernel, pixels: &[], after: 0 };
    };
    let before = window.padding.saturating_sub(x).min(window.kernel);
    let first = (x + before).saturating_sub(window.padding).min(width);
    let inside = (window.kernel - before).min(width - first);
    let start = (y * width + first) * channels;
    let pixels = map.get(start..start + inside * channels).unwrap_or_default();
    PatchRow { before, pixels, after: window.kernel - before - inside }
}

/// Copies the `kernel x kernel` patch of a map `[height][width][channels]` whose first pixel is
/// `(y, x)` (padded coordinates) into `patch`; pixels outside the map are `zero`, one
/// value a channel.
#[inline]
pub fn copy_patch(
    map: &[i8],
    extent: (usize, usize, usize),
    window: Window,
    corner: (usize, usize),
    zero: &[i8],
    patch: &mut [i8],
) {
    let (height, width, channels) = extent;
    let row_values = window.kernel * channels;
    let ends = [corner.0 + window.kernel, corner.1 + window.kernel];
    let inside = corner.0.min(corner.1) >= window.padding
        && ends[0] <= height + window.padding
        && ends[1] <= width + window.padding;
    if inside && (cfg!(any(wide, mve)) || row_values < SHORT) {
        // Most pixels of most first layers.
        let first = (corner.0 - window.padding) * width + corner.1 - window.padding;
        let mut rest = map.get(first * channels..).unwrap_or_default();
        #[cfg(mve)]
        if super::helium::copy_rows(rest, width * channels, patch, row_values) {
            return;
        }
        for row in rows_mut(patch, row_values) {
            copy_row(rest, row);
            rest = rest.get(width * channels..).unwrap_or_default();
        }
        return;
    }
    copy_border_patch(map, extent, window, corner, zero, patch);
}

/// As [`copy_patch`], row by row.
#[cfg_attr(wide, inline(never))]
#[cfg_attr(not(wide), inline(always))]
fn copy_border_patch(
    map: &[i8],
    extent: (usize, usize, usize),
    window: Window,
    corner: (usize, usize),
    zero: &[i8],
    patch: &mut [i8],
) {
    let channels = extent.2;
    for (ky, row) in rows_mut(patch, window.kernel * channels).enumerate() {
        let PatchRow { before, pixels, .. } = patch_row(map, extent, window, corner, ky);
        let (border, rest) = row.split_at_mut_checked(before * channels).unwrap_or_default();
        fill(zero, border);
        let (inner, border) = rest.split_at_mut_checked(pixels.len()).unwrap_or_default();
        copy(pixels, inner);
        fill(zero, border);
    }
}

/// Fills a row of a patch from the beginning of a slice.
#[inline(always)]
fn copy_row(source: &[i8], row: &mut [i8]) {
    #[cfg(wide)]
    if row.len() <= 16
        && let Some(source) = source.get(..row.len())
        && let (Some(first), Some(last)) = (source.first_chunk::<8>(), source.last_chunk::<8>())
    {
        // Both halves, which may overlap.
        if let Some(place) = row.first_chunk_mut() {
            *place = *first;
        }
        if let Some(place) = row.last_chunk_mut() {
            *place = *last;
        }
        return;
    }
    if row.len() < SHORT {
        row.iter_mut().zip(source).for_each(|(place, &value)| *place = value);
    } else {
        copy(source, row);
    }
}

/// Values of a row that are copied one by one rather than by a function made for many.
const SHORT: usize = 12;

/// As [`copy_patch`], into a row of a block at once. Pixels have whole steps of the block's packing.
#[inline]
pub fn patch_into_block(
    map: &[i8],
    extent: (usize, usize, usize),
    window: Window,
    corner: (usize, usize),
    zero: &[i8],
    (block, token): (&mut Block<'_>, usize),
) {
    #[cfg(wide)]
    if let Some(patch) = block.row_mut(token) {
        return copy_patch(map, extent, window, corner, zero, patch);
    }
    let channels = extent.2;
    let mut place = 0;
    for ky in 0..window.kernel {
        let PatchRow { before, pixels, after } = patch_row(map, extent, window, corner, ky);
        for _ in 0..before {
            block.set_part(token, place, zero);
            place += channels;
        }
        block.set_part(token, place, pixels);
        place += pixels.len();
        for _ in 0..after {
            block.set_part(token, place, zero);
            place += channels;
        }
    }
}

/// Patches of a convolution's map that a kernel writes to a block two at once; only Helium has one.
#[derive(Debug)]
pub struct PatchPairs<'m> {
    #[cfg(mve)]
    patches: super::helium::Patches<'m>,
    #[cfg(not(mve))]
    patches: PhantomData<&'m [i8]>,
}

impl<'m> PatchPairs<'m> {
    /// Those of a map `[height][width][channels]`, if there is a kernel for them and for blocks of this
    /// packing; pixels outside the map are `zero`.
    #[must_use]
    pub fn new(
        packing: Packing,
        map: &'m [i8],
        extent: (usize, usize, usize),
        window: Window,
        zero: &[i8],
    ) -> Option<Self> {
        #[cfg(mve)]
        if packing.known() == Packing::Helium {
            let patches = super::helium::Patches::new(map, extent, window, zero)?;
            return Some(Self { patches });
        }
        let _ = (packing, map, extent, window, zero);
        None
    }

    /// Writes patches `x` and `x + 1` of row `y` as the rows of a block, whose last step ends with
    /// zeros.
    #[inline]
    pub fn write(&self, place: (usize, usize), block: &mut Block<'_>) {
        #[cfg(mve)]
        if let Some(steps) = block.steps_mut() {
            self.patches.write(place, steps);
        }
        #[cfg(not(mve))]
        let _ = (self.patches, place, block);
    }
}

/// As [`copy_patch`] for the pixels of two maps `[height][width][channels[i]]` side by side: all
/// channels of the first, then those of the second.
#[inline]
pub fn copy_patch_pair(
    maps: [&[i8]; 2],
    (height, width, channels): (usize, usize, [usize; 2]),
    window: Window,
    (y, x): (usize, usize),
    zero: &[i8],
    patch: &mut [i8],
) {
    let taps = (0..window.kernel).flat_map(|ky| (0..window.kernel).map(move |kx| (ky, kx)));
    for ((ky, kx), pixel) in taps.zip(rows_mut(patch, channels[0] + channels[1])) {
        let row = (y + ky).checked_sub(window.padding).filter(|&row| row < height);
        let column = (x + kx).checked_sub(window.padding).filter(|&column| column < width);
        let (Some(row), Some(column)) = (row, column) else {
            fill(zero, pixel);
            continue;
        };
        let index = row * width + column;
        let (first, second) = pixel.split_at_mut_checked(channels[0]).unwrap_or_default();
        for ((map, channels), target) in maps.into_iter().zip(channels).zip([first, second]) {
            let source = map.get(index * channels..(index + 1) * channels).unwrap_or_default();
            copy(source, target);
        }
    }
}

/// Copies as much as there is.
#[inline]
pub fn copy(source: &[i8], target: &mut [i8]) {
    #[cfg(mve)]
    return super::helium::copy(source, target);
    #[cfg(not(mve))]
    copy_bytes(source, target)
}

/// As [`copy`], by the compiler.
#[cfg(not(mve))]
#[inline(always)]
fn copy_bytes(source: &[i8], target: &mut [i8]) {
    let count = source.len().min(target.len());
    if let (Some(source), Some(target)) = (source.get(..count), target.get_mut(..count)) {
        target.copy_from_slice(source);
    }
}

/// Repeats one pixel.
fn fill(pixel: &[i8], row: &mut [i8]) {
    for target in rows_mut(row, pixel.len()) {
        copy(pixel, target);
    }
}

/// Takes one row of a convolution's map, `[width][channels]`, into one row of the pooled output,
/// `[columns][channels]`.
#[inline]
pub fn max_into_row(row: &[i8], channels: usize, window: Window, out: &mut [i8]) {
    #[cfg(target_arch = "aarch64")]
    if channels.is_multiple_of(16) && super::neon::is_current() {
        let width = row.len().checked_div(channels).unwrap_or(0);
        for (column, out) in rows_mut(out, channels).enumerate() {
            let pixels = row.get(window.covered(column, width, channels)).unwrap_or_default();
            // SAFETY: NEON is current.
            unsafe { super::neon::max_into(pixels, out) };
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() {
        // SAFETY: AVX-512 is current.
        return unsafe { super::x86::maps512::max_into_row(row, channels, window, out) };
    }
    #[cfg(mve)]
    {
        let width = row.len().checked_div(channels).unwrap_or(0);
        for (column, out) in rows_mut(out, channels).enumerate() {
            let pixels = row.get(window.covered(column, width, channels)).unwrap_or_default();
            super::helium::max_into_pixel(pixels, out);
        }
        return;
    }
    #[cfg(wide)]
    if dispatch(MaxIntoRow { row, channels, window, out: &mut *out }).is_some() {
        return;
    }
    #[cfg(not(mve))]
    max_into_row_by(max_into, row, channels, window, out);
}

/// As [`max_into_row`], by a function that takes one pixel into another.
#[cfg(not(mve))]
#[inline(always)]
fn max_into_row_by(
    max_into: impl Fn(&[i8], &mut [i8]),
    row: &[i8],
    channels: usize,
    window: Window,
    out: &mut [i8],
) {
    let channels = channels.max(1);
    let width = row.len() / channels;
    for (column, out) in rows_mut(out, channels).enumerate() {
        let pixels = row.get(window.covered(column, width, channels)).unwrap_or_default();
        for pixel in rows(pixels, channels) {
            max_into(pixel, out);
        }
    }
}

/// [`max_into_row`] on vectors.
#[cfg(wide)]
struct MaxIntoRow<'k> {
    row: &'k [i8],
    channels: usize,
    window: Window,
    out: &'k mut [i8],
}

#[cfg(wide)]
impl Kernel for MaxIntoRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { row, channels, window, out } = self;
        #[inline(always)]
        fn max_into(pixel: &[i8], out: &mut [i8]) {
            out.iter_mut().zip(pixel).for_each(|(out, &v)| *out = (*out).max(v));
        }
        max_into_row_by(max_into, row, channels, window, out);
    }
}

/// Takes each value into the one at its place.
#[inline]
pub fn max_into(values: &[i8], out: &mut [i8]) {
    #[cfg(mve)]
    return super::helium::max_into(values, out);
    #[cfg(all(dsp, not(mve)))]
    let done = super::cortex_m::max_into(values, out);
    #[cfg(not(dsp))]
    let done = 0;
    #[cfg(not(mve))]
    for (out, &value) in out.iter_mut().zip(values).skip(done) {
        *out = (*out).max(value);
    }
}

/// Takes pixels, one after the other, into one.
#[inline]
pub fn max_into_pixel(pixels: &[i8], out: &mut [i8]) {
    #[cfg(mve)]
    super::helium::max_into_pixel(pixels, out);
    #[cfg(not(mve))]
    for pixel in rows(pixels, out.len()) {
        max_into(pixel, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_is_the_inverse_of_the_window() {
        for kernel in 1..5 {
            for stride in 1..4 {
                for padding in 0..kernel {
                    let window = Window { kernel, stride, padding };
                    for position in 0..12 {
                        let steps = crate::format::window_steps(12, kernel, stride, padding);
                        let covers = |s: usize| {
                            let start = s * stride;
                            (start..start + kernel).contains(&(position + padding))
                        };
                        let range = window.covering(position, steps);
                        for step in 0..steps {
                            assert_eq!(
                                range.contains(&step),
                                covers(step),
                                "{window:?} {position} {step} {range:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}
