//! The DSP instructions of Armv7E-M and Armv8-M, for [`Packing::CortexM`].
//!
//! [`Packing::CortexM`]: crate::format::Packing::CortexM

mod block;
mod norm;
mod pool;
mod product;
mod softmax;

pub(super) use block::{gather, signed_halves, spread};
pub(super) use norm::{sums_of_squares, write8};
pub(super) use pool::max4;
pub(super) use product::{add16, int8, rows, sums};
pub(super) use softmax::{largest, weights};

/// Bytes that a quad of inputs takes, of a tile and of a block.
const QUAD: usize = 16;
