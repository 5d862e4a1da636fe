//! The tokenizers' max-pool: window 3, stride 2.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::module::max_pool2d;

use crate::config::keras_cct::pool_border;

/// Max-pooling that every backend can differentiate. Candle has no max-pool with indices,
/// which Burn's own gradient needs, so it gets the pairwise variant.
pub(crate) fn max_pool<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    if is_candle(&x) {
        max_pool_pairwise(x)
    } else {
        max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], false)
    }
}

/// Keras' pooling of activations that are not negative: a border of one zero, then "same".
pub(crate) fn max_pool_same<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    // Behind ReLU, zeros in the border never win against the map, so that one border serves.
    if is_candle(&x) {
        max_pool_same_pairwise(x)
    } else {
        let x = zeros_around::<B, 2>(zeros_around::<B, 3>(x, 0), 0);
        max_pool2d(x, [3, 3], [2, 2], [0, 0], [1, 1], false)
    }
}

fn max_pool_same_pairwise<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let x = zeros_around::<B, 2>(zeros_around::<B, 3>(x, 1), 1);
    pairs::<B, 3>(pairs::<B, 2>(x))
}

fn is_candle<B: Backend>(x: &Tensor<B, 4>) -> bool {
    B::name(&x.device()).contains("candle")
}

fn zeros_around<B: Backend, const AXIS: usize>(x: Tensor<B, 4>, more: usize) -> Tensor<B, 4> {
    let (before, after) = pool_border(x.dims()[AXIS]);
    border::<B, AXIS>(x, before, after + more, 0.0)
}

/// The same as [`max_pool`] from concatenation, slices and pairwise maxima, one axis after the
/// other.
fn max_pool_pairwise<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    // One border value in front; behind, as many as complete the last pair and its successor.
    let behind = |size: usize| 2 * size.div_ceil(2) + 1 - size;
    let [_, _, height, width] = x.dims();
    let x = pairs::<B, 2>(border::<B, 2>(x, 1, behind(height), BORDER));
    pairs::<B, 3>(border::<B, 3>(x, 1, behind(width), BORDER))
}

fn border<B: Backend, const AXIS: usize>(
    x: Tensor<B, 4>,
    before: usize,
    after: usize,
    value: f32,
) -> Tensor<B, 4> {
    let mut shape = x.dims();
    shape[AXIS] = before;
    let front = Tensor::full(shape, value, &x.device());
    shape[AXIS] = after;
    let back = Tensor::full(shape, value, &x.device());
    Tensor::cat(vec![front, x, back], AXIS)
}

/// Maxima of three neighbours at stride 2 along an axis of even size; the last value is none's.
fn pairs<B: Backend, const AXIS: usize>(padded: Tensor<B, 4>) -> Tensor<B, 4> {
    let half = (padded.dims()[AXIS] - 1) / 2;
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
            type Pool = fn(Tensor<B, 4>) -> Tensor<B, 4>;
            let pairs: [(Pool, Pool); 2] =
                [(max_pool, max_pool_pairwise), (max_pool_same, max_pool_same_pairwise)];
            for (native, pairwise) in pairs {
                let (native, native_gradient) = run(native);
                let (pairwise, pairwise_gradient) = run(pairwise);
                native.assert_eq(&pairwise, true);
                native_gradient.assert_approx_eq::<f32>(&pairwise_gradient, Tolerance::default());
            }
        }
    }
}
