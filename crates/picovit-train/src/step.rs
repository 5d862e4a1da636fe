//! One step of training.

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};
use picovit_models::{ModelConfig, Network, normalize};

use crate::masks;
use crate::options::TrainOptions;
use crate::random::Random;
use crate::targets;

pub(crate) type Adam<B> = OptimizerAdaptor<AdamW, Network<B>, B>;

/// AdamW as PyTorch sets it up; every parameter decays.
pub(crate) fn optimizer<B: AutodiffBackend>(options: &TrainOptions) -> Adam<B> {
    AdamWConfig::new()
        .with_epsilon(1e-8)
        .with_weight_decay(options.weight_decay as f32)
        .init::<B, Network<B>>()
}

/// Mean loss and number of correct answers of one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchResult {
    pub(crate) loss: f64,
    pub(crate) correct: usize,
}

/// One batch: forward under dropout, backward, update.
pub(crate) struct Step<'a, B: AutodiffBackend> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) smoothing: f32,
    pub(crate) device: &'a B::Device,
}

impl<B: AutodiffBackend> Step<'_, B> {
    pub(crate) fn run(
        &self,
        model: Network<B>,
        optimizer: &mut Adam<B>,
        rate: f64,
        pixels: &[u8],
        labels: &[u16],
        random: &mut Random,
    ) -> (Network<B>, BatchResult) {
        let images = normalize::<B>(self.config, pixels, self.device);
        let masks = masks::draw(self.config, labels.len(), random, self.device);
        let logits = model.forward_masked(images, masks);
        let correct = correct(logits.clone().inner(), labels);
        let targets = targets::smoothed(labels, self.config.classes, self.smoothing, self.device);
        let loss = cross_entropy(logits, targets);
        let value = loss.clone().inner().into_scalar().elem::<f64>();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let model = optimizer.step(rate, model, gradients);
        (model, BatchResult { loss: value, correct })
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

/// Loss and correct answers over a data set, without dropout and smoothing.
pub(crate) fn validate<B: AutodiffBackend>(
    model: &Network<B>,
    config: &ModelConfig,
    data: &crate::data::Dataset,
    batch_size: usize,
    device: &B::Device,
) -> BatchResult {
    let model = model.valid();
    let mut total = BatchResult::default();
    for (labels, pixels) in
        data.labels.chunks(batch_size).zip(data.pixels.chunks(batch_size * data.image_len()))
    {
        let images = normalize::<B::InnerBackend>(config, pixels, device);
        let logits = model.forward(images);
        total.correct += correct(logits.clone(), labels);
        let targets = targets::smoothed(labels, config.classes, 0.0, device);
        let loss = cross_entropy(logits, targets).into_scalar().elem::<f64>();
        total.loss += loss * labels.len() as f64;
    }
    total.loss /= data.len().max(1) as f64;
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
