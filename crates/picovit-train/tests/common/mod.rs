//! A small network and small data.

// Not every test needs all of it.
#![allow(dead_code)]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use picovit_models::{Architecture, CctConfig, ModelConfig, PositionalEmbedding};
use picovit_train::data::DataSource;
use picovit_train::{
    BackendChoice, EpochMetrics, Observer, Silent, TrainError, TrainOptions, TrainSummary,
    ValidationSize, train_observed,
};

/// Sixty images of 8x8 in three classes: a bright band at the top, in the middle, at the bottom.
pub fn data(folder: &Path) -> DataSource {
    let idx = |extents: &[u32], content: &[u8]| {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
        bytes.extend(content);
        bytes
    };
    let labels: Vec<u8> = (0..60).map(|i| i % 3).collect();
    let pixel = |i: usize, y: usize, x: usize| {
        let bright = if y / 3 == i % 3 { 160 } else { 0 };
        (bright + (i * 31 + y * 17 + x * 7) % 64) as u8
    };
    let rows = |i: usize| (0..8).flat_map(move |y| (0..8).map(move |x| pixel(i, y, x)));
    let pixels: Vec<u8> = (0..60).flat_map(rows).collect();
    for prefix in ["train", "t10k"] {
        let path = |kind: &str| folder.join(format!("{prefix}-{kind}-ubyte"));
        fs::write(path("images-idx3"), idx(&[60, 8, 8], &pixels)).unwrap();
        fs::write(path("labels-idx1"), idx(&[60], &labels)).unwrap();
    }
    DataSource::named("fashion-mnist", Some(folder.into())).unwrap()
}

pub fn model() -> ModelConfig {
    let cct = CctConfig {
        kernel_size: 3,
        tokenizer_layers: 2,
        tokenizer_channels: 4,
        embedding_dim: 8,
        layers: 2,
        heads: 2,
        mlp_ratio: 1.0,
        positional_embedding: PositionalEmbedding::Learnable,
        attention_dropout: 0.1,
        stochastic_depth: 0.3,
    };
    ModelConfig::new("tiny", Architecture::Cct(cct)).with_image_size(10, 10)
}

pub fn options(root: &Path) -> TrainOptions {
    let mut options = TrainOptions::new(model(), data(root), root.join("out"));
    options.epochs = 3;
    options.batch_size = 10;
    options.learning_rate = 5e-3;
    options.warmup_epochs = 0.5;
    options.seed = 11;
    options.validation = ValidationSize::Count(10);
    options
}

/// Stops after an epoch.
pub struct Once;

impl Observer for Once {
    fn epoch(&mut self, _: &EpochMetrics, _: bool) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// Collects the loss of every step.
#[derive(Default)]
pub struct Losses(pub Vec<f64>);

impl Observer for Losses {
    fn step(&mut self, _: usize, _: usize, _: usize, loss: f64) -> ControlFlow<()> {
        self.0.push(loss);
        ControlFlow::Continue(())
    }
}

pub fn run(options: &TrainOptions) -> Result<TrainSummary, TrainError> {
    train_observed(options, BackendChoice::Auto, &mut Silent)
}

pub fn assert_fails<T: std::fmt::Debug>(result: Result<T, TrainError>, expected: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
