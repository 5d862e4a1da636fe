//! Compact transformer families in Burn: configuration, modules, checkpoints, import of
//! published weights, and lowering to the graph that `picovit-compiler` quantizes.
//!
//! ```text
//! ModelConfig --Network::init--> Network<B> --record--> best.mpk + best.json
//!                                    ^                     |
//!                       import_pth --+      load_graph <---+--> picovit_compiler::graph::Graph
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cct;
mod config;
mod im2col;
mod import;
mod infer;
mod lower;
mod network;
mod pool;
pub mod record;
mod tensors;
mod weights;

pub use cct::{Block, BlockMasks, Cct};
pub use config::{
    Architecture, CctConfig, ConfigError, ImageSize, ModelConfig, PositionalEmbedding,
};
pub use import::{ImportError, import_checkpoint, import_pth};
pub use infer::{float_logits, normalize};
pub use lower::{load_graph, lower};
pub use network::Network;
pub use record::{RecordError, load, save};
pub use weights::{Initializer, ParameterKind, ParameterSpec, Parameters};
