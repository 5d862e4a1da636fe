//! Targets as the loss takes them.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// Target distributions `[batch, classes]` under label smoothing.
pub(crate) fn smoothed<B: Backend>(
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
