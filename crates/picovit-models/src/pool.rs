//! The tokenizer's max-pool: window 3, stride 2, border 1.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::module::max_pool2d;

/// Max-pooling that every backend can differentiate. Candle has no max-pool with indices,
/// which Burn's own gradient needs, so it gets the pairwise variant.
pub(crate) fn max_pool<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    if B::name(&x.device()).contains("candle") {
        max_pool_pairwise(x)
    } else {
        max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], false)
    }
}

/// The same from concatenation, slices and pairwise maxima, one axis after the other.
fn max_pool_pairwise<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let x = pool_axis::<B, 2>(x);
    pool_axis::<B, 3>(x)
}

fn pool_axis<B: Backend, const AXIS: usize>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let mut shape = x.dims();
    let size = shape[AXIS];
    let half = size.div_ceil(2);
    // One border value in front; behind, as many as complete the last pair and its successor.
    shape[AXIS] = 1;
    let front = Tensor::full(shape, BORDER, &x.device());
    shape[AXIS] = 2 * half + 1 - size;
    let back = Tensor::full(shape, BORDER, &x.device());
    let padded = Tensor::cat(vec![front, x, back], AXIS);
    let every_other = |start: usize| -> Tensor<B, 4> {
        let pairs = padded.clone().narrow(AXIS, start & !1, 2 * half);
        let mut dims = pairs.dims();
        let mut split = [0; 5];
        split[..AXIS].copy_from_slice(&dims[..AXIS]);
        (split[AXIS], split[AXIS + 1]) = (half, 2);
        split[AXIS + 2..].copy_from_slice(&dims[AXIS + 1..]);
        dims[AXIS] = half;
        pairs.reshape(split).narrow(AXIS + 1, start & 1, 1).reshape(dims)
    };
    every_other(0).max_pair(every_other(1)).max_pair(every_other(2))
}

/// Below every activation, and finite, so that gradients stay numbers.
const BORDER: f32 = -1e30;

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    type B = Autodiff<Flex>;

    #[test]
    fn both_variants_agree_in_values_and_gradients() {
        for (height, width) in [(6, 8), (7, 5), (1, 4), (2, 1)] {
            let shape = [2, 3, height, width];
            let device = Default::default();
            let x = Tensor::<B, 4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let run = |pool: fn(Tensor<B, 4>) -> Tensor<B, 4>| {
                let x = x.clone().require_grad();
                let y = pool(x.clone());
                let gradients = (y.clone() * y.clone()).sum().backward();
                (y.into_data(), x.grad(&gradients).unwrap().into_data())
            };
            let (native, native_gradient) = run(max_pool);
            let (pairwise, pairwise_gradient) = run(max_pool_pairwise);
            native.assert_eq(&pairwise, true);
            native_gradient.assert_approx_eq::<f32>(&pairwise_gradient, Tolerance::default());
        }
    }
}
