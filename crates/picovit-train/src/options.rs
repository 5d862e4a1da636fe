//! What a training run is told.

use std::path::PathBuf;

use picovit_models::ModelConfig;
use serde::{Deserialize, Serialize};

use crate::augment::{Augment, Mix};
use crate::data::DataSource;
use crate::distill::Distillation;
use crate::optimizer::OptimizerKind;
use crate::qat::Qat;
use crate::schedule::ScheduleKind;

/// A training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// The network. Channels, classes, labels, normalisation and data set name are taken from
    /// the data.
    pub model: ModelConfig,
    /// The data.
    pub data: DataSource,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per pass through the network.
    pub batch_size: usize,
    /// Batches whose gradients make one step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Whether matrix products are computed on bf16 values. Weights, gradients of weights and all
    /// else stay in single precision.
    #[serde(default)]
    pub mixed_precision: bool,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learning rate over time.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// Learning rate at the end.
    pub min_learning_rate: f64,
    /// How weights are updated.
    #[serde(default)]
    pub optimizer: OptimizerKind,
    /// Muon's learning rate as a multiple of AdamW's.
    #[serde(default = "same")]
    pub muon_factor: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether biases, norms, positions and class tokens decay as well.
    #[serde(default = "yes")]
    pub decay_all: bool,
    /// Longest gradient over all parameters; 0 for any length.
    #[serde(default)]
    pub clip_norm: f64,
    /// Share of the weights' moving average that stays at a step; 0 for no average.
    #[serde(default)]
    pub average_decay: f64,
    /// Epochs over which the learning rate rises.
    pub warmup_epochs: f64,
    /// Learning rate that the warm-up starts from.
    #[serde(default)]
    pub warmup_learning_rate: f64,
    /// Epochs at the end that keep the last learning rate.
    #[serde(default)]
    pub cooldown_epochs: f64,
    /// Share of the target distribution that is spread over all classes.
    pub label_smoothing: f32,
    /// Variations of the training images.
    pub augment: Augment,
    /// Mixing of training images.
    #[serde(default)]
    pub mix: Mix,
    /// Decides everything that is random.
    pub seed: u64,
    /// How much of the training data validates.
    pub validation: ValidationSize,
    /// Checkpoint whose weights the run starts from.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// Quantization-aware training of `from`, whose normalisation and image size stay.
    #[serde(default)]
    pub qat: Option<Qat>,
    /// Learning from other networks' answers.
    #[serde(default)]
    pub distillation: Option<Distillation>,
    /// Use only so many training images, which the seed draws, for a quick try.
    pub limit: Option<usize>,
    /// Folder of the results and the state.
    #[serde(skip)]
    pub out_dir: PathBuf,
    /// Threads that make batches; 0 for half of the processors. Batches do not depend on it.
    #[serde(skip)]
    pub workers: usize,
    /// Devices that share every batch. They add up to what one device does, but for rounding,
    /// and but for batch normalisation, which takes each device's part by itself.
    #[serde(skip, default = "one")]
    pub devices: usize,
    /// Continue the run in `out_dir`.
    #[serde(skip)]
    pub resume: bool,
}

// What runs did before the options existed.
const fn one() -> usize {
    1
}

const fn same() -> f64 {
    1.0
}

const fn yes() -> bool {
    true
}

/// Size of the validation set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidationSize {
    /// So many images.
    Count(usize),
    /// A share of the training images, in 0..1.
    Fraction(f64),
}

impl TrainOptions {
    /// A run without recipe: AdamW at 1e-3 with decay 0.05, two epochs of warm-up, cosine
    /// to 1e-5, label smoothing 0.1, crops at padding 2 and flips.
    #[must_use]
    pub fn new(model: ModelConfig, data: DataSource, out_dir: PathBuf) -> Self {
        Self {
            model,
            data,
            epochs: 22,
            batch_size: 128,
            accumulate: 1,
            mixed_precision: false,
            learning_rate: 1e-3,
            schedule: ScheduleKind::Cosine,
            min_learning_rate: 1e-5,
            optimizer: OptimizerKind::AdamW,
            muon_factor: 1.0,
            weight_decay: 0.05,
            decay_all: true,
            clip_norm: 0.0,
            average_decay: 0.0,
            warmup_epochs: 2.0,
            warmup_learning_rate: 0.0,
            cooldown_epochs: 0.0,
            label_smoothing: 0.1,
            augment: Augment { crop_padding: 2, flip: true, ..Augment::NONE },
            mix: Mix::default(),
            seed: 0,
            validation: ValidationSize::Fraction(1.0 / 12.0),
            from: None,
            qat: None,
            distillation: None,
            limit: None,
            out_dir,
            workers: 0,
            devices: 1,
            resume: false,
        }
    }
}

impl ValidationSize {
    /// Number of validation images among `total`.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Fraction(fraction) => (total as f64 * fraction).round() as usize,
        }
    }
}
