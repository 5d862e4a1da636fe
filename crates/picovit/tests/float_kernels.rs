//! Every instruction set's kernels on floats against the portable ones, over shapes that fill no step
//! and over numbers of very different size, so that another order gives another sum.

mod common;

use common::agree;
use picovit::kernels::float::{
    add_affine_f16, affine_f16, each, gelu, layer_norm, scores_f32, silu, softmax_f32,
    weighted_mean,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bits of a finite half-precision number.
fn half() -> impl Strategy<Value = u16> {
    (0..0x7c00u16, any::<bool>()).prop_map(|(bits, sign)| bits | u16::from(sign) << 15)
}

/// A number, most of a size that occurs.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![2 => -100f32..100.0, 1 => -4f32..4.0, 1 => -1e-3f32..1e-3, 1 => Just(-0.0)]
}

/// Zeros differ by their signs.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn linear_layers(
        (weights, bias, x, out) in (1..20usize, prop_oneof![1..70usize, 200..300usize])
            .prop_flat_map(|(outputs, inputs)| (
                vec(half(), outputs * inputs),
                vec(number(), outputs),
                vec(number(), inputs),
                vec(number(), outputs),
            )),
    ) {
        agree(|| {
            let (mut plain, mut added) = (out.clone(), out.clone());
            affine_f16(&weights, &bias, &x, &mut plain);
            add_affine_f16(&weights, &bias, &x, &mut added);
            (bits(&plain), bits(&added))
        })?;
    }

    #[test]
    fn attentions(
        (query, keys, values) in (1..70usize, 1..50usize, 1..80usize).prop_flat_map(
            |(head_dim, tokens, width)| (
                vec(number(), head_dim),
                vec(number(), tokens * head_dim),
                vec(number(), tokens * width),
            ),
        ),
        scale in 1e-4f32..0.2,
    ) {
        let tokens = keys.len() / query.len();
        agree(|| {
            let mut scores = vec![7.0; tokens];
            scores_f32(&query, &keys, scale, &mut scores);
            let mut weights = scores.clone();
            let factor = softmax_f32(&mut weights);
            let mut out = vec![7.0; values.len() / tokens];
            weighted_mean(&weights, &values, factor, &mut out);
            [bits(&scores), bits(&weights), bits(&[factor]), bits(&out)]
        })?;
    }

    #[test]
    fn norms(
        channels in vec((number(), number(), number()), 1..300),
        scale in prop::sample::select(vec![1e-6f32, 1e-2, 1.0, 1e6]),
        epsilon in 1e-8f32..1.0,
    ) {
        let x: Vec<f32> = channels.iter().map(|c| c.0 * scale).collect();
        let gamma: Vec<f32> = channels.iter().map(|c| c.1).collect();
        let beta: Vec<f32> = channels.iter().map(|c| c.2).collect();
        agree(|| {
            let mut x = x.clone();
            layer_norm(&mut x, epsilon, &gamma, &beta);
            bits(&x)
        })?;
    }

    #[test]
    fn activations(values in vec(number(), 0..100)) {
        agree(|| {
            let (mut by_gelu, mut by_silu) = (values.clone(), values.clone());
            each(gelu, &mut by_gelu);
            each(silu, &mut by_silu);
            [bits(&by_gelu), bits(&by_silu)]
        })?;
    }
}
