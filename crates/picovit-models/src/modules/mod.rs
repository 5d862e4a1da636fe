//! The families as Burn modules.

mod block;
mod builder;
mod cct;
mod depthwise;
mod im2col;
mod keras_cct;
mod mobilevit;
mod pool;
mod pre_norm;
mod precision;
mod taps;
mod vit_lite;

pub(crate) use block::no_masks;
pub(crate) use im2col::{border, is_patchwise};

pub use block::{Block, BlockMasks};
pub use cct::Cct;
pub use keras_cct::KerasCct;
pub use mobilevit::{ConvNorm, InvertedResidual, MobileVit, MobileVitBlock, Stage};
pub(crate) use pre_norm::Mlp;
pub use pre_norm::PreNormBlock;
pub use precision::with_products_in;
pub use taps::{NoTaps, Taps};
pub use vit_lite::VitLite;

/// Epsilon of every normalisation.
pub(crate) const NORM_EPSILON: f64 = 1e-5;
