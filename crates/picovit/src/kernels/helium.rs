//! The vectors of Cortex-M55 and later, for [`Packing::Helium`]; those of single values serve any
//! packing.
//!
//! Stable Rust has neither intrinsics nor vector operands for them, hence functions in assembly that
//! keep the procedure call standard. Loops are hardware loops (`wlstp`, `letp`), which mask the lanes
//! behind the last value.
//!
//! [`Packing::Helium`]: crate::format::Packing::Helium

mod block;
mod bytes;
mod depthwise;
mod norm;
mod patches;
mod product;
mod residual;
mod softmax;
mod sums;
mod winograd4;

pub(crate) use block::{columns, output};
pub(super) use block::{gather, interleave};
pub(super) use bytes::{copy, copy_rows, look_up, max_into, max_into_pixel};
pub(super) use depthwise::depthwise;
pub(super) use norm::{sums_of_squares, write8, write16};
pub(super) use patches::Patches;
pub(super) use product::{add16, int8, rows, sums};
pub(super) use residual::residual_add8;
pub(super) use softmax::{largest, weights};
pub(super) use sums::{add_scaled, add_scaled_channels, dot, multiply_add};
pub(super) use winograd4::{winograd4, winograd4_patch};
