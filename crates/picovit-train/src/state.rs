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

use picovit_models::record::write_atomic;
use picovit_models::{ModelConfig, RecordError};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::options::TrainOptions;
use crate::qat::Int8Metrics;

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
    /// The same for the moving average of the weights, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_loss: Option<f64>,
    /// The same for the moving average of the weights, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_accuracy: Option<f64>,
    /// The int8 artifact of the weights on the validation images, in quantization-aware training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<Int8Metrics>,
    /// The same for the moving average of the weights, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_int8: Option<Int8Metrics>,
    /// Training speed.
    pub images_per_second: f64,
    /// Duration of the epoch, validation included.
    pub seconds: f64,
    /// Backend that computed it.
    pub backend: String,
}

impl EpochMetrics {
    /// Validation accuracy, then loss, of the weights. Of an int8 artifact count its accuracy and
    /// its agreement with the float model.
    fn weights_score(&self) -> (f64, f64) {
        let accuracy = self.int8.map_or(self.val_accuracy, |int8| int8.accuracy + int8.agreement);
        (accuracy, -self.val_loss)
    }

    /// The same for the average of the weights, where there is one.
    fn average_score(&self) -> Option<(f64, f64)> {
        let accuracy = match self.average_int8 {
            Some(int8) => Some(int8.accuracy + int8.agreement),
            None => self.average_accuracy,
        };
        accuracy.zip(self.average_loss.map(|loss| -loss))
    }

    /// The better of the two.
    fn score(&self) -> (f64, f64) {
        let weights = self.weights_score();
        self.average_score().filter(|average| *average > weights).unwrap_or(weights)
    }

    /// Whether the average of the weights is better than the weights.
    pub fn averaged(&self) -> bool {
        self.average_score().is_some_and(|average| average > self.weights_score())
    }

    /// Validation accuracy of the better of the weights and their average, of the float model.
    pub fn accuracy(&self) -> f64 {
        let average = self.average_accuracy.filter(|_| self.averaged());
        average.unwrap_or(self.val_accuracy)
    }

    /// The int8 artifact of the better of the two, in quantization-aware training.
    pub fn best_int8(&self) -> Option<Int8Metrics> {
        if self.averaged() { self.average_int8 } else { self.int8 }
    }
}

/// What a run learns from: without it, labels and the validation split mean something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataRecord {
    /// Class names in label order.
    pub(crate) class_names: Vec<String>,
    /// Training images, before any are kept for validation or left out.
    pub(crate) images: usize,
}

impl DataRecord {
    pub(crate) fn of(data: &Dataset) -> Self {
        Self { class_names: data.class_names.clone(), images: data.len() }
    }
}

/// Contents of `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Options of the run.
    pub(crate) options: TrainOptions,
    /// The network as trained: classes, labels and normalisation from the data.
    pub(crate) model: ModelConfig,
    /// The data; states of older versions do not know it.
    #[serde(default)]
    pub(crate) data: Option<DataRecord>,
    /// CRC-32 of the checkpoints that the run learns from as long as it goes on, by file.
    #[serde(default)]
    pub(crate) teachers: Vec<u32>,
    /// Epochs done; names the files.
    pub(crate) epoch: usize,
    /// The best of them; names its file.
    pub(crate) best_epoch: usize,
    /// All epochs done.
    pub(crate) history: Vec<EpochMetrics>,
}

impl State {
    /// The state before the first epoch.
    pub(crate) fn new(
        options: &TrainOptions,
        model: &ModelConfig,
        data: &DataRecord,
        teachers: Vec<u32>,
    ) -> Self {
        let (options, model, data) = (options.clone(), model.clone(), Some(data.clone()));
        Self { options, model, data, teachers, epoch: 0, best_epoch: 0, history: vec![] }
    }

    /// Adds an epoch; says whether it is the best.
    pub(crate) fn push(&mut self, metrics: EpochMetrics) -> bool {
        let best = self.best().is_none_or(|best| metrics.score() > best.score());
        self.epoch = metrics.epoch;
        if best {
            self.best_epoch = self.epoch;
        }
        self.history.push(metrics);
        best
    }

    fn best(&self) -> Option<&EpochMetrics> {
        self.history.get(self.best_epoch.checked_sub(1)?)
    }
}

/// Options of the run in an output folder, as far as they decide what it learns; none where there is no
/// run, or its state cannot be read.
#[must_use]
pub fn run_options(out: &Path) -> Option<TrainOptions> {
    let text = fs::read_to_string(StateDir::new(out).index()).ok()?;
    serde_json::from_str::<State>(&text).ok().map(|state| state.options)
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

    /// A file of an epoch.
    pub(crate) fn file(&self, name: &str, epoch: usize) -> PathBuf {
        self.folder().join(format!("{name}-{epoch:04}.mpk"))
    }

    pub(crate) fn model(&self, epoch: usize) -> PathBuf {
        self.file("model", epoch)
    }

    pub(crate) fn average(&self, epoch: usize) -> PathBuf {
        self.file("average", epoch)
    }

    /// The best checkpoint, if it is there.
    pub(crate) fn best(&self) -> Option<PathBuf> {
        Some(self.out.join("best.mpk")).filter(|path| path.exists())
    }

    /// What helps where `what` is not as it was; nothing that was trained is lost.
    pub(crate) fn remedy(&self, what: &str) -> String {
        let from = self.best().map(|best| format!(" with --from {}", best.display()));
        let from = from.unwrap_or_default();
        format!("; put {what} back to resume, or start anew in another --out folder{from}")
    }

    /// An error about the state, with what helps.
    pub(crate) fn explain(&self, error: TrainError) -> TrainError {
        let (path, problem) = match error {
            TrainError::State { path, problem } => (path, problem),
            // The general error has advice for files that users name.
            TrainError::Record(RecordError::Read { path, source }) => (path, source.to_string()),
            other => return other,
        };
        TrainError::State { path, problem: problem + &self.remedy("the file") }
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder())
    }

    /// Writes an epoch's files, then makes them the state.
    pub(crate) fn commit(&self, state: &State, files: &[(&str, Vec<u8>)]) -> io::Result<()> {
        for (name, content) in files {
            write_atomic(&self.file(name, state.epoch), content)?;
        }
        let json = serde_json::to_string_pretty(state).expect("a state is plain data");
        write_atomic(&self.index(), (json + "\n").as_bytes())
    }

    /// Copies what users read out of the committed state, and removes other epochs' files.
    pub(crate) fn publish(&self, state: &State) -> io::Result<()> {
        let json = serde_json::to_string_pretty(&state.model).expect("plain data") + "\n";
        write_atomic(&self.out.join("best.json"), json.as_bytes())?;
        let averaged = state.best().is_some_and(EpochMetrics::averaged);
        let best = self.file(if averaged { "average" } else { "model" }, state.best_epoch);
        write_atomic(&self.out.join("best.mpk"), &fs::read(&best)?)?;
        let lines = state
            .history
            .iter()
            .map(|metrics| serde_json::to_string(metrics).expect("metrics are plain data") + "\n");
        write_atomic(&self.out.join("metrics.jsonl"), lines.collect::<String>().as_bytes())?;
        let current = format!("-{:04}.mpk", state.epoch);
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_state(&name) && path != best && !name.ends_with(&current) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// What an epoch's files are called, in front of its number.
const FILES: [&str; 4] = ["model", "average", "optimizer", "muon"];

/// Whether a file of that name is one of an epoch, perhaps one that was never finished. The folder
/// may have been there before, with files of somebody else.
fn is_state(name: &str) -> bool {
    // The number of the process that wrote it, in between.
    let writer = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    let finished = name.strip_suffix(".tmp").map_or(name, |name| match name.rsplit_once('.') {
        Some((name, rest)) if writer(rest) => name,
        _ => name,
    });
    let stem = finished.strip_suffix(".mpk");
    stem.and_then(|stem| stem.rsplit_once('-')).is_some_and(|(name, epoch)| {
        let number = epoch.len() >= 4 && epoch.bytes().all(|byte| byte.is_ascii_digit());
        number && FILES.contains(&name)
    })
}
