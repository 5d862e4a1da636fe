//! Muon for convolution kernels as well as for matrices.

use burn::optim::{AdjustLrFn, Muon, MuonConfig, MuonState, SimpleOptimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Burn's Muon takes matrices only; a convolution's kernel `[out, in, height, width]` is one of
/// `[out, in * height * width]`.
#[derive(Clone)]
pub(crate) struct Matrices<B: Backend>(Muon<B>);

impl<B: Backend> Matrices<B> {
    /// Updates have the root mean square of AdamW's usual ones, times the learning rate.
    pub(crate) fn new() -> Self {
        Self(MuonConfig::new().with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW).build())
    }
}

impl<B: Backend> SimpleOptimizer<B> for Matrices<B> {
    type State<const D: usize> = MuonState<B, 2>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let shape = tensor.dims();
        let matrix = [shape[0], shape[1..].iter().product()];
        let (tensor, state) =
            self.0.step(rate, tensor.reshape(matrix), gradient.reshape(matrix), state);
        (tensor.reshape(shape), state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        <Muon<B> as SimpleOptimizer<B>>::to_device(state, device)
    }
}
