//! Pixels of all formats as colours and as brightness, and sums of them.

use core::ops::Range;

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
    /// As [`Self::Rgb565`] with the bytes the other way round, as 16-bit reads leave them in memory.
    Rgb565Le,
    /// YUV 4:2:2, four bytes for two pixels: `y0 u y1 v`. Full range (JFIF), coefficients of BT.601.
    Yuyv,
    /// As [`Self::Yuyv`], in the order `u y0 v y1`.
    Uyvy,
}

impl PixelFormat {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Gray8, Self::Rgb888, Self::Rgb565, Self::Rgb565Le, Self::Yuyv, Self::Uyvy];

    /// Bytes of one pixel.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Rgb565 | Self::Rgb565Le | Self::Yuyv | Self::Uyvy => 2,
            Self::Rgb888 => 3,
        }
    }

    /// Whether the build has code for it: grey always, others by the crate's features.
    #[must_use]
    pub const fn is_supported(&self) -> bool {
        match self {
            Self::Gray8 => true,
            Self::Rgb888 => cfg!(feature = "rgb888"),
            Self::Rgb565 | Self::Rgb565Le => cfg!(feature = "rgb565"),
            Self::Yuyv | Self::Uyvy => cfg!(feature = "yuv422"),
        }
    }

    /// Whether two pixels share their colour, so that rows have an even number of them.
    #[must_use]
    pub const fn in_pairs(&self) -> bool {
        matches!(self, Self::Yuyv | Self::Uyvy)
    }
}

/// Red, green and blue of pixel `x` of a row, if it is there.
#[inline]
pub(super) fn decode(format: PixelFormat, row: &[u8], x: usize) -> Option<[u8; 3]> {
    match format {
        PixelFormat::Gray8 => row.get(x).map(|&v| [v; 3]),
        #[cfg(feature = "rgb888")]
        PixelFormat::Rgb888 => row.as_chunks().0.get(x).copied(),
        #[cfg(feature = "rgb565")]
        PixelFormat::Rgb565 => row.as_chunks().0.get(x).map(|&[high, low]| rgb565(high, low)),
        #[cfg(feature = "rgb565")]
        PixelFormat::Rgb565Le => row.as_chunks().0.get(x).map(|&[low, high]| rgb565(high, low)),
        #[cfg(feature = "yuv422")]
        PixelFormat::Yuyv => row
            .as_chunks()
            .0
            .get(x / 2)
            .map(|&[y0, u, y1, v]| colour(if x.is_multiple_of(2) { y0 } else { y1 }, u, v)),
        #[cfg(feature = "yuv422")]
        PixelFormat::Uyvy => row
            .as_chunks()
            .0
            .get(x / 2)
            .map(|&[u, y0, v, y1]| colour(if x.is_multiple_of(2) { y0 } else { y1 }, u, v)),
        // No frame gets here.
        #[allow(unreachable_patterns, reason = "with all features there are no others")]
        _ => None,
    }
}

/// Brightness of pixel `x` of a row, whose colour is this.
#[inline]
pub(super) fn luma(format: PixelFormat, row: &[u8], x: usize, rgb: [u8; 3]) -> u8 {
    let byte = match format {
        PixelFormat::Gray8 => x,
        #[cfg(feature = "yuv422")]
        PixelFormat::Yuyv => 2 * x,
        #[cfg(feature = "yuv422")]
        PixelFormat::Uyvy => 2 * x + 1,
        _ => return grey(rgb),
    };
    row.get(byte).copied().unwrap_or(0)
}

/// Sums of pixels of a row: brightness in the first, or red, green and blue.
#[inline]
pub(super) fn sums(format: PixelFormat, row: &[u8], xs: Range<usize>, only_grey: bool) -> [u32; 3] {
    let size = format.bytes();
    let bytes = row.get(xs.start * size..xs.end * size).unwrap_or_default();
    match (format, only_grey) {
        (PixelFormat::Gray8, true) => [bytes.iter().map(|&v| u32::from(v)).sum(), 0, 0],
        (PixelFormat::Gray8, false) => [bytes.iter().map(|&v| u32::from(v)).sum(); 3],
        #[cfg(feature = "rgb888")]
        (PixelFormat::Rgb888, true) => greys(bytes, |&rgb: &[u8; 3]| grey(rgb)),
        #[cfg(feature = "rgb888")]
        (PixelFormat::Rgb888, false) => colours(bytes.as_chunks().0.iter().copied()),
        #[cfg(feature = "rgb565")]
        (PixelFormat::Rgb565, true) => greys(bytes, |&[high, low]| grey(rgb565(high, low))),
        #[cfg(feature = "rgb565")]
        (PixelFormat::Rgb565Le, true) => greys(bytes, |&[low, high]| grey(rgb565(high, low))),
        #[cfg(feature = "rgb565")]
        (PixelFormat::Rgb565, false) => {
            colours(bytes.as_chunks().0.iter().map(|&[high, low]| rgb565(high, low)))
        }
        #[cfg(feature = "rgb565")]
        (PixelFormat::Rgb565Le, false) => {
            colours(bytes.as_chunks().0.iter().map(|&[low, high]| rgb565(high, low)))
        }
        #[cfg(feature = "yuv422")]
        (PixelFormat::Yuyv, true) => greys(bytes, |&[y, _]| y),
        #[cfg(feature = "yuv422")]
        (PixelFormat::Uyvy, true) => greys(bytes, |&[_, y]| y),
        #[cfg(feature = "yuv422")]
        (PixelFormat::Yuyv | PixelFormat::Uyvy, false) => {
            colours(xs.filter_map(|x| decode(format, row, x)))
        }
        #[allow(unreachable_patterns, reason = "with all features there are no others")]
        _ => [0; 3],
    }
}

/// The sum of the brightness of pixels of `N` bytes.
#[cfg(any(feature = "rgb565", feature = "rgb888", feature = "yuv422"))]
#[inline(always)]
fn greys<const N: usize>(bytes: &[u8], grey: impl Fn(&[u8; N]) -> u8) -> [u32; 3] {
    [bytes.as_chunks().0.iter().map(|pixel| u32::from(grey(pixel))).sum(), 0, 0]
}

/// Sums of colours.
#[cfg(any(feature = "rgb565", feature = "rgb888", feature = "yuv422"))]
#[inline(always)]
fn colours(pixels: impl Iterator<Item = [u8; 3]>) -> [u32; 3] {
    pixels.fold([0; 3], |[r, g, b], [red, green, blue]| {
        [r + u32::from(red), g + u32::from(green), b + u32::from(blue)]
    })
}

/// A colour of 16 bits, its lowest bits filled up with its highest.
#[cfg(feature = "rgb565")]
#[inline(always)]
const fn rgb565(high: u8, low: u8) -> [u8; 3] {
    let (r, g, b) = (high >> 3, (high & 7) << 3 | low >> 5, low & 31);
    [r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2]
}

/// Red, green and blue of full-range YUV: ITU-T T.871 (JFIF), in 256ths.
#[cfg(feature = "yuv422")]
#[inline(always)]
fn colour(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (i32::from(y) * 256 + 128, i32::from(u) - 128, i32::from(v) - 128);
    [y + 359 * v, y - 88 * u - 183 * v, y + 454 * u].map(|value| (value >> 8).clamp(0, 255) as u8)
}

/// Brightness of a colour; grey stays what it is.
#[inline(always)]
const fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((77 * r as u32 + 150 * g as u32 + 29 * b as u32 + 128) >> 8) as u8
}

/// A pixel as the model takes it.
#[inline(always)]
pub(super) const fn signed(pixel: u8) -> i8 {
    (pixel ^ 0x80) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_is_kept_by_luma() {
        for v in 0..=255 {
            assert_eq!(grey([v; 3]), v);
            #[cfg(feature = "yuv422")]
            assert_eq!(colour(v, 128, 128), [v; 3]);
        }
    }

    #[test]
    fn sums_are_those_of_the_pixels() {
        let row: [u8; 24] = core::array::from_fn(|i| (i * 89 + 3) as u8);
        for format in PixelFormat::ALL {
            let columns = row.len() / format.bytes();
            for start in 0..columns {
                for end in start..=columns {
                    let pixels = (start..end).filter_map(|x| Some((x, decode(format, &row, x)?)));
                    let mut expected = [0; 3];
                    let mut brightness = 0;
                    for (x, rgb) in pixels {
                        expected.iter_mut().zip(rgb).for_each(|(sum, v)| *sum += u32::from(v));
                        brightness += u32::from(luma(format, &row, x, rgb));
                    }
                    assert_eq!(sums(format, &row, start..end, false), expected, "{format:?}");
                    assert_eq!(sums(format, &row, start..end, true)[0], brightness, "{format:?}");
                }
            }
        }
    }
}
