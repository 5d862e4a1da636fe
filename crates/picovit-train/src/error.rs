//! Why a run fails.

use std::io;
use std::path::PathBuf;

use picovit_compiler::CompileError;
use picovit_models::{ConfigError, RecordError};

use crate::backend::BackendError;
use crate::data::DataError;

/// Why a run did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The backend cannot be had.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A checkpoint cannot teach the network.
    #[error("the teacher {} {problem}; take one of the student's image size, channels and classes", .path.display())]
    Teacher {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The network cannot be quantized, or cannot any more.
    #[error("quantization-aware training cannot quantize the network: {0}")]
    Quantize(#[from] CompileError),
    /// An option cannot be met.
    #[error("`{option}` {problem}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The output folder already holds a run.
    #[error("{} already holds a training run; pass --resume to go on with it, or choose another --out folder", .0.display())]
    Occupied(PathBuf),
    /// There is nothing to resume.
    #[error("{} holds no training run to resume; leave out --resume to start one", .0.display())]
    NothingToResume(PathBuf),
    /// The run in the folder was started with other options.
    #[error("{} was started with other options: {}; repeat them to resume, or choose another --out folder", .path.display(), .differences.join(", "))]
    OtherOptions {
        /// The output folder.
        path: PathBuf,
        /// Every option that differs.
        differences: Vec<String>,
    },
    /// The data is not what the run in the folder learns from.
    #[error("{data} is not what {} was trained on any more: {problem}", .path.display())]
    OtherData {
        /// The output folder.
        path: PathBuf,
        /// The data set.
        data: String,
        /// What was and what is, and what helps.
        problem: String,
    },
    /// A new run would write over a checkpoint.
    #[error("{} is there already, without a run to resume, and would be overwritten; choose another --out folder", .0.display())]
    Overwrites(PathBuf),
    /// The state cannot be used.
    #[error("{}: {problem}", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what helps.
        problem: String,
    },
    /// A file of the output folder cannot be written.
    #[error("cannot write the training state to {}; check that the folder is there, may be written and has room", .path.display())]
    Write {
        /// The output folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The loss is no number any more.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; a lower learning rate or a longer warm-up helps"
    )]
    Diverged {
        /// The epoch.
        epoch: usize,
        /// The step.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// A checkpoint was trained on other classes.
    #[error("{} has {classes} classes, {data} has {found}; take the data it was trained on", .checkpoint.display())]
    Classes {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Its classes.
        classes: usize,
        /// The data set.
        data: String,
        /// The data set's classes.
        found: usize,
    },
    /// The classes of a checkpoint to start from are not those of the data.
    #[error("{} {problem}", .checkpoint.display())]
    Labels {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What does not fit, and what helps.
        problem: String,
    },
    /// The observer stopped the run.
    #[error("training was stopped in epoch {0}; pass --resume to go on")]
    Stopped(usize),
    /// The observer stopped the run before there was anything to go on from.
    #[error(
        "training was stopped in the first epoch, of which nothing is kept; start it again as it was started"
    )]
    StoppedAtOnce,
    /// A checkpoint that the run goes on learning from has been replaced.
    #[error("{} is not the checkpoint any more that {} learns from{remedy}", .path.display(), .out.display())]
    OtherTeacher {
        /// The checkpoint.
        path: PathBuf,
        /// The output folder.
        out: PathBuf,
        /// What helps.
        remedy: String,
    },
}
