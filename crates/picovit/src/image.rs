//! From a frame to the model's input, in one pass and without a copy of the frame.
//!
//! The same code runs on the chip, in training and in the host tools, so that all of them feed a
//! model the same bytes.

use crate::rows::rows_mut;
use core::fmt;

/// Layout of a frame's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PixelFormat {
    /// One byte a pixel.
    Gray8,
    /// Three bytes a pixel: red, green, blue.
    Rgb888,
    /// Two bytes a pixel, big-endian `rrrrrggg gggbbbbb`, as camera modules send it.
    Rgb565,
}

impl PixelFormat {
    /// Bytes of one pixel.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Rgb565 => 2,
            Self::Rgb888 => 3,
        }
    }
}

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

/// Why a frame cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ImageError {
    /// The pixels are not as many as the extent says.
    Length {
        /// Bytes the extent asks for.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The frame is empty or larger than 4096 x 4096.
    Extent,
    /// The output slice is not `height * width * channels`, or channels is neither 1 nor 3.
    Output,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "the frame has {found} bytes, its extent asks for {expected}")
            }
            Self::Extent => f.write_str("the frame is empty or larger than 4096 x 4096"),
            Self::Output => f.write_str("the output does not have the model's input size"),
        }
    }
}

impl core::error::Error for ImageError {}

/// Largest frame edge; keeps area sums within 32 bits.
pub const MAX_EDGE: usize = 4096;

/// Fits a frame to a model's input `[height][width][channels]`, each value the pixel minus 128.
///
/// A frame that is nowhere larger than the input is centred on black. A larger one is cropped
/// around its centre to the input's aspect ratio and reduced by area averaging. Grey is repeated
/// into three channels; colour becomes grey by `(77 r + 150 g + 29 b + 128) / 256`.
///
/// # Errors
/// [`ImageError`], before anything is written.
pub fn fit(
    frame: &Frame<'_>,
    height: usize,
    width: usize,
    channels: usize,
    out: &mut [i8],
) -> Result<(), ImageError> {
    let valid = |edge| (1..=MAX_EDGE).contains(&edge);
    if !valid(frame.width) || !valid(frame.height) {
        return Err(ImageError::Extent);
    }
    let expected = frame.width * frame.height * frame.format.bytes();
    if frame.pixels.len() != expected {
        return Err(ImageError::Length { expected, found: frame.pixels.len() });
    }
    let sized = valid(height) && valid(width) && matches!(channels, 1 | 3);
    if !sized || out.len() != height * width * channels {
        return Err(ImageError::Output);
    }
    if frame.width <= width && frame.height <= height {
        pad(frame, height, width, channels, out);
    } else {
        reduce(frame, height, width, channels, out);
    }
    Ok(())
}

/// Centres a small frame on black.
fn pad(frame: &Frame<'_>, height: usize, width: usize, channels: usize, out: &mut [i8]) {
    let (top, left) = ((height - frame.height) / 2, (width - frame.width) / 2);
    for (y, row) in rows_mut(out, width * channels).enumerate() {
        for (x, pixel) in rows_mut(row, channels).enumerate() {
            let inside = y >= top && x >= left && y < top + frame.height && x < left + frame.width;
            let rgb = if inside { frame.pixel(y - top, x - left) } else { [0; 3] };
            write(rgb, pixel);
        }
    }
}

/// Crops to the aspect ratio and averages areas.
fn reduce(frame: &Frame<'_>, height: usize, width: usize, channels: usize, out: &mut [i8]) {
    let (crop_height, crop_width) = if frame.width * height > frame.height * width {
        (frame.height, (frame.height * width / height.max(1)).max(1))
    } else {
        ((frame.width * height / width.max(1)).max(1), frame.width)
    };
    let (top, left) = ((frame.height - crop_height) / 2, (frame.width - crop_width) / 2);
    let area = (crop_height * crop_width).max(1) as u32;
    for (y, row) in rows_mut(out, width * channels).enumerate() {
        for (x, pixel) in rows_mut(row, channels).enumerate() {
            let mut sums = [0u32; 3];
            for (sy, wy) in cover(y, crop_height, height) {
                for (sx, wx) in cover(x, crop_width, width) {
                    let rgb = frame.pixel(top + sy, left + sx);
                    let rgb = if channels == 1 { [luma(rgb), 0, 0] } else { rgb };
                    for (sum, v) in sums.iter_mut().zip(rgb) {
                        *sum += wy * wx * v as u32;
                    }
                }
            }
            for (out, sum) in pixel.iter_mut().zip(sums) {
                *out = signed(((sum + area / 2) / area) as u8);
            }
        }
    }
}

/// Source positions under output position `x` when `source` pixels become `target`, each with its
/// share; the shares add up to `source`.
fn cover(x: usize, source: usize, target: usize) -> impl Iterator<Item = (usize, u32)> {
    let (start, end) = (x * source, (x + 1) * source);
    let target = target.max(1);
    (start / target..end.div_ceil(target)).map(move |i| {
        let low = start.max(i * target);
        let high = end.min((i + 1) * target);
        (i, high.saturating_sub(low) as u32)
    })
}

impl Frame<'_> {
    /// Red, green and blue of a pixel; black outside.
    #[inline]
    fn pixel(&self, y: usize, x: usize) -> [u8; 3] {
        let size = self.format.bytes();
        let start = (y * self.width + x) * size;
        match (self.format, self.pixels.get(start..start + size)) {
            (PixelFormat::Gray8, Some(&[v])) => [v; 3],
            (PixelFormat::Rgb888, Some(&[r, g, b])) => [r, g, b],
            (PixelFormat::Rgb565, Some(&[high, low])) => {
                let (r, g, b) = (high >> 3, (high & 7) << 3 | low >> 5, low & 31);
                [r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2]
            }
            _ => [0; 3],
        }
    }
}

/// Brightness of a colour; grey stays what it is.
const fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((77 * r as u32 + 150 * g as u32 + 29 * b as u32 + 128) >> 8) as u8
}

const fn signed(pixel: u8) -> i8 {
    (pixel ^ 0x80) as i8
}

fn write(rgb: [u8; 3], out: &mut [i8]) {
    if let [grey] = out {
        *grey = signed(luma(rgb));
    } else {
        for (out, v) in out.iter_mut().zip(rgb) {
            *out = signed(v);
        }
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
    fn grey_is_kept_by_luma() {
        for v in 0..=255 {
            assert_eq!(luma([v; 3]), v);
        }
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
            for format in [PixelFormat::Gray8, PixelFormat::Rgb888, PixelFormat::Rgb565] {
                let pixels = &white[..w * h * format.bytes()];
                let frame = Frame { width: w, height: h, format, pixels };
                let mut out = [0i8; 32 * 32 * 3];
                fit(&frame, 32, 32, 3, &mut out).unwrap();
                assert!(out.iter().all(|&v| v == 127) || (w <= 32 && h <= 32), "{w}x{h}");
            }
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        let frame = Frame { width: 2, height: 2, format: PixelFormat::Rgb888, pixels: &[0; 4] };
        let error = fit(&frame, 4, 4, 1, &mut [0; 16]);
        assert_eq!(error, Err(ImageError::Length { expected: 12, found: 4 }));
        let frame = Frame { pixels: &[0; 12], ..frame };
        assert_eq!(fit(&frame, 4, 4, 1, &mut [0; 15]), Err(ImageError::Output));
        let frame = Frame { width: 0, pixels: &[], ..frame };
        assert_eq!(fit(&frame, 4, 4, 1, &mut [0; 16]), Err(ImageError::Extent));
    }
}
