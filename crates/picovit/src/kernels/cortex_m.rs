//! The DSP instructions of Armv7E-M and Armv8-M, for [`Packing::CortexM`]. Where there are vectors,
//! only products with such weights are left to them.
//!
//! [`Packing::CortexM`]: crate::format::Packing::CortexM

mod block;
#[cfg(not(mve))]
mod depthwise;
#[cfg(not(mve))]
mod norm;
#[cfg(not(mve))]
mod pack;
#[cfg(not(mve))]
mod pool;
mod product;
#[cfg(not(mve))]
mod softmax;
#[cfg(not(mve))]
mod table;
mod winograd;

pub(super) use block::{gather, spread};
#[cfg(not(mve))]
pub(super) use depthwise::depthwise;
#[cfg(not(mve))]
pub(super) use norm::{sums_of_squares, write8, write16};
#[cfg(not(mve))]
pub(crate) use pack::{pack_columns, pack_rows};
#[cfg(not(mve))]
pub(super) use pool::max_into;
pub(super) use product::{add16, int8, rows, sums};
#[cfg(not(mve))]
pub(super) use softmax::{largest, weights};
#[cfg(not(mve))]
pub(super) use table::look_up;
pub(super) use winograd::winograd;
#[cfg(not(mve))]
pub(super) use winograd::winograd_patch;

/// Bytes that a quad of inputs takes, of a tile and of a block.
const QUAD: usize = 16;
