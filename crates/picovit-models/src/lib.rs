//! Compact transformer families in Burn: configuration, modules, checkpoints, import of
//! published weights, and lowering to the graph that `picovit-compiler` quantizes.
//!
//! ```text
//! ModelConfig --Cct::init--> Cct<B> --record--> best.mpk + best.json
//!                              ^                     |
//!                 import_pth --+      load_graph <---+--> picovit_compiler::graph::Graph
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cct;
mod config;
mod im2col;
mod pool;
pub mod record;
mod weights;

pub use cct::{Block, BlockMasks, Cct};
pub use config::{
    Architecture, CctConfig, ConfigError, ImageSize, ModelConfig, PositionalEmbedding,
};
pub use record::{RecordError, load, save};
pub use weights::{Initializer, ParameterKind, ParameterSpec, Parameters};
