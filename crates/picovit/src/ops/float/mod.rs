//! The operations of f16 and mixed artifacts: the same as the integer ones, on 32-bit floats with
//! 16-bit weights, and the conversions between the two.

mod attention;
mod avg_pool;
mod class_pool;
mod conv;
mod convert;
mod embed;
mod fold;
mod head;
mod inverted_residual;
mod mlp;
mod norm;
mod seq_pool;

pub use attention::FloatAttention;
pub use avg_pool::FloatAvgPool;
pub use class_pool::FloatClassPool;
pub use conv::FloatConv;
pub use convert::Convert;
pub use embed::FloatEmbed;
pub use fold::FloatFold;
pub use head::FloatHead;
pub use inverted_residual::FloatInvertedResidual;
pub use mlp::FloatMlp;
pub use norm::FloatNorm;
pub use seq_pool::FloatSeqPool;

use crate::format::float::Activation;
use crate::kernels::float::{each, gelu, silu};

/// The activation of every value, in place.
fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => {
            for v in values {
                *v = if *v > 0.0 { *v } else { 0.0 };
            }
        }
        Activation::Gelu => each(gelu, values),
        Activation::Silu => each(silu, values),
    }
}
