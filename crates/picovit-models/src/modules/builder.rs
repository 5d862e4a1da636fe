//! Turns host values in PyTorch's layout into Burn's parameters.

use burn::module::{Param, ParamId, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    PaddingConfig2d,
};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::NORM_EPSILON;
use crate::weights::{Parameters, transpose};

/// Takes parameters by name and makes layers of them.
pub(crate) struct Builder<'a, B: Backend> {
    pub(crate) parameters: &'a mut Parameters,
    pub(crate) device: &'a B::Device,
}

/// Extents of a square convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvSizes {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: usize,
    pub(crate) bias: bool,
}

impl ConvSizes {
    /// No bias, stride 1, and the border that keeps the extent of the map for odd kernels.
    pub(crate) const fn same(input: usize, output: usize, kernel: usize) -> Self {
        let padding = kernel / 2;
        Self { input, output, kernel, stride: 1, padding, groups: 1, bias: false }
    }

    /// The same, each channel for itself.
    pub(crate) const fn depthwise(channels: usize, kernel: usize) -> Self {
        Self { groups: channels, ..Self::same(channels, channels, kernel) }
    }

    pub(crate) const fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

impl<B: Backend> Builder<'_, B> {
    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Tensor<B, D> {
        Tensor::from_data(TensorData::new(self.parameters.take(name), shape), self.device)
    }

    pub(crate) fn param<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Param<Tensor<B, D>> {
        Param::initialized(ParamId::new(), self.tensor(name, shape).require_grad())
    }

    pub(crate) fn norm(&mut self, name: &str, dim: usize) -> LayerNorm<B> {
        let mut norm = LayerNormConfig::new(dim).with_epsilon(NORM_EPSILON).init(self.device);
        norm.gamma = self.param(&format!("{name}.weight"), [dim]);
        norm.beta = Some(self.param(&format!("{name}.bias"), [dim]));
        norm
    }

    pub(crate) fn batch_norm(&mut self, name: &str, dim: usize) -> BatchNorm<B> {
        let mut norm = BatchNormConfig::new(dim).with_epsilon(NORM_EPSILON).init(self.device);
        norm.gamma = self.param(&format!("{name}.weight"), [dim]);
        norm.beta = self.param(&format!("{name}.bias"), [dim]);
        norm.running_mean = RunningState::new(self.tensor(&format!("{name}.running_mean"), [dim]));
        norm.running_var = RunningState::new(self.tensor(&format!("{name}.running_var"), [dim]));
        norm
    }

    pub(crate) fn linear(
        &mut self,
        name: &str,
        input: usize,
        output: usize,
        bias: bool,
    ) -> Linear<B> {
        let rows = self.parameters.take(&format!("{name}.weight"));
        let columns = transpose(&rows, output, input);
        let weight = Tensor::from_data(TensorData::new(columns, [input, output]), self.device);
        let mut linear = LinearConfig::new(input, output)
            .with_bias(false)
            .with_initializer(Initializer::Zeros)
            .init(self.device);
        linear.weight = Param::initialized(ParamId::new(), weight.require_grad());
        linear.bias = bias.then(|| self.param(&format!("{name}.bias"), [output]));
        linear
    }

    pub(crate) fn conv(&mut self, name: &str, sizes: ConvSizes) -> Conv2d<B> {
        let ConvSizes { input, output, kernel, stride, padding, groups, bias } = sizes;
        let padding = match padding {
            0 => PaddingConfig2d::Valid,
            border => PaddingConfig2d::Explicit(border, border, border, border),
        };
        let mut conv = Conv2dConfig::new([input, output], [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(padding)
            .with_groups(groups)
            .with_bias(false)
            .with_initializer(Initializer::Zeros)
            .init(self.device);
        let shape = [output, input / groups, kernel, kernel];
        conv.weight = self.param(&format!("{name}.weight"), shape);
        conv.bias = bias.then(|| self.param(&format!("{name}.bias"), [output]));
        conv
    }
}
