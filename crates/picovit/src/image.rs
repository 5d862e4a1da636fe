//! From a frame to the model's input, in one pass and without a copy of the frame.
//!
//! The same code runs on the chip, in training and in the host tools, so that all of them feed a
//! model the same bytes. [`fit`] takes a frame that is in memory, [`RowFit`] one that a camera sends
//! row by row; both give the same bytes.

mod area;
mod pixels;
mod row_fit;

use core::fmt;

use crate::rows::rows_mut;
use area::Area;
use pixels::{decode, luma, signed};

pub use pixels::PixelFormat;
pub use row_fit::RowFit;

/// A picture in memory, rows top to bottom without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// `height * width` pixels.
    pub pixels: &'a [u8],
}

/// A part of a frame, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Crop {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Crop {
    /// The largest part around the centre of a frame `(height, width)` with the aspect ratio of an
    /// input `(height, width)`.
    #[must_use]
    pub const fn centred(frame: (usize, usize), input: (usize, usize)) -> Self {
        const fn at_least_one(edge: usize) -> usize {
            if edge > 0 { edge } else { 1 }
        }
        let (height, width) = if frame.1 * input.0 > frame.0 * input.1 {
            (frame.0, at_least_one(frame.0 * input.1 / at_least_one(input.0)))
        } else {
            (at_least_one(frame.1 * input.0 / at_least_one(input.1)), frame.1)
        };
        let top = frame.0.saturating_sub(height) / 2;
        let left = frame.1.saturating_sub(width) / 2;
        Self { top, left, height, width }
    }

    /// Whether all of it is in a frame.
    const fn is_in(&self, height: usize, width: usize) -> bool {
        self.height > 0
            && self.width > 0
            && self.top.saturating_add(self.height) <= height
            && self.left.saturating_add(self.width) <= width
    }
}

/// Why a frame cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ImageError {
    /// The pixels of the frame, or of a row, are not as many as the extent says.
    Length {
        /// Bytes the extent asks for.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The frame is empty or larger than 4096 x 4096.
    Extent,
    /// The build has no code for the format: turn on the crate's feature for it.
    Format,
    /// The format has pairs of pixels, and the frame's width is odd.
    OddWidth,
    /// The part is empty or not all of it in the frame.
    Crop,
    /// The output slice is not `height * width * channels`, an edge of it is 0 or larger than [`MAX_EDGE`], or
    /// channels is neither 1 nor 3.
    Output,
    /// The memory for sums is not as long as [`RowFit::sums`] asks for.
    Sums,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "a frame, or a row, of {found} bytes; its extent asks for {expected}")
            }
            Self::Extent => f.write_str("the frame is empty or larger than 4096 x 4096"),
            Self::Format => f.write_str("the build has no code for the frame's pixel format"),
            Self::OddWidth => f.write_str("frames of YUV 4:2:2 have an even width"),
            Self::Crop => f.write_str("the part is empty or reaches out of the frame"),
            Self::Output => f.write_str("the output does not have the model's input size"),
            Self::Sums => f.write_str("the memory for sums does not have the length of a row"),
        }
    }
}

impl core::error::Error for ImageError {}

/// Largest edge of a frame, and of a model's input; keeps area sums within 32 bits.
pub const MAX_EDGE: usize = 4096;

/// A model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Input {
    height: usize,
    width: usize,
    channels: usize,
}

impl Input {
    fn check(&self, out: &[i8]) -> Result<(), ImageError> {
        let sized = valid(self.height) && valid(self.width) && matches!(self.channels, 1 | 3);
        let fits = sized && out.len() == self.height * self.width * self.channels;
        fits.then_some(()).ok_or(ImageError::Output)
    }
}

fn valid(edge: usize) -> bool {
    (1..=MAX_EDGE).contains(&edge)
}

fn check_extent(height: usize, width: usize, format: PixelFormat) -> Result<(), ImageError> {
    if !format.is_supported() {
        return Err(ImageError::Format);
    }
    match (valid(height) && valid(width), format.in_pairs() && !width.is_multiple_of(2)) {
        (false, _) => Err(ImageError::Extent),
        (true, true) => Err(ImageError::OddWidth),
        (true, false) => Ok(()),
    }
}

/// Fits a frame to a model's input `[height][width][channels]`, each value the pixel minus 128.
///
/// A frame that is nowhere larger than the input is centred on black. A larger one is cropped
/// around its centre to the input's aspect ratio, [`Crop::centred`], and reduced by area averaging.
/// Grey is repeated into three channels; colour becomes grey by `(77 r + 150 g + 29 b + 128) / 256`,
/// YUV by leaving out its colour.
///
/// # Errors
/// [`ImageError`], before anything is written.
#[inline(never)]
pub fn fit(
    frame: &Frame<'_>,
    height: usize,
    width: usize,
    channels: usize,
    out: &mut [i8],
) -> Result<(), ImageError> {
    frame.check()?;
    let input = Input { height, width, channels };
    input.check(out)?;
    if frame.width <= width && frame.height <= height {
        pad(frame, input, out);
    } else {
        let crop = Crop::centred((frame.height, frame.width), (height, width));
        resize(frame, crop, input, out);
    }
    Ok(())
}

/// Fits a part of a frame to a model's input `[height][width][channels]` by area averaging, whatever
/// its aspect ratio; see [`fit`].
///
/// # Errors
/// [`ImageError`], before anything is written.
#[inline(never)]
pub fn fit_crop(
    frame: &Frame<'_>,
    crop: Crop,
    height: usize,
    width: usize,
    channels: usize,
    out: &mut [i8],
) -> Result<(), ImageError> {
    frame.check()?;
    let input = Input { height, width, channels };
    input.check(out)?;
    if !crop.is_in(frame.height, frame.width) {
        return Err(ImageError::Crop);
    }
    resize(frame, crop, input, out);
    Ok(())
}

/// Centres a small frame on black.
fn pad(frame: &Frame<'_>, input: Input, out: &mut [i8]) {
    out.fill(signed(0));
    let top = (input.height - frame.height) / 2;
    for (y, row) in rows_mut(out, input.width * input.channels).skip(top).enumerate() {
        pad_row(frame.format, frame.row(y), frame.width, input, row);
    }
}

/// Centres a row of a small frame in a row of the input; no row is no change.
fn pad_row(format: PixelFormat, pixels: &[u8], columns: usize, input: Input, row: &mut [i8]) {
    let left = input.width.saturating_sub(columns) / 2;
    for (x, out) in rows_mut(row, input.channels).skip(left).take(columns).enumerate() {
        let Some(rgb) = decode(format, pixels, x) else { return };
        if let [grey] = out {
            *grey = signed(luma(format, pixels, x, rgb));
        } else {
            out.iter_mut().zip(rgb).for_each(|(out, v)| *out = signed(v));
        }
    }
}

/// Sums that are on the stack at a time.
const SUMS: usize = 48;

/// Averages areas.
fn resize(frame: &Frame<'_>, crop: Crop, input: Input, out: &mut [i8]) {
    let area = Area::new(frame.format, crop, input);
    let columns = if input.channels == 1 { SUMS } else { SUMS / 3 };
    for (y, row) in rows_mut(out, input.width * input.channels).enumerate() {
        for first in (0..input.width).step_by(columns) {
            let mut sums = [0u32; SUMS];
            for (source, weight) in area.rows(y) {
                area.add(frame.row(crop.top + source), weight, first, &mut sums);
            }
            let place = row.get_mut(first * input.channels..).unwrap_or_default();
            area.finish(&sums, place);
        }
    }
}

impl<'a> Frame<'a> {
    fn check(&self) -> Result<(), ImageError> {
        check_extent(self.height, self.width, self.format)?;
        let expected = self.width * self.height * self.format.bytes();
        match self.pixels.len() {
            found if found != expected => Err(ImageError::Length { expected, found }),
            _ => Ok(()),
        }
    }

    /// A row; empty if there is none.
    #[inline]
    fn row(&self, y: usize) -> &'a [u8] {
        let bytes = self.width * self.format.bytes();
        self.pixels.get(y * bytes..(y + 1) * bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_centred_on_black() {
        let frame = Frame { width: 2, height: 1, format: PixelFormat::Gray8, pixels: &[200, 100] };
        let mut out = [0i8; 16];
        fit(&frame, 4, 4, 1, &mut out).unwrap();
        let mut expected = [-128i8; 16];
        expected[5] = 72;
        expected[6] = -28;
        assert_eq!(out, expected);
    }

    #[test]
    fn areas_are_averaged_exactly() {
        // 6 x 4 to 2 x 2: crop to 4 x 4, then 2 x 2 blocks.
        let mut pixels = [0u8; 24];
        for (i, p) in pixels.iter_mut().enumerate() {
            *p = i as u8 * 10;
        }
        let frame = Frame { width: 6, height: 4, format: PixelFormat::Gray8, pixels: &pixels };
        let mut out = [0i8; 4];
        fit(&frame, 2, 2, 1, &mut out).unwrap();
        let block = |y: usize, x: usize| {
            let at = |dy, dx| ((y + dy) * 6 + 1 + x + dx) as u32 * 10;
            ((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1) + 2) / 4) as u8
        };
        let expected = [block(0, 0), block(0, 2), block(2, 0), block(2, 2)].map(signed);
        assert_eq!(out, expected);
    }

    #[test]
    fn white_stays_white_at_any_ratio() {
        let white = [255u8; 50 * 37 * 3];
        for (w, h) in [(50, 37), (37, 50), (49, 3), (1, 99)] {
            for format in [
                PixelFormat::Gray8,
                PixelFormat::Rgb888,
                PixelFormat::Rgb565,
                PixelFormat::Rgb565Le,
            ] {
                if !format.is_supported() {
                    continue;
                }
                let pixels = &white[..w * h * format.bytes()];
                let frame = Frame { width: w, height: h, format, pixels };
                let mut out = [0i8; 32 * 32 * 3];
                fit(&frame, 32, 32, 3, &mut out).unwrap();
                assert!(out.iter().all(|&v| v == 127) || (w <= 32 && h <= 32), "{w}x{h}");
            }
        }
    }

    #[cfg(all(feature = "rgb888", feature = "yuv422"))]
    #[test]
    fn wrong_sizes_are_refused() {
        let frame = Frame { width: 2, height: 2, format: PixelFormat::Rgb888, pixels: &[0; 4] };
        let error = fit(&frame, 4, 4, 1, &mut [0; 16]);
        assert_eq!(error, Err(ImageError::Length { expected: 12, found: 4 }));
        let frame = Frame { pixels: &[0; 12], ..frame };
        assert_eq!(fit(&frame, 4, 4, 1, &mut [0; 15]), Err(ImageError::Output));
        let frame = Frame { width: 0, pixels: &[], ..frame };
        assert_eq!(fit(&frame, 4, 4, 1, &mut [0; 16]), Err(ImageError::Extent));
        let frame = Frame { width: 3, height: 1, format: PixelFormat::Yuyv, pixels: &[0; 6] };
        assert_eq!(fit(&frame, 4, 4, 1, &mut [0; 16]), Err(ImageError::OddWidth));
        let frame = Frame { width: 2, height: 3, ..frame };
        let beyond = Crop { top: 2, left: 0, height: 2, width: 2 };
        assert_eq!(
            fit_crop(&frame, beyond, 4, 4, 1, &mut [0; 16]),
            Err(ImageError::Length { expected: 12, found: 6 })
        );
        let frame = Frame { pixels: &[0; 12], ..frame };
        assert_eq!(fit_crop(&frame, beyond, 4, 4, 1, &mut [0; 16]), Err(ImageError::Crop));
    }
}
