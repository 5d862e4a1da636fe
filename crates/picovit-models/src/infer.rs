//! Float inference on raw pixels.

use std::path::Path;

use burn::backend::Flex;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::config::ModelConfig;
use crate::network::Network;
use crate::record::{self, RecordError};

/// A checkpoint's network on Burn's backend `flex`, for programs that do not know Burn.
#[derive(Debug)]
pub struct FlexNetwork {
    model: Network<Flex>,
    config: ModelConfig,
}

impl FlexNetwork {
    /// Loads a checkpoint with its configuration.
    ///
    /// # Errors
    /// If a file is missing, is no record, or holds another network than its configuration says.
    pub fn load(path: &Path) -> Result<Self, RecordError> {
        let (model, config) = record::load(path, &Default::default())?;
        Ok(Self { model, config })
    }

    /// Logits of an image of raw pixels, `[height][width][channels]`.
    ///
    /// # Panics
    /// If the image has another size.
    #[must_use]
    pub fn logits(&self, pixels: &[u8]) -> Vec<f32> {
        let rows = float_logits(&self.model, &self.config, pixels, 1, &Default::default());
        rows.into_iter().next().expect("an image")
    }
}

/// Normalised images `[batch, channels, height, width]` from raw pixels
/// `[batch][height][width][channels]`.
///
/// # Panics
/// If the pixels are not whole images.
pub fn normalize<B: Backend>(
    config: &ModelConfig,
    pixels: &[u8],
    device: &B::Device,
) -> Tensor<B, 4> {
    let (height, width) = (config.image_size.height, config.image_size.width);
    let (channels, area) = (config.channels, height * width);
    let len = channels * area;
    assert!(pixels.len().is_multiple_of(len), "{} bytes are no images of {len}", pixels.len());
    let table = |channel: usize| -> Vec<f32> {
        let (mean, std) = (config.mean[channel], config.std[channel]);
        (0..=255u8).map(|value| (f32::from(value) / 255.0 - mean) / std).collect()
    };
    let tables: Vec<_> = (0..channels).map(table).collect();
    let mut values = vec![0.0; pixels.len()];
    for (image, output) in pixels.chunks_exact(len).zip(values.chunks_exact_mut(len)) {
        for (channel, table) in tables.iter().enumerate() {
            let plane = &mut output[channel * area..][..area];
            let source = image.iter().skip(channel).step_by(channels);
            plane.iter_mut().zip(source).for_each(|(v, &pixel)| *v = table[usize::from(pixel)]);
        }
    }
    let shape = [pixels.len() / len, channels, height, width];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Logits of every image, from raw pixels `[image][height][width][channels]`, `batch_size`
/// images at a time.
///
/// # Panics
/// If the pixels are not whole images.
pub fn float_logits<B: Backend>(
    model: &Network<B>,
    config: &ModelConfig,
    pixels: &[u8],
    batch_size: usize,
    device: &B::Device,
) -> Vec<Vec<f32>> {
    let len = config.channels * config.image_size.height * config.image_size.width;
    let mut rows = Vec::with_capacity(pixels.len() / len);
    for batch in pixels.chunks(batch_size.max(1) * len) {
        let logits = model.forward(normalize::<B>(config, batch, device));
        let values: Vec<f32> = logits.into_data().convert::<f32>().to_vec().expect("floats");
        rows.extend(values.chunks_exact(config.classes).map(<[f32]>::to_vec));
    }
    rows
}
