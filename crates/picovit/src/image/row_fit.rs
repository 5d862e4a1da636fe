//! A frame that arrives row by row.

use super::area::Area;
use super::pixels::{PixelFormat, signed};
use super::{Crop, ImageError, Input, check_extent, pad_row};
use crate::rows::rows_mut;

/// Fits the rows of a frame, as a camera sends them, to a model's input: the bytes of
/// [`fit`](super::fit) or [`fit_crop`](super::fit_crop), without the frame ever being in memory.
///
/// ```
/// use picovit::image::{Frame, PixelFormat, RowFit, fit};
///
/// let pixels: Vec<u8> = (0..160 * 120).map(|i| (i * 7) as u8).collect();
/// let mut sums = [0; RowFit::sums(32, 1)];
/// let mut input = [0i8; 32 * 32];
/// let mut fitting = RowFit::new((120, 160), PixelFormat::Gray8, None, (32, 32, 1), &mut sums)?;
/// for row in pixels.chunks(160) {
///     fitting.row(row, &mut input)?;
/// }
/// assert!(fitting.is_complete());
///
/// let frame = Frame { width: 160, height: 120, format: PixelFormat::Gray8, pixels: &pixels };
/// let mut at_once = [0i8; 32 * 32];
/// fit(&frame, 32, 32, 1, &mut at_once)?;
/// assert_eq!(input, at_once);
/// # Ok::<(), picovit::image::ImageError>(())
/// ```
#[derive(Debug)]
pub struct RowFit<'s> {
    height: usize,
    width: usize,
    area: Area,
    crop: Crop,
    format: PixelFormat,
    input: Input,
    /// Whether the frame is centred on black as it is.
    padded: bool,
    sums: &'s mut [u32],
    /// Rows that have been taken.
    taken: usize,
    /// Rows of the input that are finished.
    finished: usize,
}

impl<'s> RowFit<'s> {
    /// Length of the memory for sums, for an input of this width and so many channels.
    #[must_use]
    pub const fn sums(width: usize, channels: usize) -> usize {
        width * channels
    }

    /// For frames `(height, width)` and an input `(height, width, channels)`. Without a part, a frame is
    /// centred or cropped as by [`fit`](super::fit). `sums` is memory of [`Self::sums`] values.
    ///
    /// # Errors
    /// [`ImageError`] if frame, part, input or memory do not fit.
    pub fn new(
        (height, width): (usize, usize),
        format: PixelFormat,
        crop: Option<Crop>,
        input: (usize, usize, usize),
        sums: &'s mut [u32],
    ) -> Result<Self, ImageError> {
        check_extent(height, width, format)?;
        let input = Input { height: input.0, width: input.1, channels: input.2 };
        let sized = super::valid(input.height) && super::valid(input.width);
        if !sized || !matches!(input.channels, 1 | 3) {
            return Err(ImageError::Output);
        }
        let padded = crop.is_none() && width <= input.width && height <= input.height;
        let whole = (input.height, input.width);
        let crop = crop.unwrap_or_else(|| Crop::centred((height, width), whole));
        if !crop.is_in(height, width) {
            return Err(ImageError::Crop);
        }
        if sums.len() != Self::sums(input.width, input.channels) {
            return Err(ImageError::Sums);
        }
        let area = Area::new(format, crop, input);
        sums.fill(0);
        Ok(Self { height, width, area, crop, format, input, padded, sums, taken: 0, finished: 0 })
    }

    /// Takes the next row, from the top; `out` is the input, always the same. Behind the last row the
    /// next frame begins.
    ///
    /// # Errors
    /// [`ImageError`] if the row or the input has another length; nothing is taken then.
    pub fn row(&mut self, pixels: &[u8], out: &mut [i8]) -> Result<(), ImageError> {
        self.input.check(out)?;
        let expected = self.width * self.format.bytes();
        if pixels.len() != expected {
            return Err(ImageError::Length { expected, found: pixels.len() });
        }
        if self.is_complete() {
            self.restart();
        }
        if self.padded {
            self.pad(pixels, out);
        } else if let Some(row) = self.taken.checked_sub(self.crop.top)
            && row < self.crop.height
        {
            self.add(row, pixels, out);
        }
        self.taken += 1;
        Ok(())
    }

    /// Whether all rows have been taken.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.taken == self.height
    }

    /// Begins a new frame, whatever has been taken: after a frame that ended early.
    pub fn restart(&mut self) {
        (self.taken, self.finished) = (0, 0);
        self.sums.fill(0);
    }

    fn pad(&self, pixels: &[u8], out: &mut [i8]) {
        if self.taken == 0 {
            out.fill(signed(0));
        }
        let top = self.input.height.saturating_sub(self.height) / 2;
        let mut rows = rows_mut(out, self.input.width * self.input.channels);
        if let Some(row) = rows.nth(top + self.taken) {
            pad_row(self.format, pixels, self.width, self.input, row);
        }
    }

    /// Adds row `row` of the part to all rows of the input that lie over it.
    fn add(&mut self, row: usize, pixels: &[u8], out: &mut [i8]) {
        let values = self.input.width * self.input.channels;
        let mut outs = rows_mut(out, values).skip(self.finished);
        loop {
            let weight = self.area.share(row, self.finished);
            if weight == 0 {
                return;
            }
            self.area.add(pixels, weight, 0, self.sums);
            // Where the input's row ends, in the units of `Area`.
            if (self.finished + 1) * self.crop.height > (row + 1) * self.input.height {
                return;
            }
            let Some(out) = outs.next() else { return };
            self.area.finish(self.sums, out);
            self.sums.fill(0);
            self.finished += 1;
        }
    }
}
