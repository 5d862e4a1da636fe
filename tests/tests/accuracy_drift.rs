//! How far the quantized engine drifts from the float model, on all 10,000 real test images.
//!
//! The bounds on the drift are the project's promise, not what the shipped model happens to reach.

use std::path::{Path, PathBuf};

use picovit::Model;
use picovit_compiler::calibrate::Method;
use picovit_compiler::drift::{self, Evaluation};
use picovit_compiler::{AlignedBytes, Calibration, Compiled, Executor, Format, compile_as};
use picovit_models::ModelConfig;
use picovit_train::data::{DataSource, Dataset, Split};

/// The least top-1 of the float model, in percent.
const FLOAT_TOP1: f64 = 92.5;
/// The most int8 may lose, in points.
const DROP: f64 = 0.10;
/// The least share of images on which both name the same class, in percent.
const AGREEMENT: f64 = 99.5;
/// The least signal to noise of the logits, in dB.
const LOGIT_SQNR: f64 = 38.0;
/// The same of f16 artifacts.
const DROP_F16: f64 = 0.02;
/// The same of f16 artifacts.
const AGREEMENT_F16: f64 = 99.9;
/// The largest arena for this model, in bytes.
const ARENA: usize = 40 * 1024;

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cct_2_3x2_fmnist/best.mpk")
}

fn data(split: Split, config: &ModelConfig) -> Dataset {
    let shipped = checkpoint().parent().unwrap().join("data");
    let source = DataSource::named("fashion-mnist", Some(shipped)).unwrap();
    let size = config.image_size;
    let data = source.load_for(split, size.height, size.width, config.channels).unwrap();
    data.fit(size.height, size.width, config.channels)
}

struct Shipped {
    graph: picovit_compiler::graph::Graph,
    compiled: Compiled,
    test: Dataset,
}

impl Shipped {
    fn load(format: &Format) -> Self {
        let (graph, config) = picovit_models::load_graph(&checkpoint()).unwrap();
        let calibration = data(Split::Calibration(512), &config);
        let images: Vec<&[u8]> = (0..calibration.len()).map(|i| calibration.image(i)).collect();
        assert_eq!(images.len(), 512);
        // As `cargo tools quantize` does it.
        let calibration = Calibration::run(&graph, &images);
        let calibration = calibration.refined(&graph, &images, Method::Auto, || {});
        let compiled = compile_as(&graph, &calibration, None, format).unwrap();
        Self { graph, compiled, test: data(Split::Test, &config) }
    }

    fn images(&self) -> Vec<(&[u8], usize)> {
        (0..self.test.len())
            .map(|i| (self.test.image(i), usize::from(self.test.labels[i])))
            .collect()
    }

    /// Both models on the whole test set, and the arena's size.
    fn evaluate(&self) -> (Evaluation, usize) {
        let bytes = AlignedBytes::new(&self.compiled.packed.bytes);
        let model = Model::parse(&bytes).unwrap();
        let images = self.images();
        assert_eq!(images.len(), 10_000, "the whole test set");
        let result = drift::evaluate(&self.graph, &model, &images, || {});
        println!("{result:#?}\narena {} bytes", model.arena_bytes());
        (result, model.arena_bytes())
    }
}

#[test]
fn accuracy_drift_of_the_shipped_model_on_the_full_test_set() {
    let (result, arena) = Shipped::load(&Format::Int8).evaluate();
    assert!(result.top1_float >= FLOAT_TOP1, "float model: {result:?}");
    assert!(result.top1_drop <= DROP, "{result:?}");
    assert!(result.agreement >= AGREEMENT, "{result:?}");
    assert!(result.logit_sqnr_db >= LOGIT_SQNR, "{result:?}");
    assert!(arena <= ARENA, "arena of {arena} bytes");
}

#[test]
fn accuracy_drift_of_f16_on_the_full_test_set() {
    let (result, _) = Shipped::load(&Format::F16).evaluate();
    assert!(result.top1_drop.abs() <= DROP_F16, "{result:?}");
    assert!(result.agreement >= AGREEMENT_F16, "{result:?}");
}

#[test]
fn accuracy_drift_layers_stay_close_and_unsaturated() {
    let shipped = Shipped::load(&Format::Int8);
    let bytes = AlignedBytes::new(&shipped.compiled.packed.bytes);
    let model = Model::parse(&bytes).unwrap();
    let images: Vec<&[u8]> = (0..256).map(|i| shipped.test.image(i)).collect();
    let sites = &shipped.compiled.sites;
    for layer in drift::layers(&shipped.graph, &model, sites, &images, || {}) {
        assert!(layer.sqnr_db > 25.0, "{layer:?}");
        assert!(layer.saturation < 1.0, "{layer:?}");
    }
}

/// The float side of every figure above is the executor; it has to be the Burn module.
#[test]
fn accuracy_drift_float_side_is_the_burn_module() {
    use burn::backend::Flex;
    let device = Default::default();
    let (module, config) = picovit_models::load::<Flex>(&checkpoint(), &device).unwrap();
    let shipped = Shipped::load(&Format::Int8);
    let count = 64;
    let pixels: Vec<u8> = (0..count).flat_map(|i| shipped.test.image(i).to_vec()).collect();
    let logits = picovit_models::float_logits(&module, &config, &pixels, 32, &device);
    let executor = Executor::new(&shipped.graph);
    let mut largest = 0.0f32;
    for (i, row) in logits.iter().enumerate() {
        let ours = executor.run_pixels(shipped.test.image(i));
        for (a, b) in row.iter().zip(ours.logits()) {
            largest = largest.max((a - b).abs());
        }
    }
    println!("largest logit difference of the lowered graph against Burn: {largest:e}");
    assert_eq!(logits.len(), count);
    assert!(largest <= 1e-4, "{largest}");
}
