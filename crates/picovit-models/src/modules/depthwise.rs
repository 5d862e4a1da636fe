//! Depthwise convolution from shifted maps, for training.
//!
//! Burn's gradient of a grouped convolution's weights goes through the groups one by one, of
//! which a depthwise convolution has as many as channels. A sum over the taps needs as many steps
//! as the kernel has values, forwards and backwards.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::im2col::{every, surround};

/// The same as `conv.forward(x)`, for square kernels of odd edge with one filter a channel, a
/// border of half the edge, and no bias.
pub(crate) fn convolve_depthwise<B: Backend>(conv: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, channels, height, width] = x.dims();
    let weight = conv.weight.val();
    let kernel = weight.dims()[2];
    let stride = conv.stride[0];
    let border = kernel / 2;
    let (out_height, out_width) = ((height - 1) / stride + 1, (width - 1) / stride + 1);
    let x = surround::<B, 2>(surround::<B, 3>(x, border, stride), border, stride);
    let tap = |index: usize| {
        let (top, left) = (index / kernel, index % kernel);
        let rows = every::<B, 2>(x.clone(), top, stride, out_height);
        let shifted = every::<B, 3>(rows, left, stride, out_width);
        let weight = weight.clone().narrow(2, top, 1).narrow(3, left, 1);
        shifted * weight.reshape([1, channels, 1, 1])
    };
    (1..kernel * kernel).fold(tap(0), |sum, index| sum + tap(index))
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::nn::PaddingConfig2d;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    type B = Autodiff<Flex>;

    #[test]
    fn it_equals_the_convolution_in_values_and_gradients() {
        for (stride, height, width) in [(1, 6, 5), (2, 6, 8), (2, 5, 3)] {
            let device = Default::default();
            let conv = Conv2dConfig::new([4, 4], [3; 2])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_groups(4)
                .with_bias(false)
                .init::<B>(&device);
            let shape = [3, 4, height, width];
            let x = Tensor::<B, 4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let run = |forward: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>| {
                let x = x.clone().require_grad();
                let y = forward(x.clone());
                let gradients = (y.clone() * y.clone()).sum().backward();
                let weight = conv.weight.val().grad(&gradients).unwrap();
                [y.inner(), x.grad(&gradients).unwrap(), weight].map(Tensor::into_data)
            };
            let expected = run(&|x| conv.forward(x));
            let found = run(&|x| convolve_depthwise(&conv, x));
            for (expected, found) in expected.iter().zip(&found) {
                expected.assert_approx_eq::<f32>(found, Tolerance::rel_abs(1e-4, 1e-4));
            }
        }
    }
}
