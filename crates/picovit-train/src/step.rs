//! One step of training.

use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, FloatDType, Tensor, TensorData};
use picovit_models::{ModelConfig, Network, normalize, with_products_in};

use crate::batch::Batch;
use crate::distill::Teachers;
use crate::graphs::Building;
use crate::qat::Tuner;
use crate::shard::Shard;
use crate::targets;

/// Sums over the images of one or more batches; the loss of a single batch is its mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchResult {
    pub(crate) loss: f64,
    pub(crate) correct: usize,
}

/// Means over images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
}

impl BatchResult {
    pub(crate) fn per(self, images: usize) -> Score {
        let images = images.max(1) as f64;
        Score { loss: self.loss / images, accuracy: self.correct as f64 / images }
    }
}

/// A batch, or a device's part of one: forward under dropout, and backward.
pub(crate) struct Step<'a, B: AutodiffBackend> {
    pub(crate) config: &'a ModelConfig,
    /// Batches whose gradients are added up for one update.
    pub(crate) accumulate: usize,
    /// Whether matrix products are computed on bf16 values.
    pub(crate) mixed: bool,
    /// Who knows better, on the same device.
    pub(crate) teachers: Option<&'a Teachers<B::InnerBackend>>,
    pub(crate) device: &'a B::Device,
}

impl<B: AutodiffBackend> Step<'_, B> {
    /// The part's share of the step's gradients, and its own result.
    pub(crate) fn run(
        &self,
        model: &Network<B>,
        shard: Shard,
        tuner: Option<&Tuner<'_, B>>,
    ) -> (GradientsParams, BatchResult) {
        let Shard { batch: Batch { pixels, labels, targets }, masks, share } = shard;
        let building = Building::start();
        let targets = TensorData::new(targets, [labels.len(), self.config.classes]);
        let targets = Tensor::from_data(targets, self.device);
        let (logits, loss) = match tuner {
            Some(tuner) => tuner.forward(model, &pixels, targets),
            None => {
                let images = normalize::<B>(self.config, &pixels, self.device);
                let masks = masks.into_tensors(self.device);
                let logits = match self.mixed {
                    true => {
                        let model = with_products_in(model.clone(), FloatDType::BF16);
                        model.forward_masked(images, masks)
                    }
                    false => model.forward_masked(images, masks),
                };
                let labels = cross_entropy(logits.clone(), targets);
                let loss = match self.teachers {
                    Some(teachers) => teachers.loss(&pixels, logits.clone(), labels),
                    None => labels,
                };
                (logits, loss)
            }
        };
        let answers = logits.inner();
        let value = loss.clone().inner();
        let divisor = self.accumulate as f64 / share;
        let part = if divisor == 1.0 { loss } else { loss / divisor };
        let gradients = GradientsParams::from_grads(building.backward(part), model);
        // Reading waits for the device, so it comes when all work has been handed over.
        let correct = correct(answers, &labels);
        (gradients, BatchResult { loss: value.into_scalar().elem(), correct })
    }
}

/// Mean cross entropy against target distributions.
pub(crate) fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 2>,
) -> Tensor<B, 1> {
    let [batch, _] = targets.dims();
    (log_softmax(logits, 1) * targets).sum().neg() / batch as f64
}

/// Loss and correct answers over a data set, summed, without dropout and smoothing.
pub(crate) fn validate<B: Backend>(
    model: &Network<B>,
    config: &ModelConfig,
    data: &crate::data::Dataset,
    batch_size: usize,
    device: &B::Device,
) -> BatchResult {
    let mut total = BatchResult::default();
    for (labels, pixels) in
        data.labels.chunks(batch_size).zip(data.pixels.chunks(batch_size * data.image_len()))
    {
        let logits = model.forward(normalize::<B>(config, pixels, device));
        total.correct += correct(logits.clone(), labels);
        let targets = targets::smoothed(labels, config.classes, 0.0);
        let targets = Tensor::from_data(TensorData::new(targets, logits.dims()), device);
        let loss = cross_entropy(logits, targets).into_scalar().elem::<f64>();
        total.loss += loss * labels.len() as f64;
    }
    total
}

/// Number of rows whose largest logit is the label's.
fn correct<B: Backend>(logits: Tensor<B, 2>, labels: &[u16]) -> usize {
    let [_, classes] = logits.dims();
    let logits: Vec<f32> = logits.into_data().convert::<f32>().to_vec().expect("floats");
    let rows = logits.chunks_exact(classes).zip(labels);
    rows.filter(|(row, label)| argmax(row) == usize::from(**label)).count()
}

/// Index of the largest value; the first of equals.
pub(crate) fn argmax(values: &[f32]) -> usize {
    let best = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (1..values.len()).fold(0, best)
}
