//! An independent model of `docs/arithmetic.md`: what every engine must compute, written as the
//! page writes it.
//!
//! Whole tensors, one loop per sum, no streaming, no fusing, no scratch memory. Every value the
//! page gives a type is checked to fit that type, so an artifact that breaks a promise of the
//! compiler panics here rather than wrapping around. Shares nothing with the engine but the record
//! definitions of [`picovit::format`].
//!
//! Operations on floats are in [`floats`].
//!
//! - [`run`] executes an artifact; [`Network::trace`] also returns what each operation computed.
//! - [`parse`] and [`build`] turn bytes into a [`Network`] and back.
//! - [`Plan`] makes random valid networks of any small shape.

mod aligned;
mod attention;
mod avg_pool;
mod builder;
mod class_pool;
mod conv;
mod embed;
mod filler;
#[cfg(test)]
mod float;
pub mod floats;
mod fold;
mod head;
mod inverted_residual;
mod matrix;
mod mlp;
mod network;
mod norm;
mod parser;
mod plan;
pub mod primitives;
mod random;
mod seq_pool;
mod softmax;

pub use aligned::Aligned;
pub use attention::{Attention, AttentionTrace};
pub use avg_pool::AvgPool;
pub use builder::{Layout, build, build_packed, exp_table, seal};
pub use class_pool::ClassPool;
pub use conv::{Conv, ConvTrace, Second};
pub use embed::{Embed, Scaling, unfolded};
pub use filler::Style;
pub use floats::{FloatOp, FloatTrace};
pub use fold::Fold;
pub use head::Head;
pub use inverted_residual::{InvertedResidual, InvertedResidualTrace, Layer, Residual};
pub use matrix::Matrix;
pub use mlp::{Gain16, Mlp, MlpTrace, SecondActivation};
pub use network::{Network, Op, OpTrace, Values};
pub use norm::Norm;
pub use parser::parse;
pub use plan::{
    BlockPlan, ConvPlan, InvertedResidualPlan, Numbers, Plan, PoolPlan, Pooling, Stage, StreamPlan,
};
pub use random::Random;
pub use seq_pool::{SeqPool, SeqPoolTrace};
pub use softmax::softmax_weights;

/// The logits of an artifact for one input, int8 `[height][width][channels]`.
///
/// # Panics
/// If the artifact is malformed, or breaks a promise that the contract says the compiler keeps.
#[must_use]
pub fn run(artifact: &[u8], input: &[i8]) -> Vec<i16> {
    parse(artifact).run(input)
}
