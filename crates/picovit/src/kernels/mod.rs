//! The inner loops, one operation a file: portable Rust, exactly as `docs/arithmetic.md` says, and
//! beside it the same for some instruction sets.
//!
//! Kernels work on slices whose lengths the model's validation has fixed. Where a length does
//! not fit they do less. In release builds they never panic: there is no indexing and no division that
//! could. With overflow checks and debug assertions, extents that no validated model has may.

#[cfg(all(target_arch = "aarch64", not(target_pointer_width = "64")))]
compile_error!(
    "the kernels for AArch64 are written for addresses of 64 bits: targets of ILP32 are not supported"
);

mod block;
mod conv;
mod conv_row;
#[cfg(dsp)]
mod cortex_m;
#[cfg(armv6m)]
mod cortex_m0;
mod depthwise;
mod embed;
#[cfg(feature = "f16")]
pub mod float;
#[cfg(all(feature = "f16", fpu))]
mod fpu;
#[cfg(mve)]
mod helium;
mod isa;
mod layer;
mod layer_rows;
mod linear;
mod matmul;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod requant;
mod residual;
mod softmax;
mod table;
#[cfg(target_feature = "simd128")]
mod wasm;
#[cfg(wide)]
mod wide;
mod winograd;
mod winograd4;
mod winograd4_tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use block::{Block, Operand};
pub use conv::{
    PatchPairs, Window, copy, copy_patch, copy_patch_pair, max_into, max_into_pixel, max_into_row,
    patch_into_block,
};
pub use conv_row::{PixelRow, convolve_row};
#[cfg(all(dsp, not(mve)))]
pub(crate) use cortex_m::{pack_columns, pack_rows};
pub use depthwise::{Depthwise, depthwise};
pub use embed::{add_scaled, add_scaled_channels};
#[cfg(mve)]
pub(crate) use helium::{columns, output};
pub use isa::Isa;
pub use layer::{Int8, linear_add16, linear_int8, scores, weighted_sums};
pub use layer_rows::{linear_add16_rows, linear_int8_rows, scores_rows, weighted_sums_rows};
pub use linear::{dot, dot_i16, multiply_add};
pub use matmul::{Matrix, matmul};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::columns;
pub use norm::{NormalizedRow, normalize};
pub use requant::{mulhi, mulhi_add, requant8, residual_add, sat8, sat16};
pub use residual::{Shortcut, residual_add8};
pub use softmax::{row_mult, softmax_weights};
pub use table::look_up;
pub use winograd::{Winograd, winograd, winograd_patch};
pub use winograd4::{winograd4, winograd4_patch};
pub use winograd4_tiles::{TilePatches, winograd4_tiles};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::interleave;
