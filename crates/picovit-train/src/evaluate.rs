//! Float inference over whole data sets.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use picovit_models::{float_logits, record};

use crate::backend::{BackendChoice, Task};
use crate::data::Dataset;
use crate::error::TrainError;
use crate::step::argmax;

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
/// If the checkpoint cannot be loaded, the backend is not compiled in or has no device, or the data set has
/// another number of classes.
pub fn evaluate(
    checkpoint: &Path,
    data: &Dataset,
    batch_size: usize,
    backend: BackendChoice,
) -> Result<Evaluation, TrainError> {
    backend.dispatch(1, Evaluate { checkpoint, data, batch_size })?
}

struct Evaluate<'a> {
    checkpoint: &'a Path,
    data: &'a Dataset,
    batch_size: usize,
}

impl Task for Evaluate<'_> {
    type Output = Result<Evaluation, TrainError>;

    fn run<B: AutodiffBackend>(self, devices: &[B::Device]) -> Self::Output {
        let device = &devices[0];
        let (model, config) = record::load::<B::InnerBackend>(self.checkpoint, device)?;
        let (size, classes) = (config.image_size, config.classes);
        if self.data.class_names.len() != classes {
            return Err(TrainError::Classes {
                checkpoint: self.checkpoint.into(),
                classes,
                data: self.data.name.clone(),
                found: self.data.class_names.len(),
            });
        }
        let data = self.data.fit(size.height, size.width, config.channels);
        let logits = float_logits(&model, &config, &data.pixels, self.batch_size, device);
        let answers = logits.iter().zip(&self.data.labels);
        let correct = answers.filter(|(row, label)| argmax(row) == usize::from(**label)).count();
        let top1 = correct as f64 / self.data.len().max(1) as f64;
        Ok(Evaluation { top1, correct, logits })
    }
}
