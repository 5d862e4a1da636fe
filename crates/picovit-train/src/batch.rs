//! Images and targets as the network takes them.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use picovit_models::ModelConfig;

/// Normalised images `[batch, channels, height, width]` from bytes `[batch][height][width][channels]`.
pub(crate) fn images<B: Backend>(
    config: &ModelConfig,
    pixels: &[u8],
    device: &B::Device,
) -> Tensor<B, 4> {
    let (height, width) = (config.image_size.height, config.image_size.width);
    let (channels, area) = (config.channels, height * width);
    let batch = pixels.len() / (area * channels);
    let tables: Vec<Vec<f32>> = (0..channels)
        .map(|channel| {
            let (mean, std) = (config.mean[channel], config.std[channel]);
            (0..=255u8).map(|value| (f32::from(value) / 255.0 - mean) / std).collect()
        })
        .collect();
    let mut values = vec![0.0; pixels.len()];
    for (image, output) in
        pixels.chunks_exact(area * channels).zip(values.chunks_exact_mut(area * channels))
    {
        for (channel, table) in tables.iter().enumerate() {
            let plane = &mut output[channel * area..][..area];
            let source = image.iter().skip(channel).step_by(channels);
            plane.iter_mut().zip(source).for_each(|(v, &pixel)| *v = table[usize::from(pixel)]);
        }
    }
    Tensor::from_data(TensorData::new(values, [batch, channels, height, width]), device)
}

/// Target distributions `[batch, classes]` under label smoothing.
pub(crate) fn targets<B: Backend>(
    labels: &[u16],
    classes: usize,
    smoothing: f32,
    device: &B::Device,
) -> Tensor<B, 2> {
    let mut values = vec![smoothing / classes as f32; labels.len() * classes];
    for (row, &label) in values.chunks_exact_mut(classes).zip(labels) {
        row[usize::from(label)] += 1.0 - smoothing;
    }
    Tensor::from_data(TensorData::new(values, [labels.len(), classes]), device)
}
