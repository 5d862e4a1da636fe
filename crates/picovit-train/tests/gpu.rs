//! GPU backends against the CPU, those that are compiled in: `--features vulkan` and so on.
//!
//! Vulkan needs no GPU: Mesa's llvmpipe runs it on the processor.
#![cfg(any(
    feature = "cuda",
    feature = "candle-cuda",
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal"
))]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::backend::Flex;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use picovit_models::{ModelConfig, record};
use picovit_train::data::{DataSource, Split};
use picovit_train::{
    BackendChoice, Observer, OptimizerKind, Silent, TrainError, TrainOptions, ValidationSize,
    evaluate, train_observed,
};
use tempfile::tempdir;

/// Backends of this build that compute on a GPU, or pretend to.
fn gpus() -> Vec<BackendChoice> {
    let names = ["cuda", "candle-cuda", "metal", "vulkan", "wgpu"];
    let compiled_in = BackendChoice::compiled_in().into_iter();
    compiled_in.filter(|backend| names.contains(&&*backend.to_string())).collect()
}

/// Thirty images of 16x16 in three classes: a bright band at the top, the middle, the bottom.
fn data(folder: &Path) -> DataSource {
    let idx = |extents: &[u32], content: &[u8]| {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
        bytes.extend(content);
        bytes
    };
    let labels: Vec<u8> = (0..30).map(|i| i % 3).collect();
    let pixel = |i: usize| {
        let bright = if i % 256 / 96 == i / 256 % 3 { 160 } else { 0 };
        // 61 is prime: no two images are alike.
        (bright + i * 31 % 61) as u8
    };
    let pixels: Vec<u8> = (0..30 * 256).map(pixel).collect();
    for prefix in ["train", "t10k"] {
        let path = |kind: &str| folder.join(format!("{prefix}-{kind}-ubyte"));
        fs::write(path("images-idx3"), idx(&[30, 16, 16], &pixels)).unwrap();
        fs::write(path("labels-idx1"), idx(&[30], &labels)).unwrap();
    }
    DataSource::named("fashion-mnist", Some(folder.into())).unwrap()
}

fn options(root: &Path, model: &str, optimizer: OptimizerKind) -> TrainOptions {
    // MobileViT takes multiples of 64.
    let edge = if model.starts_with("mobilevit") { 64 } else { 32 };
    let model = ModelConfig::named(model).unwrap().with_image_size(edge, edge);
    let mut options = TrainOptions::new(model, data(root), root.join("out"));
    options.epochs = 2;
    options.batch_size = 6;
    options.optimizer = optimizer;
    options.warmup_epochs = 0.5;
    options.clip_norm = 1.0;
    options.average_decay = 0.9;
    options.seed = 5;
    options.validation = ValidationSize::Count(6);
    options
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn step(&mut self, _: usize, _: usize, _: usize, loss: f64) -> ControlFlow<()> {
        self.0.push(loss);
        ControlFlow::Continue(())
    }
}

/// What a run leaves: the loss of every step, all weights of its end, its checkpoint's logits.
struct Run {
    losses: Vec<f64>,
    weights: Vec<f32>,
    logits: Vec<f32>,
}

fn run(model: &str, optimizer: OptimizerKind, backend: BackendChoice) -> Result<Run, TrainError> {
    let root = tempdir().unwrap();
    let options = options(root.path(), model, optimizer);
    let mut losses = Losses::default();
    let summary = train_observed(&options, backend, &mut losses)?;
    let path = root.path().join(format!("out/state/model-{:04}.mpk", options.epochs));
    let network = record::load_weights::<Flex>(&path, &summary.model, &Default::default())?;
    struct Weights(Vec<f32>);
    impl ModuleVisitor<Flex> for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Flex, D>>) {
            self.0.extend(param.val().into_data().to_vec::<f32>().unwrap());
        }
    }
    let mut weights = Weights(vec![]);
    network.visit(&mut weights);
    let size = options.model.image_size;
    let test = options.data.load_for(Split::Test, size.height, size.width, 1)?;
    let evaluation = evaluate(&summary.checkpoint, &test, 10, backend)?;
    let logits = evaluation.logits.concat();
    Ok(Run { losses: losses.0, weights: weights.0, logits })
}

fn largest<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| ((*a).into() - (*b).into()).abs()).fold(0.0, f64::max)
}

/// The same seed, batches and dropped values on both: only rounding may differ.
#[test]
fn training_follows_the_cpu() {
    for (model, optimizer) in [
        ("cct_2_3x2", OptimizerKind::AdamW),
        ("cct_2_3x2", OptimizerKind::Muon),
        ("cvt_2_4", OptimizerKind::AdamW),
        ("vit_lite_2_4", OptimizerKind::AdamW),
        ("cct_2_3x2_keras", OptimizerKind::AdamW),
        ("mobilevit_xxs", OptimizerKind::AdamW),
    ] {
        let cpu = run(model, optimizer, BackendChoice::Flex).unwrap();
        assert!(cpu.losses[7] < cpu.losses[0], "the loss does not fall: {:?}", cpu.losses);
        for backend in gpus() {
            let gpu = run(model, optimizer, backend).unwrap();
            let loss = largest(&cpu.losses, &gpu.losses);
            let weight = largest(&cpu.weights, &gpu.weights);
            let logit = largest(&cpu.logits, &gpu.logits);
            println!(
                "{model}, {optimizer:?}, {} steps, {backend} against flex: losses differ by up to \
                 {loss:.1e}, weights by {weight:.1e}, logits by {logit:.1e}",
                cpu.losses.len()
            );
            assert!(loss < 1e-3, "{backend}: losses {:?}, not {:?}", gpu.losses, cpu.losses);
            // Burn's gradient of GELU is exact on the CPU and the tanh formula's on CubeCL: it shows where
            // weights start large, in the Keras CCT. In MobileViT a batch normalisation takes back what
            // another one adds: a gradient of nothing but rounding, of which AdamW makes whole steps.
            let most = match model {
                "cct_2_3x2_keras" | "mobilevit_xxs" => 2.5e-3,
                _ => 1e-3,
            };
            assert!(weight < most, "{backend}: weights differ by {weight}");
            assert!(logit < 1e-2, "{backend}: logits differ by {logit}");
        }
    }
}

/// A trained network, without dropout and with running statistics.
#[test]
fn inference_follows_the_cpu() {
    for model in ["cct_2_3x2", "mobilevit_xxs"] {
        let root = tempdir().unwrap();
        let options = options(root.path(), model, OptimizerKind::AdamW);
        let summary = train_observed(&options, BackendChoice::Flex, &mut Silent).unwrap();
        let size = options.model.image_size;
        let test = options.data.load_for(Split::Test, size.height, size.width, 1).unwrap();
        let logits = |backend| -> Vec<f32> {
            evaluate(&summary.checkpoint, &test, 10, backend).unwrap().logits.concat()
        };
        let cpu = logits(BackendChoice::Flex);
        for backend in gpus() {
            let logit = largest(&cpu, &logits(backend));
            println!("{model}, {backend} against flex: logits differ by up to {logit:.1e}");
            // On an H100 1.3e-4, probably tensor cores' TF32.
            let most = if backend == BackendChoice::Cuda { 1e-3 } else { 1e-4 };
            assert!(logit < most, "{backend}: logits of {model} differ by {logit}");
        }
    }
}

/// Not a test: the process that the next test starts.
#[test]
fn child() {
    let Some(root) = std::env::var_os("PICOVIT_TEST_CHILD") else { return };
    let options = options(&PathBuf::from(root), "cct_2_3x2", OptimizerKind::AdamW);
    for backend in gpus() {
        let error = train_observed(&options, backend, &mut Silent).unwrap_err();
        println!("\n{backend}: {error}");
    }
    let auto = BackendChoice::Auto.resolve().unwrap();
    println!("\nauto is {auto}");
}

#[test]
fn a_device_that_is_missing_is_explained() {
    let root = tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env("PICOVIT_TEST_CHILD", root.path())
        // No driver, no GPU.
        .env("VK_DRIVER_FILES", "/dev/null")
        .env("VK_ICD_FILENAMES", "/dev/null")
        .env("CUDA_VISIBLE_DEVICES", "-1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    for backend in gpus() {
        let line = text.lines().find(|line| line.starts_with(&format!("{backend}: ")));
        let line = line.unwrap_or_else(|| panic!("nothing about {backend} in {text}"));
        println!("{line}");
        assert!(line.contains(&format!("backend `{backend}` is not usable here: ")), "{line}");
        assert!(line.contains("driver") || line.contains("use the backend"), "{line}");
    }
    let cpu = ["auto is flex", "auto is candle", "auto is tch"];
    assert!(cpu.iter().any(|line| text.contains(line)), "{text}");
    assert!(!root.path().join("out").exists());
}

#[test]
fn more_devices_than_there_are_is_an_error() {
    let root = tempdir().unwrap();
    let mut options = options(root.path(), "cct_2_3x2", OptimizerKind::AdamW);
    options.batch_size = 24;
    options.devices = 24;
    for backend in gpus() {
        let error = train_observed(&options, backend, &mut Silent).unwrap_err().to_string();
        assert!(error.contains(&format!("`devices` is 24, backend `{backend}` has ")), "{error}");
    }
}
