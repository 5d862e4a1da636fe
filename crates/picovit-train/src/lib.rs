//! Data sets, augmentation, recipes and the training loop.
//!
//! [`train`] takes [`TrainOptions`] and a [`BackendChoice`] and leaves `best.mpk` with
//! `best.json`, `metrics.jsonl` and a state to resume from. Everything random is drawn on the
//! host from the seed and the epoch, so that every backend sees the same batches and drops the
//! same connections, and an interrupted run continues as if nothing had happened.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod augment;
mod average;
mod backend;
mod batch;
mod clip;
pub mod data;
#[cfg_attr(
    not(all(feature = "candle-cuda", feature = "wgpu")),
    allow(unused, reason = "GPU backends, which are not compiled in, would use it")
)]
mod devices;
mod distill;
mod epoch;
mod error;
mod evaluate;
mod graphs;
mod groups;
mod masks;
mod muon;
mod observer;
mod optimizer;
mod options;
mod prepare;
mod qat;
mod random;
mod recipe;
mod schedule;
mod shard;
mod state;
mod step;
mod targets;
mod team;
#[cfg(test)]
mod test_model;
mod train;

pub use augment::{Augment, Mix, Policy};
pub use backend::{BackendChoice, BackendError};
pub use distill::Distillation;
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use observer::{Console, Observer, Silent};
pub use optimizer::OptimizerKind;
pub use options::{TrainOptions, ValidationSize};
pub use qat::{Int8Metrics, Qat};
pub use recipe::{Recipe, RecipeError};
pub use schedule::{Schedule, ScheduleKind};
pub use state::{EpochMetrics, run_options};
pub use train::{TrainSummary, train, train_observed};
