//! A clip: pictures in one flat file, for boards without a camera.
//!
//! All numbers are little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | `PVCL` |
//! | 2 | version, 1 |
//! | 2 | pixel format: 0 grey, 1 RGB888, 2 RGB565 (big-endian), 3 RGB565 (little-endian), 4 YUYV, 5 UYVY |
//! | 2 | width |
//! | 2 | height |
//! | 4 | number of pictures |
//! | then per picture: 2 | class, 65535 if unknown |
//! | `width * height * bytes per pixel` | pixels, rows top to bottom |

use core::fmt;

use picovit::image::{Frame, PixelFormat};

use crate::app::{FrameSource, Shot};

/// First four bytes of a clip.
pub const MAGIC: [u8; 4] = *b"PVCL";
/// Version of the layout.
pub const VERSION: u16 = 1;
/// Class of a picture whose class is not known.
pub const UNKNOWN: u16 = u16::MAX;
/// Length of the header.
pub const HEADER_BYTES: usize = 16;

/// Start of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipHeader {
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Number of pictures.
    pub count: u32,
}

impl ClipHeader {
    /// The header's bytes, or `None` for a pixel format that clips do not know.
    #[must_use]
    pub fn to_bytes(&self) -> Option<[u8; HEADER_BYTES]> {
        let format: u16 = match self.format {
            PixelFormat::Gray8 => 0,
            PixelFormat::Rgb888 => 1,
            PixelFormat::Rgb565 => 2,
            PixelFormat::Rgb565Le => 3,
            PixelFormat::Yuyv => 4,
            PixelFormat::Uyvy => 5,
            _ => return None,
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&format.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.width.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.height.to_le_bytes());
        bytes[12..].copy_from_slice(&self.count.to_le_bytes());
        Some(bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, ClipError> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(ClipError::Length)?;
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        if header[..4] != MAGIC || word(4) != VERSION {
            return Err(ClipError::NotAClip);
        }
        let format = match word(6) {
            0 => PixelFormat::Gray8,
            1 => PixelFormat::Rgb888,
            2 => PixelFormat::Rgb565,
            3 => PixelFormat::Rgb565Le,
            4 => PixelFormat::Yuyv,
            5 => PixelFormat::Uyvy,
            _ => return Err(ClipError::NotAClip),
        };
        let count = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        Ok(Self { format, width: word(8), height: word(10), count })
    }

    fn picture_bytes(&self) -> usize {
        2 + usize::from(self.width) * usize::from(self.height) * self.format.bytes()
    }
}

/// Why bytes are not a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClipError {
    /// Wrong magic, version or pixel format.
    NotAClip,
    /// Shorter or longer than the header says.
    Length,
}

impl fmt::Display for ClipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAClip => "not a clip of pictures (wrong magic, version or pixel format)",
            Self::Length => "the clip is shorter or longer than its header says",
        })
    }
}

impl core::error::Error for ClipError {}

/// Pictures used in place, each an unrelated scene.
#[derive(Clone, Debug)]
pub struct Clip<'a> {
    header: ClipHeader,
    pictures: &'a [u8],
    next: usize,
}

impl<'a> Clip<'a> {
    /// Looks at a clip.
    ///
    /// # Errors
    /// [`ClipError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ClipError> {
        let header = ClipHeader::parse(bytes)?;
        let pictures = &bytes[HEADER_BYTES..];
        let expected = header.picture_bytes().checked_mul(header.count as usize);
        if expected != Some(pictures.len()) {
            return Err(ClipError::Length);
        }
        Ok(Self { header, pictures, next: 0 })
    }

    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.count as usize
    }

    /// Whether there are no pictures.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// One picture.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Shot<'a>> {
        let bytes = self.pictures.chunks_exact(self.header.picture_bytes()).nth(index)?;
        let (class, pixels) = bytes.split_first_chunk::<2>()?;
        let class = u16::from_le_bytes(*class);
        Some(Shot {
            frame: Frame {
                width: self.header.width.into(),
                height: self.header.height.into(),
                format: self.header.format,
                pixels,
            },
            expected: (class != UNKNOWN).then_some(class),
            cut: true,
        })
    }
}

impl FrameSource for Clip<'_> {
    type Error = core::convert::Infallible;

    fn next_shot(&mut self) -> Result<Option<Shot<'_>>, Self::Error> {
        let shot = self.get(self.next);
        self.next += usize::from(shot.is_some());
        Ok(shot)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn two_pictures() -> Vec<u8> {
        let header = ClipHeader { format: PixelFormat::Gray8, width: 2, height: 1, count: 2 };
        let mut bytes = header.to_bytes().unwrap().to_vec();
        bytes.extend_from_slice(&[7, 0, 10, 20]);
        bytes.extend_from_slice(&[255, 255, 30, 40]);
        bytes
    }

    #[test]
    fn pictures_come_in_order_and_then_end() {
        let bytes = two_pictures();
        let mut clip = Clip::parse(&bytes).unwrap();
        assert_eq!(clip.len(), 2);
        let shot = clip.next_shot().unwrap().unwrap();
        assert_eq!((shot.expected, shot.frame.pixels), (Some(7), &[10, 20][..]));
        let shot = clip.next_shot().unwrap().unwrap();
        assert_eq!((shot.expected, shot.frame.pixels), (None, &[30, 40][..]));
        assert!(clip.next_shot().unwrap().is_none());
        assert!(clip.next_shot().unwrap().is_none());
    }

    #[test]
    fn every_pixel_format_has_a_number() {
        for format in PixelFormat::ALL {
            let header = ClipHeader { format, width: 2, height: 1, count: 0 };
            let bytes = header.to_bytes().unwrap();
            assert_eq!(ClipHeader::parse(&bytes).ok(), Some(header));
        }
    }

    #[test]
    fn damage_is_noticed() {
        let good = two_pictures();
        for length in 0..good.len() {
            assert!(Clip::parse(&good[..length]).is_err(), "{length} bytes");
        }
        for (at, value) in [(0, b'X'), (4, 9), (6, 6), (8, 3), (12, 9), (15, 255)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Clip::parse(&bad).is_err(), "byte {at}");
        }
    }
}
