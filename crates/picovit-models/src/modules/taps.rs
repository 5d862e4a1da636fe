//! Taps: a look at the values of a network while it runs.

use std::fmt::Arguments;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Sees the values of a network as they arise, and may replace them.
///
/// Every value that the int8 engine holds is offered once, under the name that the quantizer's
/// sites carry: the name of its node in the lowered graph, with ` (int16)` behind it where the
/// engine holds a second, finer copy.
pub trait Taps<B: Backend> {
    /// The value that takes the place of `x`: a map `[batch, channels, height, width]`, tokens
    /// `[sequences, tokens, channels]` or vectors `[batch, channels]`.
    fn tap<const D: usize>(&mut self, name: Arguments<'_>, x: Tensor<B, D>) -> Tensor<B, D>;
}

/// Leaves everything as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTaps;

impl<B: Backend> Taps<B> for NoTaps {
    #[inline]
    fn tap<const D: usize>(&mut self, _: Arguments<'_>, x: Tensor<B, D>) -> Tensor<B, D> {
        x
    }
}
