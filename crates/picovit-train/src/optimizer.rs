//! What turns gradients into new weights: AdamW, or Muon for the matrices and AdamW for the rest.

use std::fs;
use std::path::Path;

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Serialize};

use crate::muon::Matrices;
use crate::options::TrainOptions;

/// How weights are updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW for everything.
    #[default]
    AdamW,
    /// Muon for the weights of convolutions and of the blocks' linear layers, AdamW for the rest:
    /// more progress an epoch, at a few percent more work a step.
    Muon,
}

impl std::str::FromStr for OptimizerKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "adamw" => Ok(Self::AdamW),
            "muon" => Ok(Self::Muon),
            other => Err(format!("`{other}` is no optimizer; use adamw or muon")),
        }
    }
}

/// Learning rates of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) adam: f64,
    pub(crate) muon: f64,
}

/// The optimizers of a run with their state.
pub(crate) struct Optimizers<M: AutodiffModule<B>, B: AutodiffBackend> {
    adam: OptimizerAdaptor<AdamW, M, B>,
    muon: Option<OptimizerAdaptor<Matrices<B::InnerBackend>, M, B>>,
    decay: f64,
    decay_all: bool,
    clip: f64,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Optimizers<M, B> {
    pub(crate) fn new(options: &TrainOptions) -> Self {
        // Decay is applied here, because only some parameters decay.
        let adam = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).init::<B, M>();
        let muon = match options.optimizer {
            OptimizerKind::AdamW => None,
            OptimizerKind::Muon => Some(OptimizerAdaptor::from(Matrices::new())),
        };
        Self {
            adam,
            muon,
            decay: options.weight_decay,
            decay_all: options.decay_all,
            clip: options.clip_norm,
        }
    }

    /// Decays and updates the weights.
    pub(crate) fn step(&mut self, rates: Rates, model: M, mut gradients: GradientsParams) -> M {
        if self.clip > 0.0 {
            clip(&model, &mut gradients, self.clip);
        }
        let split = self.muon.is_some();
        let mut model = model;
        if self.decay > 0.0 {
            let mut mapper = Decay {
                adam: 1.0 - rates.adam * self.decay,
                muon: 1.0 - rates.muon * self.decay,
                all: self.decay_all,
                split,
                place: Place::default(),
            };
            model = model.map(&mut mapper);
        }
        if let Some(muon) = &mut self.muon {
            let matrices = GradientsParams::new();
            let mut taker = Taker { gradients, matrices, place: Place::default() };
            model.visit(&mut taker);
            gradients = taker.gradients;
            model = muon.step(rates.muon, model, taker.matrices);
        }
        self.adam.step(rates.adam, model, gradients)
    }

    /// State of every optimizer, with the names of their files.
    pub(crate) fn to_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut files = vec![("optimizer", to_bytes::<B, _>(self.adam.to_record()))];
        if let Some(muon) = &self.muon {
            files.push(("muon", to_bytes::<B, _>(muon.to_record())));
        }
        files
    }

    /// Restores the state from the files of an epoch.
    pub(crate) fn load(
        mut self,
        path: impl Fn(&str) -> std::path::PathBuf,
        device: &B::Device,
    ) -> Result<Self, (std::path::PathBuf, String)> {
        self.adam = self.adam.load_record(from_file::<B, _>(&path("optimizer"), device)?);
        if let Some(muon) = self.muon.take() {
            self.muon = Some(muon.load_record(from_file::<B, _>(&path("muon"), device)?));
        }
        Ok(self)
    }
}

fn to_bytes<B: Backend, R: Record<B>>(record: R) -> Vec<u8> {
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    Recorder::<B>::record(&recorder, record, ()).expect("an optimizer's state is plain data")
}

fn from_file<B: Backend, R: Record<B>>(
    path: &Path,
    device: &B::Device,
) -> Result<R, (std::path::PathBuf, String)> {
    let fail = |problem: String| (path.to_path_buf(), problem);
    let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    Recorder::<B>::load(&recorder, bytes, device).map_err(|error| fail(error.to_string()))
}

/// Where in a network a visitor is.
#[derive(Default)]
struct Place {
    /// Depth of modules inside the classifier.
    classifier: usize,
}

impl Place {
    fn enter(&mut self, name: &str) {
        if self.classifier > 0 || name == "fc" {
            self.classifier += 1;
        }
    }

    fn exit(&mut self) {
        self.classifier = self.classifier.saturating_sub(1);
    }

    /// Whether a parameter here is Muon's: a matrix of hidden features on both sides. Layers of
    /// one output, depthwise kernels and the kernels over raw pixels are too narrow to gain.
    fn is_matrix(&self, shape: &[usize]) -> bool {
        let narrow = 16;
        let matrix = matches!(shape.len(), 2 | 4) && self.classifier == 0;
        matrix && shape[0] >= narrow && shape[1..].iter().product::<usize>() >= narrow
    }
}

/// Whether a parameter decays: weights do; biases, norms (vectors), positions and class tokens
/// (three axes) do not.
fn decays(shape: &[usize]) -> bool {
    matches!(shape.len(), 2 | 4)
}

struct Decay {
    adam: f64,
    muon: f64,
    all: bool,
    split: bool,
    place: Place,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Decay {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let shape = param.dims();
        if !param.is_require_grad() || !(self.all || decays(&shape)) {
            return param;
        }
        let muon = self.split && self.place.is_matrix(&shape);
        let factor = if muon { self.muon } else { self.adam };
        let (id, tensor, mapper) = param.consume();
        let tensor = Tensor::from_inner(tensor.inner() * factor).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// Takes Muon's gradients out of all.
struct Taker {
    gradients: GradientsParams,
    matrices: GradientsParams,
    place: Place,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Taker {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.place.is_matrix(&param.dims())
            && let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id)
        {
            self.matrices.register::<B::InnerBackend, D>(param.id, gradient);
        }
    }
}

/// Scales all gradients so that their common norm is at most `most`, without waiting for it.
fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &mut GradientsParams,
    most: f64,
) {
    let mut squares = Squares::<B> { gradients, sum: None };
    model.visit(&mut squares);
    let Some(sum) = squares.sum else { return };
    let factor = (sum.sqrt() + 1e-6).recip().mul_scalar(most).clamp_max(1.0);
    model.visit(&mut Scale::<B> { gradients, factor });
}

struct Squares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a, B: AutodiffBackend> {
    gradients: &'a mut GradientsParams,
    factor: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            let scaled = gradient * self.factor.clone().reshape([1; D]);
            self.gradients.register::<B::InnerBackend, D>(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::module::{Module, ParamId};
    use picovit_models::{ModelConfig, Network};

    use super::*;
    use crate::data::{DataKind, DataSource};

    type B = Autodiff<Flex>;

    fn model() -> Network<B> {
        let config = ModelConfig::named("cct_2_3x2").unwrap();
        Network::init(&config, 3, &Default::default()).unwrap()
    }

    fn options() -> TrainOptions {
        let source = DataSource { kind: DataKind::Cifar10, dir: None };
        let model = ModelConfig::named("cct_2_3x2").unwrap();
        TrainOptions::new(model, source, Default::default())
    }

    /// Calls a function with every parameter's flat values and shape.
    struct Each<F>(F);

    impl<F: FnMut(ParamId, Vec<f32>, Vec<usize>)> ModuleVisitor<B> for Each<F> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let values = param.val().into_data().to_vec().unwrap();
            (self.0)(param.id, values, param.dims().to_vec());
        }
    }

    fn parameters(model: &Network<B>) -> Vec<(ParamId, Vec<f32>, Vec<usize>)> {
        let mut all = vec![];
        model.visit(&mut Each(|id, values, shape| all.push((id, values, shape))));
        all
    }

    /// The gradients of half the sum of all squares are the parameters themselves.
    fn gradients(model: &Network<B>) -> GradientsParams {
        struct Own(GradientsParams);
        impl ModuleVisitor<B> for Own {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                self.0.register::<Flex, D>(param.id, param.val().inner());
            }
        }
        let mut own = Own(GradientsParams::new());
        model.visit(&mut own);
        own.0
    }

    #[test]
    fn muon_takes_the_matrices_between_hidden_features() {
        let model = model();
        let mut taker = Taker {
            gradients: gradients(&model),
            matrices: GradientsParams::new(),
            place: Place::default(),
        };
        model.visit(&mut taker);
        // Two convolutions; query-key-value, projection and the MLP's two of both blocks.
        assert_eq!(taker.matrices.len(), 2 + 2 * 4);
        assert_eq!(taker.gradients.len(), parameters(&model).len() - 10);
        let grey = Place::default();
        assert!(!grey.is_matrix(&[64, 1, 3, 3]) && !grey.is_matrix(&[128, 1]));
    }

    #[test]
    fn weights_decay_and_the_rest_only_when_asked() {
        for all in [false, true] {
            let mut options = options();
            (options.weight_decay, options.decay_all) = (0.5, all);
            let mut optimizers = Optimizers::<Network<B>, B>::new(&options);
            let before = model();
            let rates = Rates { adam: 0.2, muon: 0.2 };
            // Without gradients, decay is all that happens.
            let after = optimizers.step(rates, before.clone(), GradientsParams::new());
            let mut decayed = 0;
            for ((_, before, shape), (_, after, _)) in
                parameters(&before).iter().zip(parameters(&after))
            {
                let factor = if all || matches!(shape.len(), 2 | 4) { 0.9 } else { 1.0 };
                decayed += usize::from(factor < 1.0);
                for (before, after) in before.iter().zip(after) {
                    assert!((before * factor - after).abs() < 1e-6, "{shape:?}");
                }
            }
            assert!(decayed > 10);
        }
    }

    #[test]
    fn long_gradients_are_shortened_and_short_ones_are_not() {
        let model = model();
        let norm = |gradients: &GradientsParams| {
            let mut squares = Squares::<B> { gradients, sum: None };
            model.visit(&mut squares);
            squares.sum.unwrap().sqrt().into_scalar()
        };
        let original = norm(&gradients(&model));
        assert!(original > 1.0);
        for (most, expected) in [(0.5, 0.5), (2.0 * f64::from(original), original)] {
            let mut clipped = gradients(&model);
            clip(&model, &mut clipped, most);
            let found = norm(&clipped);
            assert!((found / expected - 1.0).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn muon_moves_every_direction_of_a_matrix_alike() {
        let mut options = options();
        (options.optimizer, options.weight_decay) = (OptimizerKind::Muon, 0.0);
        let mut optimizers = Optimizers::<Network<B>, B>::new(&options);
        let before = model();
        let rates = Rates { adam: 0.0, muon: 1.0 };
        let after = optimizers.step(rates, before.clone(), gradients(&before));
        let mut moved = 0;
        for ((_, before, shape), (_, after, _)) in
            parameters(&before).iter().zip(parameters(&after))
        {
            let update: Vec<f32> = before.iter().zip(&after).map(|(b, a)| b - a).collect();
            let squares: f32 = update.iter().map(|v| v * v).sum();
            if squares == 0.0 {
                continue;
            }
            moved += 1;
            let (rows, columns) = (shape[0] as f32, (before.len() / shape[0]) as f32);
            // Singular values lie about 1, times what makes updates as large as AdamW's.
            let scale = 0.2 * rows.max(columns).sqrt();
            let mean = (squares / rows.min(columns)).sqrt() / scale;
            assert!((0.6..1.3).contains(&mean), "{shape:?}: {mean}");
        }
        assert_eq!(moved, 10);
    }

    #[test]
    fn names_are_read_and_mistakes_explained() {
        assert_eq!("muon".parse(), Ok(OptimizerKind::Muon));
        assert!("sgd".parse::<OptimizerKind>().unwrap_err().contains("use adamw or muon"));
    }
}
