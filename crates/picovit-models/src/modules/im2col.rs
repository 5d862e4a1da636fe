//! Convolution as one matrix product, for training.
//!
//! The gradient of a convolution's weights is itself a convolution whose kernel is as large as the
//! map, which CPU libraries have no fast code for. As a product of the unfolded image with the
//! weights, forward and backward passes are plain matrix products on every backend.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor};

use super::precision::in_type_of;

/// The same as `conv.forward(x)`, for square kernels without dilation and groups.
pub(crate) fn convolve<B: Backend>(conv: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, _, height, width] = x.dims();
    let weight = conv.weight.val();
    let [outputs, inputs, kernel, _] = weight.dims();
    let stride = conv.stride[0];
    let border = border(conv);
    let steps = |size: usize| (size + 2 * border - kernel) / stride + 1;
    let (out_height, out_width) = (steps(height), steps(width));

    let dtype = x.dtype();
    // Before the image is unfolded: what follows is many times larger.
    let x = in_type_of(x, &weight).permute([0, 2, 3, 1]);
    let patches = if kernel == 1 && stride == 1 {
        x
    } else {
        let x = surround::<B, 1>(surround::<B, 2>(x, border, stride), border, stride);
        let taps = (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x)));
        let taps = taps.map(|(top, left)| {
            let rows = every::<B, 1>(x.clone(), top, stride, out_height);
            every::<B, 2>(rows, left, stride, out_width)
        });
        Tensor::cat(taps.collect(), 3)
    };
    let patches = patches.reshape([batch * out_height * out_width, kernel * kernel * inputs]);
    let weight = weight.permute([2, 3, 1, 0]).reshape([kernel * kernel * inputs, outputs]);
    let mut y = patches.matmul(weight).cast(FloatDType::from(dtype));
    if let Some(bias) = &conv.bias {
        y = y + bias.val().reshape([1, outputs]);
    }
    y.reshape([batch, out_height, out_width, outputs]).permute([0, 3, 1, 2])
}

/// Whether the windows of a convolution tile the image.
pub(crate) fn is_patchwise<B: Backend>(conv: &Conv2d<B>) -> bool {
    conv.kernel_size == conv.stride
}

/// Zero border of a convolution whose border is the same on every side.
pub(crate) fn border<B: Backend>(conv: &Conv2d<B>) -> usize {
    match conv.padding {
        PaddingConfig2d::Explicit(border, ..) => border,
        _ => 0,
    }
}

/// Adds zeros on both sides of an axis; behind, enough for whole strides.
pub(super) fn surround<B: Backend, const AXIS: usize>(
    x: Tensor<B, 4>,
    border: usize,
    stride: usize,
) -> Tensor<B, 4> {
    let mut shape = x.dims();
    shape[AXIS] = border + stride;
    let (device, dtype) = (x.device(), x.dtype());
    let back = Tensor::zeros(shape, (&device, dtype));
    if border == 0 {
        return Tensor::cat(vec![x, back], AXIS);
    }
    shape[AXIS] = border;
    let front = Tensor::zeros(shape, (&device, dtype));
    Tensor::cat(vec![front, x, back], AXIS)
}

/// `count` positions of an axis from `start` on, `stride` apart.
pub(super) fn every<B: Backend, const AXIS: usize>(
    x: Tensor<B, 4>,
    start: usize,
    stride: usize,
    count: usize,
) -> Tensor<B, 4> {
    let run = x.narrow(AXIS, start, count * stride);
    if stride == 1 {
        return run;
    }
    let mut dims = run.dims();
    dims[AXIS] = count;
    if (1..3).contains(&AXIS) && dims[3] == 1 {
        // On CubeCL backends a reshape that adds an axis to a narrowed or permuted tensor reads the
        // wrong values where its last extent is 1 (`split_strides`, Burn 0.21). This one adds none.
        let mut split = [dims[0], dims[1], dims[2], dims[2]];
        (split[AXIS], split[AXIS + 1]) = (count, stride);
        return run.reshape(split).narrow(AXIS + 1, 0, 1).reshape(dims);
    }
    let mut split = [0; 5];
    split[..AXIS].copy_from_slice(&dims[..AXIS]);
    (split[AXIS], split[AXIS + 1]) = (count, stride);
    split[AXIS + 2..].copy_from_slice(&dims[AXIS + 1..]);
    run.reshape(split).narrow(AXIS + 1, 0, 1).reshape(dims)
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    type B = Autodiff<Flex>;

    #[test]
    fn it_equals_the_convolution_in_values_and_gradients() {
        let cases = [
            (3, 1, 1, 6, 5),
            (7, 2, 3, 9, 12),
            (7, 2, 3, 2, 1),
            (4, 4, 0, 8, 12),
            (3, 1, 0, 6, 5),
            (3, 2, 1, 6, 5),
            (1, 1, 0, 3, 4),
        ];
        // One channel is split in another way than several.
        let cases = cases.iter().flat_map(|case| [1, 2].map(|channels| (channels, case)));
        for (channels, &(kernel, stride, border, height, width)) in cases {
            let device = Default::default();
            let conv = Conv2dConfig::new([channels, 4], [kernel; 2])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(border, border, border, border))
                .with_bias(border == 0)
                .init::<B>(&device);
            let shape = [3, channels, height, width];
            let x = Tensor::<B, 4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let run = |forward: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>| {
                let x = x.clone().require_grad();
                let y = forward(x.clone());
                let gradients = (y.clone() * y.clone()).sum().backward();
                let weight = conv.weight.val().grad(&gradients).unwrap();
                [y.inner(), x.grad(&gradients).unwrap(), weight].map(Tensor::into_data)
            };
            let expected = run(&|x| conv.forward(x));
            let found = run(&|x| convolve(&conv, x));
            for (expected, found) in expected.iter().zip(&found) {
                expected.assert_approx_eq::<f32>(found, Tolerance::rel_abs(1e-4, 1e-4));
            }
        }
    }
}
