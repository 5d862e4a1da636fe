//! The board's display as PNG files.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Pictures that are no PNG, by the ends of their names.
const OTHERS: [&str; 10] =
    ["apng", "bmp", "gif", "jpeg", "jpg", "pgm", "ppm", "tif", "tiff", "webp"];

/// Where overlays go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// One file, for the last picture.
    File(PathBuf),
    /// A folder, for all pictures.
    Folder(PathBuf),
}

impl Destination {
    /// A path that ends in `.png` is a file, any other a folder.
    ///
    /// # Errors
    /// If it ends as a picture of another kind does.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let is = |kind: &str| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(kind));
        if is("png") {
            return Ok(Self::File(path.to_owned()));
        }
        if OTHERS.iter().any(|kind| is(kind)) && !path.is_dir() {
            return Err(Error::NoPng { path: path.to_owned() });
        }
        Ok(Self::Folder(path.to_owned()))
    }

    /// Writes pictures of this size, RGB565 with the high byte first, one after the other.
    pub(crate) fn write(&self, pixels: &[u8], (width, height): (u32, u32)) -> Result<(), Error> {
        let frame_bytes = (width * height) as usize * 2;
        let frames = pixels.chunks_exact(frame_bytes.max(1));
        match self {
            Self::File(path) => match frames.last() {
                Some(frame) => write_png(path, frame, width, height),
                None => Ok(()),
            },
            Self::Folder(folder) => {
                for (index, frame) in frames.enumerate() {
                    let path = folder.join(format!("overlay-{index:04}.png"));
                    write_png(&path, frame, width, height)?;
                }
                Ok(())
            }
        }
    }
}

fn write_png(path: &Path, frame: &[u8], width: u32, height: u32) -> Result<(), Error> {
    let failed = Error::file("write", path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(&failed)?;
    }
    let rgb: Vec<u8> = frame.chunks_exact(2).flat_map(|pair| rgb888([pair[0], pair[1]])).collect();
    let file = File::create(path).map_err(&failed)?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&rgb)?;
        writer.finish()
    });
    written.map_err(|error| failed(std::io::Error::other(error)))
}

fn rgb888(pixel: [u8; 2]) -> [u8; 3] {
    let value = u32::from(u16::from_be_bytes(pixel));
    let widen = |value: u32, max: u32| ((value * 255 + max / 2) / max) as u8;
    [widen(value >> 11, 31), widen(value >> 5 & 63, 63), widen(value & 31, 31)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_widened() {
        assert_eq!(rgb888([0xff, 0xff]), [255; 3]);
        assert_eq!(rgb888([0, 0]), [0; 3]);
        assert_eq!(rgb888([0xf8, 0]), [255, 0, 0]);
        assert_eq!(rgb888([0x07, 0xe0]), [0, 255, 0]);
        assert_eq!(rgb888([0, 0x1f]), [0, 0, 255]);
    }

    #[test]
    fn files_and_folders_are_told_apart_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let pixels = [0xf8, 0, 0, 0x1f, 0x07, 0xe0, 0, 0];
        let file = dir.path().join("new/last.png");
        Destination::new(&file).unwrap().write(&pixels, (2, 1)).unwrap();
        let decoder = png::Decoder::new(std::io::BufReader::new(File::open(file).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut rgb = [0; 6];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(rgb, [0, 255, 0, 0, 0, 0]);

        let folder = dir.path().join("all");
        Destination::new(&folder).unwrap().write(&pixels, (2, 1)).unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);

        for name in ["x.gif", "x.JPG"] {
            let error = Destination::new(&dir.path().join(name)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        // One that is there is meant.
        let folder = dir.path().join("there.gif");
        fs::create_dir(&folder).unwrap();
        assert_eq!(Destination::new(&folder).unwrap(), Destination::Folder(folder));
    }
}
