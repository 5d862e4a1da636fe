//! Kernels on floats, beyond what a network reaches.

use half::f16;
use picovit::kernels::float as kernels;
use picovit_tests::reference::Random;
use picovit_tests::reference::floats::{FloatNorm, primitives};
use proptest::prelude::*;

use crate::cases;

#[test]
fn every_finite_half_widens_exactly() {
    let mut finite = 0;
    for bits in 0..=u16::MAX {
        let half = f16::from_bits(bits);
        if half.is_finite() {
            finite += 1;
            assert_eq!(kernels::widen(bits).to_bits(), half.to_f32().to_bits(), "{bits:#06x}");
        }
    }
    assert_eq!(finite, 2 * 31 * 1024);
}

/// Any number there is, most of a size that occurs.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![3 => -100f32..100.0, 1 => -4f32..4.0, 1 => prop::num::f32::ANY]
}

/// A finite half-precision number.
fn half() -> impl Strategy<Value = f16> {
    (0..0x7c00u16, any::<bool>())
        .prop_map(|(bits, sign)| f16::from_bits(bits | u16::from(sign) << 15))
}

fn bits(halves: &[f16]) -> Vec<u16> {
    halves.iter().map(|half| half.to_bits()).collect()
}

/// The same bits; there are many numbers that are none, and which is not specified.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn kernel_functions(v in number()) {
        prop_assert!(same(kernels::exp(v), primitives::exp(v)), "exp {v}");
        prop_assert!(same(kernels::erf(v), primitives::erf(v)), "erf {v}");
        prop_assert!(same(kernels::gelu(v), primitives::gelu(v)), "gelu {v}");
        prop_assert!(same(kernels::silu(v), primitives::silu(v)), "silu {v}");
    }

    /// The nearest integer, of the two nearest the even one.
    #[test]
    fn kernel_round(v in -4_194_303f32..4_194_303.0, half in -100_000i32..100_000) {
        prop_assert_eq!(kernels::round(v), v.round_ties_even());
        let v = half as f32 / 2.0;
        prop_assert_eq!(kernels::round(v), v.round_ties_even());
    }

    #[test]
    fn kernel_quantize(v in prop_oneof![number(), -40_000f32..40_000.0, -300f32..300.0]) {
        for (low, high) in [(-128.0, 127.0), (-32_768.0, 32_767.0)] {
            let q = kernels::quantize(v, low, high);
            prop_assert_eq!(q as f32, primitives::quantize(v, low, high));
            let exact = if v.is_nan() { low } else { v.clamp(low, high).round_ties_even() };
            prop_assert_eq!(q as f32, exact);
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    /// Products of very different size, so that another order gives another sum.
    #[test]
    fn kernel_dots(
        pairs in prop::collection::vec((half(), -1e4f32..1e4), 0..70),
        bias in -10f32..10.0,
    ) {
        let (w, x): (Vec<f16>, Vec<f32>) = pairs.into_iter().unzip();
        let expected = primitives::weighted(&w, &x);
        prop_assert!(same(kernels::dot_f16(&bits(&w), &x), expected));
        let wide: Vec<f32> = w.iter().map(|w| w.to_f32()).collect();
        prop_assert!(same(kernels::dot_f32(&wide, &x), expected));
        prop_assert!(same(primitives::dot(&wide, &x), expected));
        if !x.is_empty() {
            let (mut out, weights) = ([7.0; 2], bits(&[w.clone(), w].concat()));
            kernels::affine_f16(&weights, &[bias, 0.0], &x, &mut out);
            prop_assert!(same(out[0], expected + bias));
            prop_assert!(same(out[1], expected + 0.0));
            kernels::add_affine_f16(&weights, &[0.0, bias], &x, &mut out);
            prop_assert!(same(out[0], (expected + bias) + (expected + 0.0)));
            prop_assert!(same(out[1], (expected + 0.0) + (expected + bias)));
            kernels::scores_f32(&x, &[wide.clone(), wide].concat(), 0.125, &mut out);
            prop_assert!(out.iter().all(|&out| same(out, expected * 0.125)));
        }
    }

    #[test]
    fn kernel_layer_norm(
        channels in prop::collection::vec((-1e3f32..1e3, -3f32..3.0, -3f32..3.0), 1..300),
        scale in prop::sample::select(vec![1e-6f32, 1e-2, 1.0, 1e6]),
        epsilon in 1e-8f32..1.0,
    ) {
        let mut x: Vec<f32> = channels.iter().map(|c| c.0 * scale).collect();
        let gamma: Vec<f32> = channels.iter().map(|c| c.1).collect();
        let beta: Vec<f32> = channels.iter().map(|c| c.2).collect();
        let norm = FloatNorm { epsilon, gamma: gamma.clone(), beta: beta.clone() };
        let expected = norm.token(&x);
        kernels::layer_norm(&mut x, epsilon, &gamma, &beta);
        prop_assert!(x.iter().zip(&expected).all(|(&a, &b)| same(a, b)), "{x:?} {expected:?}");
    }

    #[test]
    fn kernel_attention(
        scores in prop::collection::vec(-60f32..60.0, 1..50),
        width in 1..20usize,
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let values: Vec<f32> =
            (0..scores.len() * width).map(|_| (random.unit() * 20.0 - 10.0) as f32).collect();
        let (e, factor) = primitives::softmax(&scores);
        let mut weights = scores;
        prop_assert!(same(kernels::softmax_f32(&mut weights), factor));
        prop_assert!(weights.iter().zip(&e).all(|(&a, &b)| same(a, b)));
        let mut out = vec![7.0; width];
        kernels::weighted_mean(&weights, &values, factor, &mut out);
        for (c, &out) in out.iter().enumerate() {
            let terms = e.iter().enumerate().map(|(t, e)| e * values[t * width + c]);
            prop_assert!(same(out, primitives::plain(terms) * factor));
        }
    }
}
