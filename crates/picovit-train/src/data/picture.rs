//! Image files as pixels.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader};
use picovit::image::MAX_EDGE;

use super::{DataError, fit_image, image_files};
use crate::random::{Random, Stream};

/// Appends an image file's pixels, fitted to a model's input by the engine's own rules, see
/// [`Dataset::fit`](super::Dataset::fit): upright, as the camera noted (EXIF), and made smaller first
/// where it is larger than what the engine takes.
///
/// # Errors
/// If the file cannot be read or decoded.
pub fn read_image(
    path: &Path,
    size: (usize, usize, usize),
    output: &mut Vec<u8>,
) -> Result<(), DataError> {
    let undecodable = |source| DataError::Image { path: path.into(), source };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut decoder = reader.map_err(DataError::read(path))?.into_decoder().map_err(undecodable)?;
    let orientation = decoder.orientation().map_err(undecodable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    image.apply_orientation(orientation);
    let most = MAX_EDGE as u32;
    if image.width().max(image.height()) > most {
        image = image.thumbnail(most, most);
    }
    let (rows, columns) = (image.height() as usize, image.width() as usize);
    let (pixels, channels) = match image.color().has_color() {
        true => (image.into_rgb8().into_raw(), 3),
        false => (image.into_luma8().into_raw(), 1),
    };
    fit_image(&pixels, (rows, columns, channels), size, output)
        .map_err(|error| DataError::format(path, error.to_string()))
}

/// Up to `count` image files below a folder, of all its parts: the first of an order that is the same
/// every time.
///
/// # Errors
/// If a folder cannot be read, or there is no image.
pub fn sample_files(folder: &Path, count: usize) -> Result<Vec<PathBuf>, DataError> {
    let mut files = image_files(folder)?;
    Random::new(0, 0, Stream::Calibration).shuffle(&mut files);
    files.truncate(count);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
    use tempfile::tempdir;

    use super::*;

    fn read(path: &Path, height: usize, width: usize) -> Vec<u8> {
        let mut pixels = vec![];
        read_image(path, (height, width, 3), &mut pixels).unwrap();
        pixels
    }

    #[test]
    fn a_picture_stands_upright() {
        let dir = tempdir().unwrap();
        // Red above blue; the same lying on its side, with a note to turn it by a quarter.
        let upright =
            RgbImage::from_fn(8, 16, |_, y| Rgb(if y < 8 { [255, 0, 0] } else { [0, 0, 255] }));
        let lying = image::imageops::rotate270(&upright);
        let (plain, noted) = (dir.path().join("plain.png"), dir.path().join("noted.png"));
        upright.save(&plain).unwrap();
        let mut encoder = PngEncoder::new(File::create(&noted).unwrap());
        // TIFF, little-endian, one entry: orientation (0x0112), one 16-bit number, 6.
        let exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&lying, 16, 8, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(read(&noted, 16, 8), read(&plain, 16, 8));
    }

    #[test]
    fn a_picture_larger_than_what_the_engine_takes_is_made_smaller() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("large.png");
        let width = MAX_EDGE as u32 + 904;
        let half = |x, _| Rgb(if x < width / 2 { [200; 3] } else { [40; 3] });
        RgbImage::from_fn(width, 8, half).save(&path).unwrap();
        let pixels = read(&path, 4, 4);
        // A square from the middle: both halves.
        assert_eq!(pixels.len(), 48);
        assert!(pixels[0] > 150 && pixels[11] < 90, "{pixels:?}");
    }

    #[test]
    fn a_sample_is_of_all_folders_and_the_same_every_time() {
        let dir = tempdir().unwrap();
        for class in ["a", "b", "c"] {
            fs::create_dir(dir.path().join(class)).unwrap();
            for i in 0..40 {
                fs::write(dir.path().join(class).join(format!("{i:02}.png")), "").unwrap();
            }
        }
        let sample = sample_files(dir.path(), 30).unwrap();
        assert_eq!(sample, sample_files(dir.path(), 30).unwrap());
        for class in ["a", "b", "c"] {
            let of_it = sample.iter().filter(|file| file.parent().unwrap().ends_with(class));
            assert!(of_it.count() >= 4, "{class}: {sample:?}");
        }
        assert_eq!(sample_files(dir.path(), 500).unwrap().len(), 120);
    }
}
