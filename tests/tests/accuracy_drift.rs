//! How far the quantized engine drifts from the float model, on all 10,000 real test images.
//!
//! The bounds on the drift are the project's promise, not what the shipped model happens to reach.

use std::path::{Path, PathBuf};

use picovit::Model;
use picovit_compiler::calibrate::Method;
use picovit_compiler::drift;
use picovit_compiler::{AlignedBytes, Calibration, Compiled, Executor, Format, compile_as};
use picovit_models::ModelConfig;
use picovit_train::data::{DataSource, Dataset, Split};

/// What is promised of a model that ships.
struct Promise {
    /// Its folder in `models`.
    model: &'static str,
    /// The least top-1 of the float model, in percent.
    float_top1: f64,
    /// The most int8 may lose, in points.
    drop: f64,
    /// The least share of images on which both name the same class, in percent.
    agreement: f64,
    /// The least signal to noise of the logits, in dB.
    logit_sqnr: f64,
    /// The largest arena, in bytes.
    arena: usize,
}

const CCT: Promise = Promise {
    model: "cct_2_3x2_fmnist",
    float_top1: 94.1,
    drop: 0.10,
    agreement: 99.5,
    logit_sqnr: 40.0,
    arena: 33 * 1024,
};
const CVT: Promise = Promise { model: "cvt_2_4_fmnist", float_top1: 89.0, logit_sqnr: 34.0, ..CCT };
const VIT_LITE: Promise =
    Promise { model: "vit_lite_2_4_fmnist", float_top1: 89.0, logit_sqnr: 34.0, ..CCT };
const KERAS_CCT: Promise =
    Promise { model: "cct_2_3x2_keras_fmnist", float_top1: 90.5, arena: 44 * 1024, ..CCT };
/// Without quantization-aware training, which is not needed to keep this.
const MOBILEVIT: Promise = Promise {
    model: "mobilevit_xxs_fmnist",
    float_top1: 89.0,
    drop: 0.30,
    agreement: 98.5,
    logit_sqnr: 30.0,
    ..CCT
};

/// The most an f16 artifact may lose, or gain, in points.
const DROP_F16: f64 = 0.02;
/// Far below the hundredth of a point that one image is: a difference of percentages is no whole
/// number of them in binary.
const ROUNDING: f64 = 1e-6;
/// The least agreement of an f16 artifact, in percent.
const AGREEMENT_F16: f64 = 99.9;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn data(split: Split, config: &ModelConfig) -> Dataset {
    let shipped = models().join(CCT.model).join("data");
    let source = DataSource::named("fashion-mnist", Some(shipped)).unwrap();
    let size = config.image_size;
    let data = source.load_for(split, size.height, size.width, config.channels).unwrap();
    data.fit(size.height, size.width, config.channels)
}

struct Shipped {
    graph: picovit_compiler::graph::Graph,
    calibration: Calibration,
    test: Dataset,
}

impl Shipped {
    /// Calibrated as `cargo tools quantize` does it.
    fn load(model: &str) -> Self {
        let (mut shipped, images) = Self::unjudged(model);
        let images: Vec<&[u8]> = (0..images.len()).map(|i| images.image(i)).collect();
        shipped.calibration =
            shipped.calibration.judged(&shipped.graph, &images, &Format::Int8, || {});
        shipped
    }

    /// With the ranges of the tensors' own errors, and the calibration images.
    fn unjudged(model: &str) -> (Self, Dataset) {
        let checkpoint = models().join(model).join("best.mpk");
        let (graph, config) = picovit_models::load_graph(&checkpoint).unwrap();
        let dataset = data(Split::Calibration(512), &config);
        let images: Vec<&[u8]> = (0..dataset.len()).map(|i| dataset.image(i)).collect();
        assert_eq!(images.len(), 512);
        let calibration = Calibration::run(&graph, &images);
        let calibration = calibration.refined(&graph, &images, Method::Auto, || {});
        let calibration = calibration.with_covariances(&graph, &images, || {});
        (Self { graph, calibration, test: data(Split::Test, &config) }, dataset)
    }

    fn compiled(&self, format: &Format) -> Compiled {
        compile_as(&self.graph, &self.calibration, None, format).unwrap()
    }

    fn images(&self) -> Vec<(&[u8], usize)> {
        (0..self.test.len())
            .map(|i| (self.test.image(i), usize::from(self.test.labels[i])))
            .collect()
    }
}

impl Promise {
    /// Compares int8 and f16 with the float model on the whole test set.
    fn is_kept(&self) {
        let shipped = Shipped::load(self.model);
        let bytes = [Format::Int8, Format::F16]
            .map(|format| AlignedBytes::new(&shipped.compiled(&format).packed.bytes));
        let [model, half] = bytes.each_ref().map(|bytes| Model::parse(bytes).unwrap());
        let images = shipped.images();
        assert_eq!(images.len(), 10_000, "the whole test set");
        let [int8, f16] = drift::evaluate_each(&shipped.graph, [&model, &half], &images, || {});
        let arena = model.arena_bytes();
        println!("{}: int8 {int8:#?}\narena {arena} bytes\nf16 {f16:#?}", self.model);
        assert!(int8.top1_float >= self.float_top1, "float model: {int8:?}");
        assert!(int8.top1_drop <= self.drop + ROUNDING, "{int8:?}");
        assert!(int8.agreement >= self.agreement, "{int8:?}");
        assert!(int8.logit_sqnr_db >= self.logit_sqnr, "{int8:?}");
        assert!(arena <= self.arena, "arena of {arena} bytes");
        assert!(f16.top1_drop.abs() <= DROP_F16 + ROUNDING, "{f16:?}");
        assert!(f16.agreement >= AGREEMENT_F16, "{f16:?}");
    }
}

#[test]
fn accuracy_drift_of_cct_on_the_full_test_set() {
    CCT.is_kept();
}

#[test]
fn accuracy_drift_of_cvt_on_the_full_test_set() {
    CVT.is_kept();
}

#[test]
fn accuracy_drift_of_vit_lite_on_the_full_test_set() {
    VIT_LITE.is_kept();
}

#[test]
fn accuracy_drift_of_keras_cct_on_the_full_test_set() {
    KERAS_CCT.is_kept();
}

#[test]
fn accuracy_drift_of_mobilevit_on_the_full_test_set() {
    MOBILEVIT.is_kept();
}

/// Every model that ships is promised something.
#[test]
fn accuracy_drift_covers_every_model() {
    let folders = std::fs::read_dir(models()).unwrap();
    let mut found: Vec<_> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut promised = [CCT, CVT, VIT_LITE, KERAS_CCT, MOBILEVIT].map(|promise| promise.model);
    promised.sort_unstable();
    assert_eq!(found, promised);
}

#[test]
fn accuracy_drift_layers_stay_close_and_unsaturated() {
    let shipped = Shipped::load(CCT.model);
    let compiled = shipped.compiled(&Format::Int8);
    let bytes = AlignedBytes::new(&compiled.packed.bytes);
    let model = Model::parse(&bytes).unwrap();
    let images: Vec<&[u8]> = (0..256).map(|i| shipped.test.image(i)).collect();
    let sites = &compiled.sites;
    for layer in drift::layers(&shipped.graph, &model, sites, &images, || {}) {
        assert!(layer.sqnr_db > 25.0, "{layer:?}");
        assert!(layer.saturation < 1.0, "{layer:?}");
    }
}

/// On images that the ranges were not chosen by.
#[test]
fn accuracy_drift_ranges_that_logits_judge_bring_them_closer() {
    let [plain, judged] =
        [Shipped::unjudged(CVT.model).0, Shipped::load(CVT.model)].map(|shipped| {
            let bytes = AlignedBytes::new(&shipped.compiled(&Format::Int8).packed.bytes);
            let model = Model::parse(&bytes).unwrap();
            let images = &shipped.images()[..2000];
            drift::evaluate(&shipped.graph, &model, images, || {}).logit_sqnr_db
        });
    println!("{}: logits {plain:.2} dB, judged {judged:.2} dB", CVT.model);
    assert!(judged > plain + 1.0, "{plain} {judged}");
}

/// The float side of every figure above is the executor; it has to be the Burn module.
#[test]
fn accuracy_drift_float_side_is_the_burn_module() {
    use burn::backend::Flex;
    let device = Default::default();
    let (module, config) =
        picovit_models::load::<Flex>(&models().join(CCT.model).join("best.mpk"), &device).unwrap();
    let (shipped, _) = Shipped::unjudged(CCT.model);
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
