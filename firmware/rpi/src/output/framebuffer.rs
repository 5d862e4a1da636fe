//! The picture of the boards' displays on the Linux framebuffer.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use embedded_graphics::geometry::Size;

use crate::error::Error;

/// The extent that the picture is made for; larger screens show it in whole multiples.
const MADE_FOR: Size = Size::new(320, 240);
/// The smallest extent that has room for its parts.
const LEAST: Size = Size::new(160, 128);
/// Longest edge.
const MOST: u32 = 16_384;
/// Longest row, in bytes.
const LONGEST: usize = 8 * MOST as usize;

/// Layout of a framebuffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Extent in pixels.
    size: Size,
    /// Bytes of a pixel: 2 for RGB565, 4 for XRGB8888, both little-endian.
    pixel: usize,
    /// Bytes from one row to the next.
    stride: usize,
}

impl Geometry {
    fn new(width: u32, height: u32, bits: u32, stride: Option<usize>) -> Result<Self, String> {
        if !(1..=MOST).contains(&width) || !(1..=MOST).contains(&height) {
            return Err(format!("{width}x{height} is no extent"));
        }
        let size = Size::new(width, height);
        if width < LEAST.width || height < LEAST.height {
            let (w, h) = (LEAST.width, LEAST.height);
            return Err(format!("{width}x{height} is too small, the picture needs {w}x{h}"));
        }
        let pixel = match bits {
            16 => 2,
            32 => 4,
            _ => return Err(format!("{bits} bits a pixel are not supported, 16 and 32 are")),
        };
        let row = width as usize * pixel;
        match stride.unwrap_or(row) {
            stride if stride < row => {
                Err(format!("a stride of {stride} bytes is less than a row of {row}"))
            }
            stride if stride > LONGEST => {
                Err(format!("a stride of {stride} bytes is more than any has, {LONGEST} at most"))
            }
            stride => Ok(Self { size, pixel, stride }),
        }
    }

    /// What the system says in the folder of a framebuffer.
    fn read(folder: &Path) -> Result<Self, String> {
        let value = |name: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path);
            text.map_err(|reason| format!("cannot read {}: {reason}", path.display()))
        };
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("`{text}`?"));
        let extent = value("virtual_size")?;
        let (width, height) = extent.split_once(',').ok_or(format!("virtual_size `{extent}`?"))?;
        let (width, height) = (number(width)?, number(height)?);
        // There may be more of it than is seen: a second picture below, or columns beside.
        let seen = ["mode", "modes"].iter().find_map(|name| only_mode(&value(name).ok()?));
        let (width, height) = seen.map_or((width, height), |(w, h)| (w.min(width), h.min(height)));
        let stride = number(&value("stride")?)? as usize;
        let bits = number(&value("bits_per_pixel")?)?;
        Self::new(width, height, bits, Some(stride).filter(|&bytes| bytes > 0))
    }

    /// By how much the picture is enlarged.
    fn scale(self) -> u32 {
        (self.size.width / MADE_FOR.width).min(self.size.height / MADE_FOR.height).max(1)
    }
}

/// Columns and rows of `U:1920x1080p-0`, unless there are several such lines.
fn only_mode(text: &str) -> Option<(u32, u32)> {
    let (_, extent) = text.trim().split_once(':').filter(|(_, rest)| !rest.contains('\n'))?;
    let (width, rest) = extent.split_once('x')?;
    let height = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

impl FromStr for Geometry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "not WIDTHxHEIGHTxBITS[:STRIDE]".to_owned();
        let (extent, stride) = match text.split_once(':') {
            Some((extent, stride)) => (extent, Some(stride.parse().map_err(|_| shape())?)),
            None => (text, None),
        };
        let numbers: Result<Vec<u32>, _> = extent.split('x').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[width, height, bits]) => Self::new(width, height, bits, stride),
            _ => Err(shape()),
        }
    }
}

/// A finished picture.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// Its extent.
    pub size: Size,
    /// RGB565, high byte first.
    pub pixels: Vec<u8>,
}

/// A framebuffer.
pub(super) struct Framebuffer {
    file: File,
    path: PathBuf,
    geometry: Geometry,
    /// What is written, all rows.
    rows: Vec<u8>,
}

impl Framebuffer {
    /// Opens a device, whose layout the system knows, or any file.
    pub(super) fn open(path: &Path, geometry: Option<Geometry>) -> Result<Self, Error> {
        let failed = |reason, help| Error::Framebuffer { path: path.to_owned(), reason, help };
        let geometry = match geometry {
            Some(geometry) => geometry,
            None => {
                let name = path.file_name().unwrap_or_default();
                Geometry::read(&Path::new("/sys/class/graphics").join(name)).map_err(|reason| {
                    failed(reason, "say what it is with --framebuffer-geometry WIDTHxHEIGHTxBITS")
                })?
            }
        };
        let file = OpenOptions::new().write(true).open(path).map_err(|reason| {
            failed(
                reason.to_string(),
                "--framebuffer names the device (ls /dev/fb*); its users are in the group `video`: \
                 sudo usermod -aG video $USER",
            )
        })?;
        let rows = vec![0; geometry.stride * geometry.size.height as usize];
        Ok(Self { file, path: path.to_owned(), geometry, rows })
    }

    /// Extent of the picture to draw.
    pub(super) fn screen(&self) -> Size {
        self.geometry.size / self.geometry.scale()
    }

    /// Shows a picture of that extent.
    pub(super) fn show(&mut self, overlay: &Overlay) -> Result<(), Error> {
        fill(&mut self.rows, self.geometry, overlay);
        self.file.write_all_at(&self.rows, 0).map_err(|reason| Error::Framebuffer {
            path: self.path.clone(),
            reason: reason.to_string(),
            help: "is --framebuffer-geometry larger than the screen?",
        })
    }
}

/// Enlarges a picture into rows of a framebuffer.
fn fill(rows: &mut [u8], geometry: Geometry, overlay: &Overlay) {
    let Geometry { size, pixel, stride } = geometry;
    let scale = geometry.scale() as usize;
    let line = overlay.size.width as usize * picovit_app::screen::PIXEL_BYTES;
    for (source, rows) in overlay.pixels.chunks_exact(line).zip(rows.chunks_mut(stride * scale)) {
        let (first, others) = rows.split_at_mut(stride);
        let pixels = first[..size.width as usize * pixel].chunks_mut(pixel * scale);
        for (rgb565, places) in source.as_chunks::<2>().0.iter().zip(pixels) {
            let value = u16::from_be_bytes(*rgb565);
            for place in places.chunks_exact_mut(pixel) {
                if pixel == 2 {
                    place.copy_from_slice(&value.to_le_bytes());
                } else {
                    place.copy_from_slice(&wide(value).to_le_bytes());
                }
            }
        }
        others.chunks_exact_mut(stride).for_each(|row| row.copy_from_slice(first));
    }
}

/// XRGB8888 of RGB565, the lowest bits filled up with the highest.
fn wide(value: u16) -> u32 {
    let value = u32::from(value);
    let (r, g, b) = (value >> 11, value >> 5 & 63, value & 31);
    (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | b << 3 | b >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_are_read() {
        let full = "1920x1080x32".parse::<Geometry>().unwrap();
        assert_eq!((full.pixel, full.stride, full.scale()), (4, 7680, 4));
        assert_eq!(full.size / full.scale(), Size::new(480, 270));
        let small = "320x240x16:1024".parse::<Geometry>().unwrap();
        assert_eq!((small.pixel, small.stride, small.scale()), (2, 1024, 1));
        for (text, reason) in [
            ("320x240", "not WIDTH"),
            ("320x240x24", "24 bits"),
            ("320x240x16:100", "less than a row"),
            ("320x240x16:18446744073709551615", "more than any has"),
            ("64x64x16", "too small"),
            ("0x0x16", "no extent"),
            ("320x240x16:x", "not WIDTH"),
        ] {
            assert!(text.parse::<Geometry>().unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn the_system_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        file("virtual_size", "800,480\n");
        file("bits_per_pixel", "16\n");
        assert!(Geometry::read(folder.path()).unwrap_err().contains("stride"));
        file("stride", "1664\n");
        let geometry = Geometry::read(folder.path()).unwrap();
        assert_eq!(geometry, "800x480x16:1664".parse().unwrap());

        // What is seen counts; with several modes it is not known.
        file("virtual_size", "832,960\n");
        file("mode", "\n");
        file("modes", "U:800x480p-60\n");
        assert_eq!(Geometry::read(folder.path()).unwrap(), geometry);
        file("modes", "U:800x480p-60\nU:640x480p-60\n");
        let all = "832x960x16:1664".parse().unwrap();
        assert_eq!(Geometry::read(folder.path()).unwrap(), all);
        file("mode", "D:640x480p-60\n");
        let current = "640x480x16:1664".parse().unwrap();
        assert_eq!(Geometry::read(folder.path()).unwrap(), current);
    }

    #[test]
    fn pixels_are_enlarged_into_their_rows() {
        // Twice as large, one column and one row too many, rows 8 bytes apart.
        for (bits, red, blue) in
            [(16, &[0x00, 0xF8][..], &[0x1F, 0x00][..]), (32, &[0, 0, 0xFF, 0], &[0xFF, 0, 0, 0])]
        {
            let mut geometry: Geometry = format!("641x481x{bits}").parse().unwrap();
            geometry.stride += 8;
            assert_eq!(geometry.scale(), 2);
            let size = geometry.size / 2;
            let pixels = [[0xF8, 0x00], [0x00, 0x1F]].concat().repeat(320 * 240 / 2);
            let mut rows = vec![7; geometry.stride * 481];
            fill(&mut rows, geometry, &Overlay { size, pixels });
            for row in rows.chunks(geometry.stride).take(480) {
                let expected = [red, red, blue, blue].concat();
                assert_eq!(row[..4 * geometry.pixel], expected);
                assert_eq!(row[640 * geometry.pixel..], vec![7; geometry.pixel + 8]);
            }
            assert_eq!(rows[480 * geometry.stride..], vec![7; geometry.stride]);
        }
    }
}
