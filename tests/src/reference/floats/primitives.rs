//! Section 17: the functions everything else is made of.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use half::f16;
use picovit::format::float::Activation;

/// `max(a, b)`.
#[must_use]
pub fn max(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `min(a, b)`.
#[must_use]
pub fn min(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// The largest of many.
#[must_use]
pub fn largest(values: impl IntoIterator<Item = f32>) -> f32 {
    values.into_iter().fold(f32::MIN, max)
}

/// The sum in eight lanes.
#[must_use]
pub fn lane(terms: impl IntoIterator<Item = f32>) -> f32 {
    let mut l = [0.0f32; 8];
    for (i, term) in terms.into_iter().enumerate() {
        l[i % 8] += term;
    }
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// The sum one after the other.
#[must_use]
pub fn plain(terms: impl IntoIterator<Item = f32>) -> f32 {
    let mut sum = 0.0f32;
    for term in terms {
        sum += term;
    }
    sum
}

/// The dot product of two rows of floats.
///
/// # Panics
/// If their lengths differ.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    lane(a.iter().zip(b).map(|(&a, &b)| a * b))
}

/// The dot product of weights and a row of floats.
///
/// # Panics
/// If their lengths differ.
#[must_use]
pub fn weighted(w: &[f16], x: &[f32]) -> f32 {
    assert_eq!(w.len(), x.len());
    lane(w.iter().zip(x).map(|(&w, &x)| f32::from(w) * x))
}

/// The nearest integer, ties to even, of a number below 2^22.
#[must_use]
pub fn round(v: f32) -> f32 {
    (v + 12_582_912.0) - 12_582_912.0
}

/// The nearest integer in `lo..=hi`.
#[must_use]
pub fn quantize(v: f32, lo: f32, hi: f32) -> f32 {
    round(min(hi, max(lo, v)))
}

/// The exponential function.
#[must_use]
pub fn exp(v: f32) -> f32 {
    let v = min(88.0, max(-87.0, v));
    let n = round(v * LOG2_E);
    let r = (v - n * (355.0 / 512.0)) + n * 2.121_944_4e-4;
    let mut p = 1.0f32 / 5040.0;
    for c in [1.0f32 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0, 1.0, 1.0] {
        p = p * r + c;
    }
    // The power of two, by its exponent's bits.
    p * f32::from_bits(((127.0 + n) as u32) << 23)
}

/// The error function.
#[must_use]
pub fn erf(v: f32) -> f32 {
    let a = v.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4f32;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p * t + c;
    }
    let y = 1.0 - (p * t) * exp(-(a * a));
    if v < 0.0 { -y } else { y }
}

/// Exact GELU, as exact as `erf`.
#[must_use]
pub fn gelu(v: f32) -> f32 {
    (0.5 * v) * (1.0 + erf(v * FRAC_1_SQRT_2))
}

/// SiLU.
#[must_use]
pub fn silu(v: f32) -> f32 {
    v / (1.0 + exp(-v))
}

/// The activation of one value.
#[must_use]
pub fn activate(activation: Activation, v: f32) -> f32 {
    match activation {
        Activation::Identity => v,
        Activation::Relu if v > 0.0 => v,
        Activation::Relu => 0.0,
        Activation::Gelu => gelu(v),
        Activation::Silu => silu(v),
    }
}

/// `e` and `factor` of a row of scores.
#[must_use]
pub fn softmax(a: &[f32]) -> (Vec<f32>, f32) {
    let most = largest(a.iter().copied());
    let e: Vec<f32> = a.iter().map(|&a| exp(a - most)).collect();
    let factor = 1.0 / plain(e.iter().copied());
    (e, factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes 0 to 7 get `[1, 2^25]`, `2, ... 8`: in one run of additions the sum would lose the 1.
    #[test]
    fn the_order_of_a_sum() {
        let big = 33_554_432.0;
        assert_eq!(lane([1.0, 2.0, 4.0]), 7.0);
        // (big + 1) - big is 0 in one lane, 1 over two.
        assert_eq!(
            lane([big, 0., 0., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 0., 0., 0., -big]),
            0.0
        );
        assert_eq!(lane([big, 1., 0., 0., -big]), 1.0);
        assert_eq!(plain([big, 1.0, -big]), 0.0);
    }

    #[test]
    fn functions_by_hand() {
        assert_eq!([2.5, 3.5, -0.5, 1e6 + 0.5].map(round), [2.0, 4.0, 0.0, 1e6]);
        assert_eq!(quantize(f32::NAN, -128.0, 127.0), -128.0);
        assert_eq!(quantize(300.0, -128.0, 127.0), 127.0);
        assert_eq!(exp(0.0), 1.0);
        for v in -800..800 {
            let v = v as f32 / 10.0;
            let real = f64::from(v).exp();
            assert!((f64::from(exp(v)) / real - 1.0).abs() < 4e-7, "exp {v}");
        }
        // erf(1) = 0.8427008, erf(1 / sqrt 2) = 0.6826895.
        assert!((erf(-1.0) + 0.842_700_8).abs() < 3e-7);
        assert!((gelu(1.0) - 0.841_344_7).abs() < 3e-7);
        // 2 / (1 + exp(-2)) = 1.7615942.
        assert!((silu(2.0) - 1.761_594_2).abs() < 3e-7);
        let (e, factor) = softmax(&[1.0, 1.0, -200.0]);
        assert_eq!((e[0], e[1], factor), (1.0, 1.0, 0.5));
        assert!(e[2] > 0.0 && e[2] < 1e-37);
    }

    /// Of 0 and -0 the first one stays.
    #[test]
    fn the_sign_of_the_largest() {
        assert!(largest([-1.0, -0.0, 0.0]).is_sign_negative());
        assert!(largest([-1.0, 0.0, -0.0]).is_sign_positive());
        assert!(activate(Activation::Relu, -0.0).is_sign_positive());
    }
}
