//! Quantization-aware training: less drift than without, resumable, mistakes explained.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use picovit_models::{Architecture, CctConfig, ModelConfig, PositionalEmbedding, load_graph};
use picovit_train::data::DataSource;
use picovit_train::{
    BackendChoice, EpochMetrics, Int8Metrics, Observer, Qat, Silent, TrainError, TrainOptions,
    TrainSummary, ValidationSize, train_observed,
};
use tempfile::{TempDir, tempdir};

/// Images of 8x8 in three classes: a bright, noisy band at the top, in the middle, at the bottom.
const IMAGES: usize = 120;

fn data(folder: &Path) -> DataSource {
    let idx = |extents: &[u32], content: &[u8]| {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
        bytes.extend(content);
        bytes
    };
    let labels: Vec<u8> = (0..IMAGES).map(|i| (i % 3) as u8).collect();
    let pixel = |i: usize, y: usize, x: usize| {
        let bright = if y / 3 == i % 3 { 90 } else { 0 };
        (bright + (i * i * 31 + y * 17 * (i % 5) + x * 7 * (i % 7)) % 150) as u8
    };
    let rows = |i: usize| (0..8).flat_map(move |y| (0..8).map(move |x| pixel(i, y, x)));
    let pixels: Vec<u8> = (0..IMAGES).flat_map(rows).collect();
    for prefix in ["train", "t10k"] {
        let path = |kind: &str| folder.join(format!("{prefix}-{kind}-ubyte"));
        fs::write(path("images-idx3"), idx(&[IMAGES as u32, 8, 8], &pixels)).unwrap();
        fs::write(path("labels-idx1"), idx(&[IMAGES as u32], &labels)).unwrap();
    }
    DataSource::named("fashion-mnist", Some(folder.into())).unwrap()
}

fn model() -> ModelConfig {
    let cct = CctConfig {
        kernel_size: 3,
        tokenizer_layers: 2,
        tokenizer_channels: 8,
        embedding_dim: 16,
        layers: 2,
        heads: 2,
        mlp_ratio: 1.0,
        positional_embedding: PositionalEmbedding::Learnable,
        attention_dropout: 0.0,
        stochastic_depth: 0.0,
    };
    ModelConfig::new("tiny", Architecture::Cct(cct)).with_image_size(10, 10)
}

/// A float model, trained for a moment.
fn trained(root: &Path) -> PathBuf {
    let mut options = TrainOptions::new(model(), data(root), root.join("float"));
    (options.epochs, options.batch_size, options.learning_rate) = (30, 20, 5e-3);
    options.validation = ValidationSize::Count(40);
    train_observed(&options, BackendChoice::Auto, &mut Silent).unwrap().checkpoint
}

fn options(root: &Path, checkpoint: PathBuf) -> TrainOptions {
    let mut options = TrainOptions::new(model(), data(root), root.join("out"));
    (options.epochs, options.batch_size) = (8, 20);
    (options.learning_rate, options.weight_decay, options.warmup_epochs) = (2e-4, 0.0, 0.0);
    options.min_learning_rate = 1e-6;
    options.label_smoothing = 0.0;
    options.validation = ValidationSize::Count(40);
    options.from = Some(checkpoint);
    options.qat = Some(Qat { images: 16, ..Qat::default() });
    options
}

/// Remembers how the int8 artifact did before, and perhaps stops.
#[derive(Default)]
struct Watch {
    before: Option<Int8Metrics>,
    stop: Option<(usize, usize)>,
}

impl Observer for Watch {
    fn before(&mut self, int8: &Int8Metrics) {
        self.before = Some(*int8);
    }

    fn step(&mut self, epoch: usize, step: usize, _: usize, _: f64) -> ControlFlow<()> {
        match self.stop {
            Some(stop) if stop == (epoch, step) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn run(options: &TrainOptions, watch: &mut Watch) -> Result<TrainSummary, TrainError> {
    train_observed(options, BackendChoice::Auto, watch)
}

/// What a run leaves, without what the clock had a hand in.
fn outcome(summary: &TrainSummary) -> (Vec<EpochMetrics>, picovit_compiler::graph::Graph) {
    let timeless =
        |m: &EpochMetrics| EpochMetrics { images_per_second: 0.0, seconds: 0.0, ..m.clone() };
    let (graph, _) = load_graph(&summary.checkpoint).unwrap();
    (summary.history.iter().map(timeless).collect(), graph)
}

#[test]
fn the_int8_model_comes_closer_and_an_interrupted_run_resumes() {
    let root = tempdir().unwrap();
    let checkpoint = trained(root.path());
    let mut options = options(root.path(), checkpoint);
    let mut watch = Watch::default();
    let whole = run(&options, &mut watch).unwrap();
    let (before, after) = (watch.before.unwrap(), whole.best.best_int8().unwrap());
    println!("before {before:?}\nafter {after:?}");
    assert!(after.logit_sqnr_db > before.logit_sqnr_db, "{before:?} {after:?}");
    assert!(after.agreement >= before.agreement && after.accuracy >= before.accuracy);

    options.out_dir = root.path().join("again");
    let mut watch = Watch { stop: Some((3, 2)), ..Watch::default() };
    assert!(matches!(run(&options, &mut watch), Err(TrainError::Stopped(3))));
    options.resume = true;
    let mut watch = Watch::default();
    let resumed = run(&options, &mut watch).unwrap();
    assert_eq!(outcome(&resumed), outcome(&whole));
    assert_eq!(watch.before, None);
}

fn assert_fails(options: &TrainOptions, expected: &[&str]) {
    let message = run(options, &mut Watch::default()).unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn options_that_cannot_be_met_are_explained() {
    let root = tempdir().unwrap();
    let check = |root: &TempDir, change: &dyn Fn(&mut TrainOptions), expected: &[&str]| {
        let mut options = options(root.path(), root.path().join("none.mpk"));
        change(&mut options);
        assert_fails(&options, expected);
        assert!(!root.path().join("out").exists());
    };
    fn qat(options: &mut TrainOptions) -> &mut Qat {
        options.qat.as_mut().unwrap()
    }
    check(&root, &|_| {}, &["none.mpk"]);
    check(&root, &|o| o.mixed_precision = true, &["`mixed_precision`", "leave out one"]);
    check(&root, &|o| o.from = None, &["`qat` starts from a trained checkpoint", "--from"]);
    check(&root, &|o| qat(o).every = 0, &["`qat_every` is 0"]);
    check(&root, &|o| qat(o).images = 0, &["`qat_images` is 0"]);
    check(&root, &|o| qat(o).distill = 1.5, &["`distill` is 1.5"]);
    check(&root, &|o| qat(o).float_share = f32::NAN, &["`float_share` is NaN"]);
    check(&root, &|o| qat(o).float_share = 1.0, &["`float_share` is 1", "int8"]);

    let checkpoint = trained(root.path());
    let mut other = options(root.path(), checkpoint);
    other.model.name = "cct_7_3x1".into();
    assert_fails(&other, &["`model` is cct_7_3x1", "holds tiny", "--model"]);
}
