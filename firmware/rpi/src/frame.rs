//! Frames: their layout, and what the network and the browser get of them.

use std::borrow::Cow;
use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use clap::ValueEnum;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::error::{LimitError, LimitErrorKind};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageError};
use picovit::image::{Frame, MAX_EDGE, PixelFormat};

/// Quality of the pictures in the browser.
const QUALITY: u8 = 80;

/// Layout of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Planes of YUV 4:2:0, I420: brightness, then both colours at half the resolution.
    Yuv420,
    /// One JPEG after the other.
    Mjpeg,
    /// Three bytes a pixel.
    Rgb888,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yuv420 => "yuv420",
            Self::Mjpeg => "mjpeg",
            Self::Rgb888 => "rgb888",
        })
    }
}

/// Values of YUV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Range {
    /// 0 to 255, as in JPEG.
    Full,
    /// 16 to 235, colours to 240, as in video.
    Limited,
}

/// Extent of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Size {
    /// Columns and rows of the colour planes.
    fn halved(self) -> Self {
        Self { width: self.width.div_ceil(2), height: self.height.div_ceil(2) }
    }

    /// Pixels.
    fn area(self) -> usize {
        self.width * self.height
    }

    /// Bytes of a frame, where the layout fixes them.
    pub(crate) fn bytes(self, format: Format) -> Option<usize> {
        match format {
            Format::Yuv420 => Some(self.area() + 2 * self.halved().area()),
            Format::Rgb888 => Some(3 * self.area()),
            Format::Mjpeg => None,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let edge = |text: &str| text.parse().ok().filter(|edge| (1..=MAX_EDGE).contains(edge));
        let size = text
            .split_once('x')
            .and_then(|(width, height)| Some(Self { width: edge(width)?, height: edge(height)? }));
        size.ok_or_else(|| format!("not WIDTHxHEIGHT, each from 1 to {MAX_EDGE}"))
    }
}

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Its layout.
    pub format: Format,
    /// Its extent; that of a JPEG is inside.
    pub size: Size,
    /// The values of YUV.
    pub range: Range,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Pixels that the engine takes.
#[derive(Debug)]
pub(crate) struct Pixels<'a> {
    size: Size,
    format: PixelFormat,
    bytes: Cow<'a, [u8]>,
}

impl Pixels<'_> {
    /// As the engine takes them.
    pub(crate) fn frame(&self) -> Frame<'_> {
        let Size { width, height } = self.size;
        Frame { width, height, format: self.format, pixels: &self.bytes }
    }
}

impl Picture {
    /// What a network of so many channels sees: brightness is enough for one.
    pub(crate) fn pixels(&self, channels: usize) -> Result<Pixels<'_>, ImageError> {
        let size = self.size;
        match self.format {
            Format::Rgb888 => {
                Ok(Pixels { size, format: PixelFormat::Rgb888, bytes: (&self.bytes).into() })
            }
            Format::Yuv420 if channels == 1 => {
                let luma = &self.bytes[..size.area()];
                let bytes = match self.range {
                    Range::Full => luma.into(),
                    Range::Limited => luma.iter().map(|&y| stretched(y)).collect(),
                };
                Ok(Pixels { size, format: PixelFormat::Gray8, bytes })
            }
            Format::Yuv420 => {
                Ok(Pixels { size, format: PixelFormat::Rgb888, bytes: self.rgb().into() })
            }
            Format::Mjpeg => decoded(&self.bytes),
        }
    }

    /// A JPEG of a frame that is none.
    pub(crate) fn encoded(&self) -> Result<Vec<u8>, ImageError> {
        let pixels = self.pixels(3)?;
        let mut jpeg = Vec::new();
        let Size { width, height } = pixels.size;
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode(
            &pixels.bytes,
            width as u32,
            height as u32,
            ExtendedColorType::Rgb8,
        )?;
        Ok(jpeg)
    }

    /// Red, green and blue of YUV 4:2:0.
    fn rgb(&self) -> Vec<u8> {
        let (size, half) = (self.size, self.size.halved());
        let (luma, colours) = self.bytes.split_at(size.area());
        let (us, vs) = colours.split_at(half.area());
        let mut rgb = Vec::with_capacity(3 * size.area());
        for (y, row) in luma.chunks_exact(size.width).enumerate() {
            let colours = y / 2 * half.width..(y / 2 + 1) * half.width;
            let (us, vs) = (&us[colours.clone()], &vs[colours]);
            for (pair, (&u, &v)) in row.chunks(2).zip(us.iter().zip(vs)) {
                for &y in pair {
                    rgb.extend(self.range.colour(y, u, v));
                }
            }
        }
        rgb
    }
}

impl Range {
    /// Red, green and blue by BT.601, in 256ths.
    fn colour(self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let (y, red, green_u, green_v, blue) = match self {
            Self::Full => (256 * i32::from(y), 359, 88, 183, 454),
            Self::Limited => (298 * (i32::from(y) - 16), 409, 100, 208, 516),
        };
        [y + red * v, y - green_u * u - green_v * v, y + blue * u]
            .map(|value| ((value + 128) >> 8).clamp(0, 255) as u8)
    }
}

/// Brightness of limited range in full range.
fn stretched(y: u8) -> u8 {
    ((298 * (i32::from(y) - 16) + 128) >> 8).clamp(0, 255) as u8
}

fn decoded(jpeg: &[u8]) -> Result<Pixels<'static>, ImageError> {
    let decoder = JpegDecoder::new(Cursor::new(jpeg))?;
    let (width, height) = decoder.dimensions();
    // A damaged extent is no reason to take gigabytes.
    if width.max(height) as usize > MAX_EDGE {
        return Err(ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError)));
    }
    let image = DynamicImage::from_decoder(decoder)?;
    let size = Size { width: image.width() as usize, height: image.height() as usize };
    Ok(match image {
        DynamicImage::ImageLuma8(grey) => {
            Pixels { size, format: PixelFormat::Gray8, bytes: grey.into_raw().into() }
        }
        image => {
            let rgb = image.into_rgb8().into_raw();
            Pixels { size, format: PixelFormat::Rgb888, bytes: rgb.into() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yuv(size: Size, range: Range, y: u8, u: u8, v: u8) -> Picture {
        let half = size.halved().area();
        let bytes = [vec![y; size.area()], vec![u; half], vec![v; half]].concat();
        Picture { format: Format::Yuv420, size, range, bytes }
    }

    #[test]
    fn bytes_of_odd_sizes_round_colours_up() {
        let size = Size { width: 5, height: 3 };
        assert_eq!(size.bytes(Format::Yuv420), Some(15 + 2 * 6));
        assert_eq!(size.bytes(Format::Rgb888), Some(45));
        assert_eq!(yuv(size, Range::Full, 9, 128, 128).rgb(), [9; 45]);
    }

    #[test]
    fn both_ranges_reach_black_white_and_red() {
        let size = Size { width: 2, height: 2 };
        for (range, black, white, red) in
            [(Range::Full, 0, 255, (76, 85, 255)), (Range::Limited, 16, 235, (81, 90, 240))]
        {
            for (y, expected) in [(black, 0), (white, 255)] {
                let grey = yuv(size, range, y, 128, 128);
                assert_eq!(grey.rgb(), [expected; 12]);
                assert_eq!(*grey.pixels(1).unwrap().bytes, [expected; 4]);
            }
            let rgb = yuv(size, range, red.0, red.1, red.2).rgb();
            assert!(rgb[0] >= 253 && rgb[1] <= 2 && rgb[2] <= 2, "{rgb:?}");
        }
    }

    #[test]
    fn a_jpeg_is_what_was_encoded() {
        let size = Size { width: 16, height: 8 };
        let grey = yuv(size, Range::Full, 77, 128, 128);
        let bytes = grey.encoded().unwrap();
        let jpeg = Picture { format: Format::Mjpeg, bytes, ..grey };
        let pixels = jpeg.pixels(3).unwrap();
        assert_eq!(pixels.size, size);
        assert!(pixels.bytes.iter().all(|&v| v.abs_diff(77) <= 1));
        let mut huge = jpeg.bytes.clone();
        let extent = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap() + 5;
        huge[extent..extent + 4].fill(0xff);
        let error = decoded(&huge).unwrap_err();
        assert!(matches!(error, ImageError::Limits(_)), "{error}");
        let broken = Picture { bytes: jpeg.bytes[..40].to_vec(), ..jpeg };
        assert!(broken.pixels(1).is_err());
    }
}
