//! Sections 17 and 18 of the contract: the operations of f16 and mixed artifacts.
//!
//! Every sum runs in the order of the page, element by element.

mod attention;
mod builder;
mod conv;
mod convert;
mod embed;
mod filler;
mod inverted_residual;
mod layer;
mod mlp;
mod parser;
mod pool;
pub mod primitives;

pub use attention::FloatAttention;
pub use conv::{FloatConv, FloatPool};
pub use convert::Convert;
pub use embed::{FloatEmbed, FloatFold};
pub use inverted_residual::FloatInvertedResidual;
pub use layer::{FloatLayer, FloatNorm};
pub use mlp::FloatMlp;
pub use pool::{FloatAvgPool, FloatClassPool, FloatHead, FloatSeqPool};

use super::{Matrix, Second, Values};

/// One operation on floats, or from or to them.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatOp {
    /// Between integers and floats.
    Convert(Convert),
    /// Convolution.
    Conv(FloatConv),
    /// Map to residual stream.
    Embed(FloatEmbed),
    /// Attention sub-block.
    Attention(FloatAttention),
    /// MLP sub-block.
    Mlp(FloatMlp),
    /// Sequence pooling.
    SeqPool(FloatSeqPool),
    /// Classifier.
    Head(FloatHead),
    /// Inverted residual.
    InvertedResidual(FloatInvertedResidual),
    /// Layer norm back into a map.
    Fold(FloatFold),
    /// Layer norm of the first token.
    ClassPool(FloatClassPool),
    /// Mean over all pixels.
    AvgPool(FloatAvgPool),
}

/// What an intermediate tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `y`, the output of the norm.
    Norm,
    /// `q`.
    Query,
    /// `k`.
    Key,
    /// `v`.
    Value,
    /// `att`.
    Attention,
    /// `f1` of the first layer: `e` of an inverted residual.
    Activation,
    /// `d` of an inverted residual.
    DepthwiseActivation,
}

/// What an operation computed.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatTrace {
    /// Intermediate tensors.
    pub steps: Vec<(Step, Matrix<f32>)>,
    /// The output.
    pub output: Values,
}

impl FloatTrace {
    fn plain(output: Matrix<f32>) -> Self {
        Self { steps: vec![], output: Values::F32(output) }
    }
}

/// A matrix, one row after the other.
fn by_row<T>(rows: usize, columns: usize, row: impl FnMut(usize) -> Vec<T>) -> Matrix<T> {
    Matrix::new(rows, columns, (0..rows).flat_map(row).collect())
}

impl FloatOp {
    /// Whether the operation may be in an f16 artifact.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        !matches!(self, Self::Convert(_))
    }

    /// Where the operation takes a second input from, if it does.
    #[must_use]
    pub fn second(&self) -> Option<Second> {
        match self {
            Self::Conv(op) => op.second,
            _ => None,
        }
    }

    /// Whether the output takes the place of the input.
    #[must_use]
    pub fn in_place(&self) -> bool {
        match self {
            Self::Attention(_) | Self::Mlp(_) => true,
            Self::InvertedResidual(op) => op.residual,
            _ => false,
        }
    }

    /// The whole operation.
    ///
    /// # Panics
    /// If an input has the wrong type or shape.
    #[must_use]
    pub fn run(&self, input: &Values, second: Option<&Values>) -> FloatTrace {
        match (self, input) {
            (Self::Convert(op), _) => FloatTrace { steps: vec![], output: op.run(input) },
            (Self::Conv(op), _) => FloatTrace::plain(op.run(input, second)),
            (Self::Embed(op), Values::F32(map)) => FloatTrace::plain(op.run(map)),
            (Self::Attention(op), Values::F32(x)) => op.run(x),
            (Self::Mlp(op), Values::F32(x)) => op.run(x),
            (Self::SeqPool(op), Values::F32(x)) => op.run(x),
            (Self::Head(op), Values::F32(x)) => {
                FloatTrace { steps: vec![], output: Values::I16(op.run(x)) }
            }
            (Self::InvertedResidual(op), Values::F32(map)) => op.run(map),
            (Self::Fold(op), Values::F32(x)) => FloatTrace::plain(op.run(x)),
            (Self::ClassPool(op), Values::F32(x)) => FloatTrace::plain(op.run(x)),
            (Self::AvgPool(op), Values::F32(map)) => FloatTrace::plain(op.run(map)),
            _ => panic!("an operation on floats without them"),
        }
    }
}
