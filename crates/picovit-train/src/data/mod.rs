//! Data sets in memory, and where they come from.

mod cifar;
mod error;
mod fashion;
mod folder;
mod idx;
mod picture;
mod source;

use picovit::image::{Frame, ImageError, PixelFormat, fit};

pub use error::DataError;
pub use fashion::export_calibration;
pub use folder::image_files;
pub(crate) use folder::is_split;
pub use picture::{read_image, sample_files};
pub use source::{DataKind, DataSource, Split};

/// Labelled images of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name (`fashion-mnist`).
    pub name: String,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Values per pixel: 1 or 3.
    pub channels: usize,
    /// All images, `[image][height][width][channels]`.
    pub pixels: Vec<u8>,
    /// Class of every image.
    pub labels: Vec<u16>,
    /// Class names in label order.
    pub class_names: Vec<String>,
}

impl Dataset {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// One image, `[height][width][channels]`.
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_len()..][..self.image_len()]
    }

    /// The images at `indices`, in that order.
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let images = indices.iter().map(|&index| self.image(index));
        let pixels = images.collect::<Vec<_>>().concat();
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        self.with(self.height, self.width, self.channels, pixels, labels)
    }

    /// The images as a model takes them, by the engine's own rules: smaller ones are centred on
    /// black, larger ones are cropped to its aspect ratio and averaged down, grey and colour are
    /// converted.
    ///
    /// # Panics
    /// If the size is none that the engine supports.
    #[must_use]
    pub fn fit(&self, height: usize, width: usize, channels: usize) -> Self {
        if (self.height, self.width, self.channels) == (height, width, channels) {
            return self.clone();
        }
        let mut pixels = Vec::with_capacity(self.len() * height * width * channels);
        for index in 0..self.len() {
            let size = (self.height, self.width, self.channels);
            fit_image(self.image(index), size, (height, width, channels), &mut pixels)
                .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
        self.with(height, width, channels, pixels, self.labels.clone())
    }

    /// Per-channel mean and standard deviation of all pixels, in 0..1 units.
    #[must_use]
    pub fn statistics(&self) -> (Vec<f32>, Vec<f32>) {
        let mut sums = vec![(0u64, 0u64); self.channels];
        for pixel in self.pixels.chunks_exact(self.channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                sum.0 += u64::from(value);
                sum.1 += u64::from(value).pow(2);
            }
        }
        let count = (self.pixels.len() / self.channels).max(1) as f64;
        let statistics = sums.into_iter().map(|(sum, squares)| {
            let mean = sum as f64 / count;
            let variance = (squares as f64 / count - mean * mean).max(1.0);
            ((mean / 255.0) as f32, (variance.sqrt() / 255.0) as f32)
        });
        statistics.unzip()
    }

    /// Other images of the same data set.
    fn with(
        &self,
        height: usize,
        width: usize,
        channels: usize,
        pixels: Vec<u8>,
        labels: Vec<u16>,
    ) -> Self {
        let (name, class_names) = (self.name.clone(), self.class_names.clone());
        Self { name, height, width, channels, pixels, labels, class_names }
    }
}

/// Fits one image and appends it.
fn fit_image(
    image: &[u8],
    from: (usize, usize, usize),
    to: (usize, usize, usize),
    output: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let format = if from.2 == 1 { PixelFormat::Gray8 } else { PixelFormat::Rgb888 };
    let frame = Frame { width: from.1, height: from.0, format, pixels: image };
    let mut fitted = vec![0i8; to.0 * to.1 * to.2];
    fit(&frame, to.0, to.1, to.2, &mut fitted)?;
    // The engine's input is the pixel minus 128.
    output.extend(fitted.into_iter().map(|value| value as u8 ^ 0x80));
    Ok(())
}
