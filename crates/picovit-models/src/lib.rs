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

mod config;
mod export;
mod files;
mod import;
mod infer;
mod lower;
mod modules;
mod network;
pub mod record;
mod tensors;
mod transfer;
mod weights;

pub use config::{
    Architecture, BlockDropout, CctConfig, ConfigError, ImageSize, KerasCctConfig, MobileVitConfig,
    ModelConfig, PositionalEmbedding, VitConfig,
};
pub use export::{ExportError, export_checkpoint};
pub use import::{Hints, ImportError, StateDict, import_checkpoint, import_pth, smallest_alike};
pub use infer::{FlexNetwork, float_logits, normalize};
pub use lower::{load_graph, lower};
pub use modules::{
    Block, BlockMasks, Cct, ConvNorm, InvertedResidual, KerasCct, MobileVit, MobileVitBlock,
    NoTaps, PreNormBlock, Stage, Taps, VitLite, with_products_in,
};
pub use network::Network;
pub use record::{RecordError, load, save};
pub use transfer::transfer;
pub use weights::{Initializer, ParameterKind, ParameterSpec, Parameters};
