//! Averages of areas: every pixel counts with the share of it that an output covers.

use super::pixels::{PixelFormat, signed, sums};
use super::{Crop, Input};
use crate::rows::{rows, rows_mut};

/// How a part of a frame becomes an input. In either direction, a source pixel is as long as there are
/// outputs and an output as long as there are source pixels, so that all shares are whole numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    format: PixelFormat,
    crop: Crop,
    input: Input,
}

impl Area {
    pub(super) fn new(format: PixelFormat, crop: Crop, input: Input) -> Self {
        Self { format, crop, input }
    }

    /// Rows of the part under row `y` of the input, each with its share; the shares add up to the
    /// height of the part.
    pub(super) fn rows(&self, y: usize) -> impl Iterator<Item = (usize, u32)> {
        let Cover { start, end, target } = Cover::new(y, self.crop.height, self.input.height);
        (start / target..end.div_ceil(target)).map(move |i| (i, share(i, start, end, target)))
    }

    /// What of row `source` of the part is under row `y` of the input, 0 if nothing.
    pub(super) fn share(&self, source: usize, y: usize) -> u32 {
        let Cover { start, end, target } = Cover::new(y, self.crop.height, self.input.height);
        share(source, start, end, target)
    }

    /// Adds a row of the frame, times `weight`, to sums `[columns][channels]` of the input's columns
    /// from `first` on.
    #[inline]
    pub(super) fn add(&self, row: &[u8], weight: u32, first: usize, to: &mut [u32]) {
        let only_grey = self.input.channels == 1;
        let left = self.crop.left;
        let pixels = |start, end| sums(self.format, row, left + start..left + end, only_grey);
        let columns = first..self.input.width;
        for (x, to) in columns.zip(rows_mut(to, self.input.channels)) {
            let Cover { start, end, target } = Cover::new(x, self.crop.width, self.input.width);
            // Pixels that are all in the area, and one on either side of them.
            let (from, until) = (start.div_ceil(target), end / target);
            let mut add = |start, end, weight: u32| {
                for (to, sum) in to.iter_mut().zip(pixels(start, end)) {
                    *to = to.wrapping_add(weight.wrapping_mul(sum));
                }
            };
            if from > until {
                add(until, until + 1, weight.wrapping_mul((end - start) as u32));
                continue;
            }
            add(from, until, weight.wrapping_mul(target as u32));
            let (before, after) = (from * target - start, end - until * target);
            if before > 0 {
                add(from - 1, from, weight.wrapping_mul(before as u32));
            }
            if after > 0 {
                add(until, until + 1, weight.wrapping_mul(after as u32));
            }
        }
    }

    /// Sums as values of the input.
    pub(super) fn finish(&self, sums: &[u32], out: &mut [i8]) {
        let area = ((self.crop.height * self.crop.width) as u32).max(1);
        let channels = self.input.channels;
        for (out, sums) in rows_mut(out, channels).zip(rows(sums, channels)) {
            for (out, &sum) in out.iter_mut().zip(sums) {
                *out = signed((sum.wrapping_add(area / 2) / area) as u8);
            }
        }
    }
}

/// What an output covers, in units of which a source pixel has `target`.
struct Cover {
    start: usize,
    end: usize,
    target: usize,
}

impl Cover {
    #[inline(always)]
    fn new(x: usize, source: usize, target: usize) -> Self {
        Self { start: x * source, end: (x + 1) * source, target: target.max(1) }
    }
}

/// What of source pixel `i` lies between two places.
#[inline(always)]
fn share(i: usize, start: usize, end: usize, target: usize) -> u32 {
    let (low, high) = (start.max(i * target), end.min((i + 1) * target));
    high.saturating_sub(low) as u32
}
