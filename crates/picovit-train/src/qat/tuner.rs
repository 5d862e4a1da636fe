//! The state of quantization-aware training.

use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use picovit_compiler::Calibration;
use picovit_models::{ModelConfig, Network, NoTaps, lower, normalize};

use super::chip::{Chip, Int8Metrics, calibrate};
use super::options::Qat;
use super::straight_through::StraightThrough;
use crate::data::Dataset;
use crate::distill::{divergence, weighted};
use crate::error::TrainError;
use crate::step::cross_entropy;

/// Quantizes the network as it changes, and computes its loss on the engine's values.
pub(crate) struct Tuner<'a, B: AutodiffBackend> {
    qat: Qat,
    config: &'a ModelConfig,
    images: &'a Dataset,
    /// The network the run starts from.
    teacher: Network<B::InnerBackend>,
    /// Ranges of the epoch.
    calibration: Option<Calibration>,
    /// The artifact of the last quantization.
    chip: Option<Chip>,
}

impl<'a, B: AutodiffBackend> Tuner<'a, B> {
    pub(crate) fn new(
        qat: Qat,
        config: &'a ModelConfig,
        images: &'a Dataset,
        teacher: Network<B::InnerBackend>,
    ) -> Self {
        Self { qat, config, images, teacher, calibration: None, chip: None }
    }

    fn ranges<M: Backend>(&self, model: &Network<M>) -> Calibration {
        let images: Vec<&[u8]> = (0..self.images.len()).map(|i| self.images.image(i)).collect();
        calibrate(&lower(model, self.config), &images)
    }

    /// Calibrates the ranges that hold for the next epoch.
    pub(crate) fn start_epoch(&mut self, model: &Network<B>) {
        self.calibration = Some(self.ranges(model));
        self.chip = None;
    }

    /// Quantizes the network where it is due before this step of the epoch, counted from 0.
    pub(crate) fn start_step(&mut self, step: usize, model: &Network<B>) -> Result<(), TrainError> {
        if self.chip.is_some() && !step.is_multiple_of(self.qat.every) {
            return Ok(());
        }
        let calibration = self.calibration.as_ref().expect("an epoch starts with its ranges");
        self.chip = Some(Chip::new(lower(model, self.config), calibration)?);
        Ok(())
    }

    /// Logits of the engine and the loss, for raw pixels and target distributions.
    pub(crate) fn forward(
        &self,
        model: &Network<B>,
        pixels: &[u8],
        targets: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 1>) {
        let device = targets.device();
        let images = normalize::<B>(self.config, pixels, &device);
        let chip = self.chip.as_ref().expect("a step starts with its artifact");
        let each: Vec<&[u8]> = pixels.chunks_exact(pixels.len() / images.dims()[0]).collect();
        let mut taps = StraightThrough::new(chip.observe(&each));
        let logits = model.forward_tapped(images.clone(), &mut taps);
        debug_assert_eq!(taps.rest().collect::<Vec<_>>(), Vec::<&str>::new(), "no tap took these");

        let Qat { distill, float_share, .. } = self.qat;
        let teacher = (distill > 0.0)
            .then(|| Tensor::from_inner(self.teacher.forward(images.clone().inner())));
        let loss = |logits: Tensor<B, 2>| {
            let learned = teacher.clone().map(|teacher| divergence(teacher, logits.clone(), 1.0));
            let labels = (distill < 1.0).then(|| cross_entropy(logits, targets.clone()));
            weighted(learned, labels, distill)
        };
        let float = (float_share > 0.0).then(|| loss(model.forward_tapped(images, &mut NoTaps)));
        let int8 = (float_share < 1.0).then(|| loss(logits.clone()));
        (logits, weighted(float, int8, float_share))
    }

    /// How the int8 artifact of a network does, with ranges of its own.
    pub(crate) fn evaluate<M: Backend>(
        &self,
        model: &Network<M>,
        data: &Dataset,
    ) -> Result<Int8Metrics, TrainError> {
        let chip = Chip::new(lower(model, self.config), &self.ranges(model))?;
        let images = (0..data.len()).map(|i| (data.image(i), usize::from(data.labels[i])));
        Ok(chip.evaluate(&images.collect::<Vec<_>>()))
    }
}
