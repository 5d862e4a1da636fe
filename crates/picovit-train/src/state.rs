//! The state a run resumes from.
//!
//! An epoch's files have its number in their names and are complete before `state.json`, which
//! names them, is renamed into place: that rename is the only moment at which the state
//! changes. What users read (`best.mpk`, `metrics.jsonl`) is copied from a committed state, and
//! copied again on resume, so that it never disagrees with it for long.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use picovit_models::ModelConfig;
use picovit_models::record::write_atomic;

use crate::options::TrainOptions;

/// Result of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: usize,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Mean smoothed training loss under dropout.
    pub train_loss: f64,
    /// Share of correct answers in training, under dropout.
    pub train_accuracy: f64,
    /// Mean cross entropy of the validation images.
    pub val_loss: f64,
    /// Share of correct answers on the validation images.
    pub val_accuracy: f64,
    /// Training speed.
    pub images_per_second: f64,
    /// Duration of the epoch, validation included.
    pub seconds: f64,
    /// Backend that computed it.
    pub backend: String,
}

impl EpochMetrics {
    /// Whether this epoch's weights are better: accuracy first, then loss.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        (self.val_accuracy, -self.val_loss) > (other.val_accuracy, -other.val_loss)
    }
}

/// Contents of `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Options of the run.
    pub(crate) options: TrainOptions,
    /// The network as trained: classes, labels and normalisation from the data.
    pub(crate) model: ModelConfig,
    /// Epochs done; names the files.
    pub(crate) epoch: usize,
    /// The best of them; names its file.
    pub(crate) best_epoch: usize,
    /// All epochs done.
    pub(crate) history: Vec<EpochMetrics>,
}

/// The state's files in an output folder.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    out: PathBuf,
}

impl StateDir {
    pub(crate) fn new(out: &Path) -> Self {
        Self { out: out.into() }
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.out.join("state.json")
    }

    fn folder(&self) -> PathBuf {
        self.out.join("state")
    }

    pub(crate) fn model(&self, epoch: usize) -> PathBuf {
        self.folder().join(format!("model-{epoch:04}.mpk"))
    }

    pub(crate) fn optimizer(&self, epoch: usize) -> PathBuf {
        self.folder().join(format!("optimizer-{epoch:04}.mpk"))
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder())
    }

    /// Writes an epoch's files, then makes them the state.
    pub(crate) fn commit(&self, state: &State, model: &[u8], optimizer: &[u8]) -> io::Result<()> {
        write_atomic(&self.model(state.epoch), model)?;
        write_atomic(&self.optimizer(state.epoch), optimizer)?;
        let json = serde_json::to_string_pretty(state).expect("a state is plain data");
        write_atomic(&self.index(), (json + "\n").as_bytes())
    }

    /// Copies what users read out of the committed state, and removes files it does not name.
    pub(crate) fn publish(&self, state: &State) -> io::Result<()> {
        let json = serde_json::to_string_pretty(&state.model).expect("plain data") + "\n";
        write_atomic(&self.out.join("best.json"), json.as_bytes())?;
        write_atomic(&self.out.join("best.mpk"), &fs::read(self.model(state.best_epoch))?)?;
        let lines = state
            .history
            .iter()
            .map(|metrics| serde_json::to_string(metrics).expect("metrics are plain data") + "\n");
        write_atomic(&self.out.join("metrics.jsonl"), lines.collect::<String>().as_bytes())?;
        let kept =
            [self.model(state.epoch), self.model(state.best_epoch), self.optimizer(state.epoch)];
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            if !kept.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}
