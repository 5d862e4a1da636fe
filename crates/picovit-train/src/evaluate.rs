//! Float inference over whole data sets.

use std::path::Path;

use burn::tensor::backend::{AutodiffBackend, Backend};
use picovit_models::{Cct, ModelConfig, record};

use crate::backend::{BackendChoice, Task};
use crate::batch;
use crate::data::Dataset;
use crate::step::argmax;
use crate::train::TrainError;

/// How a network does on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Share of correct answers.
    pub top1: f64,
    /// Number of correct answers.
    pub correct: usize,
    /// `[classes]` logits of every image.
    pub logits: Vec<Vec<f32>>,
}

/// Evaluates a checkpoint on a data set, whose images are fitted to the model's size.
///
/// # Errors
/// If the checkpoint cannot be loaded or the backend is not compiled in.
pub fn evaluate(
    checkpoint: &Path,
    data: &Dataset,
    batch_size: usize,
    backend: BackendChoice,
) -> Result<Evaluation, TrainError> {
    backend.dispatch(Evaluate { checkpoint, data, batch_size })?
}

struct Evaluate<'a> {
    checkpoint: &'a Path,
    data: &'a Dataset,
    batch_size: usize,
}

impl Task for Evaluate<'_> {
    type Output = Result<Evaluation, TrainError>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let (model, config) = record::load::<B::InnerBackend>(self.checkpoint, device)?;
        let logits = logits(&model, &config, self.data, self.batch_size, device);
        let answers = logits.iter().zip(&self.data.labels);
        let correct = answers.filter(|(row, label)| argmax(row) == usize::from(**label)).count();
        let top1 = correct as f64 / self.data.len().max(1) as f64;
        Ok(Evaluation { top1, correct, logits })
    }
}

/// Logits of every image of a data set.
pub fn logits<B: Backend>(
    model: &Cct<B>,
    config: &ModelConfig,
    data: &Dataset,
    batch_size: usize,
    device: &B::Device,
) -> Vec<Vec<f32>> {
    let size = config.image_size;
    let data = data.fit(size.height, size.width, config.channels);
    let mut rows = Vec::with_capacity(data.len());
    for pixels in data.pixels.chunks(batch_size * data.image_len()) {
        let logits = model.forward(batch::images::<B>(config, pixels, device));
        let values: Vec<f32> = logits.into_data().convert::<f32>().to_vec().expect("floats");
        rows.extend(values.chunks_exact(config.classes).map(<[f32]>::to_vec));
    }
    rows
}
