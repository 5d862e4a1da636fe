//! What turns gradients into new weights: AdamW, or Muon for the matrices and AdamW for the rest.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder};
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Serialize};

use crate::clip::clip;
use crate::error::TrainError;
use crate::groups::{Decay, Place, Taker};
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
        path: impl Fn(&str) -> PathBuf,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
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

fn from_file<B: Backend, R: Record<B>>(path: &Path, device: &B::Device) -> Result<R, TrainError> {
    let fail = |problem: String| TrainError::State { path: path.into(), problem };
    let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    Recorder::<B>::load(&recorder, bytes, device).map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use picovit_models::{ModelConfig, Network};

    use super::*;
    use crate::data::{DataKind, DataSource};
    use crate::test_model::{B, gradients, model, parameters};

    fn options() -> TrainOptions {
        let source = DataSource { kind: DataKind::Cifar10, dir: None };
        let model = ModelConfig::named("cct_2_3x2").unwrap();
        TrainOptions::new(model, source, Default::default())
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
