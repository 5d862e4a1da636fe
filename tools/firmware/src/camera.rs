//! Pictures as a camera would see them: enlarged, coloured, a little noisy, in a camera's format.

use std::str::FromStr;

use picovit::image::{Crop, Frame, MAX_EDGE, PixelFormat};
use picovit_app::clip::UNKNOWN;
use picovit_app::{Clip, ClipHeader};

use crate::error::Error;

/// What frames a camera gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Camera {
    width: u16,
    height: u16,
    format: PixelFormat,
}

/// The names of the formats.
const FORMATS: [(&str, PixelFormat); 6] = [
    ("gray8", PixelFormat::Gray8),
    ("rgb888", PixelFormat::Rgb888),
    ("rgb565", PixelFormat::Rgb565),
    ("rgb565le", PixelFormat::Rgb565Le),
    ("yuyv", PixelFormat::Yuyv),
    ("uyvy", PixelFormat::Uyvy),
];

impl FromStr for Camera {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (extent, format) = text.split_once(':').unwrap_or((text, "rgb565"));
        let known = || FORMATS.map(|(name, _)| name).join(", ");
        let format = FORMATS.iter().find(|(name, _)| *name == format);
        let &(_, format) = format.ok_or_else(|| format!("the format is none of {}", known()))?;
        let edge = |text: &str| {
            let edge =
                text.parse().ok().filter(|&edge: &u16| (1..=MAX_EDGE).contains(&edge.into()));
            edge.ok_or_else(|| format!("`{text}` is not an edge of 1 to {MAX_EDGE} pixels"))
        };
        let (width, height) = extent
            .split_once('x')
            .ok_or_else(|| format!("`{extent}` is not WIDTHxHEIGHT, as in 320x240"))?;
        let (width, height) = (edge(width)?, edge(height)?);
        if format.in_pairs() && !width.is_multiple_of(2) {
            return Err("frames of YUV 4:2:2 have an even width".to_owned());
        }
        Ok(Self { width, height, format })
    }
}

impl Camera {
    /// The feature of the board's package that its frames need, if any.
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self.format {
            PixelFormat::Rgb565 | PixelFormat::Rgb565Le => Some("rgb565"),
            PixelFormat::Rgb888 => Some("rgb888"),
            PixelFormat::Yuyv | PixelFormat::Uyvy => Some("yuv422"),
            _ => None,
        }
    }

    /// Bytes of one frame.
    pub(crate) fn frame_bytes(self) -> usize {
        usize::from(self.width) * usize::from(self.height) * self.format.bytes()
    }

    /// The clip that this camera records of a clip's pictures. An input `(height, width)` sees them as
    /// large as if it had been given the pictures themselves.
    ///
    /// # Errors
    /// If the clip cannot be read.
    pub(crate) fn record(self, clip: &[u8], input: (usize, usize)) -> Result<Vec<u8>, Error> {
        let unreadable = |reason: String| Error::Log { reason };
        let clip = Clip::parse(clip).map_err(|error| unreadable(error.to_string()))?;
        let Self { width, height, format } = self;
        let header = ClipHeader { format, width, height, count: clip.len() as u32 };
        let header = header.to_bytes().ok_or_else(|| unreadable("no such clips".to_owned()))?;
        let mut bytes = header.to_vec();
        for shot in (0..clip.len()).filter_map(|index| clip.get(index)) {
            bytes.extend(shot.expected.unwrap_or(UNKNOWN).to_le_bytes());
            self.frame(&shot.frame, input, &mut bytes);
        }
        Ok(bytes)
    }

    /// One frame: what the model sees of it is the grey picture on black, and to the sides of that is a
    /// room.
    fn frame(self, picture: &Frame<'_>, input: (usize, usize), bytes: &mut Vec<u8>) {
        let (height, width) = (usize::from(self.height), usize::from(self.width));
        let crop = Crop::centred((height, width), input);
        // Pixels of the input, from its centre.
        let place = |at: usize, start: usize, extent: usize, edge: usize, there: usize| {
            let offset = edge as isize - there as isize;
            let from = at.checked_sub(start).filter(|&from| from < extent)?;
            let scaled = (from * edge / extent) as isize - offset.div_euclid(2);
            Some(usize::try_from(scaled).ok().filter(|&pixel| pixel < there))
        };
        let mut random = 0x9e37_79b9_u32;
        for y in 0..height {
            let mut row = Vec::with_capacity(width);
            for x in 0..width {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (random >> 30) as u8;
                let py = place(y, crop.top, crop.height, input.0, picture.height);
                let px = place(x, crop.left, crop.width, input.1, picture.width);
                row.push(match (py, px) {
                    (Some(Some(py)), Some(Some(px))) => {
                        let grey = picture.pixels[py * picture.width + px];
                        // Warm light.
                        [grey, grey, grey.saturating_sub(grey / 16)]
                            .map(|value| value.saturating_add(noise))
                    }
                    (Some(_), Some(_)) => [noise; 3],
                    _ => {
                        let wall = (96 * y / height) as u8;
                        [wall + noise, wall + 24, wall + 48 + noise]
                    }
                });
            }
            encode(self.format, &row, bytes);
        }
    }
}

/// A row of colours in a camera's format.
fn encode(format: PixelFormat, row: &[[u8; 3]], bytes: &mut Vec<u8>) {
    // JFIF.
    let yuv = |[r, g, b]: [u8; 3]| {
        let [r, g, b] = [r, g, b].map(f64::from);
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        [y, (b - y) / 1.772 + 128.0, (r - y) / 1.402 + 128.0].map(|value| value.round() as u8)
    };
    let rgb565 = |[r, g, b]: [u8; 3]| {
        let word = u16::from(r >> 3) << 11 | u16::from(g >> 2) << 5 | u16::from(b >> 3);
        word.to_be_bytes()
    };
    match format {
        PixelFormat::Rgb888 => bytes.extend(row.as_flattened()),
        PixelFormat::Rgb565 => row.iter().for_each(|&rgb| bytes.extend(rgb565(rgb))),
        PixelFormat::Rgb565Le => row.iter().for_each(|&rgb| {
            let [high, low] = rgb565(rgb);
            bytes.extend([low, high]);
        }),
        PixelFormat::Yuyv | PixelFormat::Uyvy => {
            for pair in row.as_chunks::<2>().0 {
                let [[y0, u0, v0], [y1, u1, v1]] = pair.map(yuv);
                let mean = |a: u8, b: u8| u16::midpoint(a.into(), b.into()) as u8;
                let (u, v) = (mean(u0, u1), mean(v0, v1));
                bytes.extend(if format == PixelFormat::Yuyv {
                    [y0, u, y1, v]
                } else {
                    [u, y0, v, y1]
                });
            }
        }
        _ => bytes.extend(row.iter().map(|&rgb| yuv(rgb)[0])),
    }
}

#[cfg(test)]
mod tests {
    use picovit::image::fit;

    use super::*;

    #[test]
    fn frames_are_named() {
        let camera = |width, height, format| Ok(Camera { width, height, format });
        assert_eq!("320x240".parse(), camera(320, 240, PixelFormat::Rgb565));
        assert_eq!("160x120:yuyv".parse(), camera(160, 120, PixelFormat::Yuyv));
        for wrong in ["320", "320x", "0x240", "320x240:bayer", "5000x1", "161x120:uyvy"] {
            let error = wrong.parse::<Camera>().unwrap_err();
            assert!(!error.is_empty(), "{wrong}");
        }
    }

    #[test]
    fn a_model_sees_the_picture_in_every_format() {
        let pixels: Vec<u8> = (0..28 * 28).map(|i| (i * 13 % 240) as u8).collect();
        let header = ClipHeader { format: PixelFormat::Gray8, width: 28, height: 28, count: 1 };
        let mut clip = header.to_bytes().unwrap().to_vec();
        clip.extend([3, 0]);
        clip.extend(&pixels);
        let frame = Frame { width: 28, height: 28, format: PixelFormat::Gray8, pixels: &pixels };
        let mut plain = [0i8; 32 * 32];
        fit(&frame, 32, 32, 1, &mut plain).unwrap();
        for (name, _) in FORMATS {
            for extent in ["320x240", "160x120", "240x320", "64x64"] {
                let camera: Camera = format!("{extent}:{name}").parse().unwrap();
                let recorded = camera.record(&clip, (32, 32)).unwrap();
                let shot = Clip::parse(&recorded).unwrap().get(0).unwrap();
                assert_eq!(shot.expected, Some(3));
                let mut seen = [0i8; 32 * 32];
                fit(&shot.frame, 32, 32, 1, &mut seen).unwrap();
                let differences = seen.iter().zip(&plain).map(|(a, b)| a.abs_diff(*b));
                let mean = differences.map(f64::from).sum::<f64>() / 1024.0;
                // Enlarged by 7.5 or 3.75, pixels overlap; colours and noise add a little.
                assert!(mean < 12.0, "{name} {extent}: {mean}");
            }
        }
    }
}
