//! Data sets in memory, and where they come from.

mod error;
mod fit;
mod idx;
mod source;

pub use error::DataError;
pub use source::{DataKind, DataSource, Split};

/// Labelled images of one size.
#[derive(Clone, Debug, PartialEq)]
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
        let mut selected = Self { pixels: vec![], labels: vec![], ..self.clone_header() };
        for &index in indices {
            selected.pixels.extend_from_slice(self.image(index));
            selected.labels.push(self.labels[index]);
        }
        selected
    }

    /// The images at the size a model takes: smaller ones are centred on black, larger ones
    /// are cropped to its aspect ratio and averaged down; grey and colour are converted.
    #[must_use]
    pub fn fit(&self, height: usize, width: usize, channels: usize) -> Self {
        if (self.height, self.width, self.channels) == (height, width, channels) {
            return self.clone();
        }
        let pixels = (0..self.len()).flat_map(|index| {
            let size = [self.height, self.width, self.channels];
            fit::fit(self.image(index), size, [height, width, channels])
        });
        let pixels = pixels.collect();
        Self { height, width, channels, pixels, labels: self.labels.clone(), ..self.clone_header() }
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

    fn clone_header(&self) -> Self {
        Self {
            name: self.name.clone(),
            pixels: vec![],
            labels: vec![],
            class_names: self.class_names.clone(),
            ..*self
        }
    }
}
