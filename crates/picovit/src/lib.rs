//! Compact vision transformers on microcontrollers: an int8 inference engine without heap, panic
//! or floating point.
//!
//! An artifact (`model.pvit`, made by `cargo tools quantize`) is used in place from flash; all
//! working memory is one arena whose exact size is known at compile time:
//!
//! ```ignore
//! static MODEL: &[u8] = picovit::include_artifact!("model.pvit");
//! let mut arena = picovit::Arena::<{ picovit::arena_bytes(MODEL) }>::new();
//!
//! let model = picovit::Model::parse(MODEL)?;
//! let mut engine = picovit::Engine::new(&model, &mut arena)?;
//! picovit::image::fit(&frame, model.height(), model.width(), model.channels(), engine.input())?;
//! let logits = engine.run();
//! ```
//!
//! Host and chip give the same bytes: the arithmetic is specified in `docs/arithmetic.md`, the
//! artifact in `docs/format.md`.
#![no_std]
#![warn(missing_docs)]

#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!(
    "artifacts are little-endian and used in place: big-endian targets are not supported"
);

mod arena;
mod engine;
mod error;
pub mod format;
pub mod image;
#[allow(unsafe_code)]
pub mod kernels;
pub mod model;
pub mod ops;
pub mod postprocess;
mod rows;
mod scratch;

pub use arena::{Arena, arena_bytes};
pub use engine::{Engine, NoProbe, Probe, Site};
pub use error::Error;
pub use model::Model;
pub use postprocess::Prediction;
