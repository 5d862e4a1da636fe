//! Inner loops on 32-bit floats, sections 17 and 18 of `docs/arithmetic.md`: a fixed order of
//! summation, no fused multiply-add, and functions made of nothing but IEEE 754 additions,
//! multiplications, divisions and square roots, so that every target gives the same bits.

#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};
#[cfg(target_arch = "x86_64")]
use super::x86::float as x86;
use crate::rows::rows;

/// Partial sums of a dot product.
pub const LANES: usize = 8;

/// A finite half-precision number as a float, exactly.
#[must_use]
#[inline(always)]
pub fn widen(half: u16) -> f32 {
    // Exponent and mantissa move into place; the factor corrects the exponent's bias, for subnormal
    // numbers too.
    let magnitude = f32::from_bits((half as u32 & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(magnitude.to_bits() | (half as u32 & 0x8000) << 16)
}

/// The sum of the lanes.
#[inline(always)]
fn total(s: [f32; LANES]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// `sum of w * x` over half-precision weights. Both slices are of one length: of others it is not said
/// which values meet.
#[must_use]
#[inline]
pub fn dot_f16(w: &[u16], x: &[f32]) -> f32 {
    #[cfg(fpu)]
    return super::fpu::dot_f16(w, x);
    #[cfg(not(fpu))]
    dot(w, x, widen)
}

/// `sum of a * b`, of slices of one length, as [`dot_f16`].
#[must_use]
#[inline]
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(fpu)]
    return super::fpu::dot_f32(a, b);
    #[cfg(not(fpu))]
    dot(a, b, |a| a)
}

/// A dot product, lane by lane.
#[cfg(not(fpu))]
#[inline(always)]
fn dot<W: Copy>(w: &[W], x: &[f32], float: impl Fn(W) -> f32) -> f32 {
    let (w, w_rest) = w.as_chunks::<LANES>();
    let (x, x_rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (w, x) in w.iter().zip(x) {
        for ((sum, &w), &x) in sums.iter_mut().zip(w).zip(x) {
            *sum += float(w) * x;
        }
    }
    for ((sum, &w), &x) in sums.iter_mut().zip(w_rest).zip(x_rest) {
        *sum += float(w) * x;
    }
    total(sums)
}

/// A linear layer of one token: `out[o] = sum of w[o][i] * x[i] + bias[o]`.
#[inline]
pub fn affine_f16(weights: &[u16], bias: &[f32], x: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::is_current() {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::affine::<false>(weights, bias, x, out) };
    }
    for (out, (weights, &bias)) in out.iter_mut().zip(rows(weights, x.len()).zip(bias)) {
        *out = dot_f16(weights, x) + bias;
    }
}

/// As [`affine_f16`], added to what `out` has.
#[inline]
pub fn add_affine_f16(weights: &[u16], bias: &[f32], x: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::is_current() {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::affine::<true>(weights, bias, x, out) };
    }
    for (out, (weights, &bias)) in out.iter_mut().zip(rows(weights, x.len()).zip(bias)) {
        *out += dot_f16(weights, x) + bias;
    }
}

/// A query's scores: `out[t] = (sum of query[c] * keys[t][c]) * scale`.
#[inline]
pub fn scores_f32(query: &[f32], keys: &[f32], scale: f32, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::is_current() {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::scores(query, keys, scale, out) };
    }
    for (out, key) in out.iter_mut().zip(rows(keys, query.len())) {
        *out = dot_f32(query, key) * scale;
    }
}

/// The nearest integer, ties to even, for magnitudes below 2^22.
#[must_use]
#[inline(always)]
pub fn round(x: f32) -> f32 {
    const SHIFTER: f32 = 12_582_912.0;
    (x + SHIFTER) - SHIFTER
}

/// A float to an integer of `low..=high`.
#[must_use]
#[inline(always)]
pub fn quantize(x: f32, low: f32, high: f32) -> i32 {
    // Comparisons rather than `max` and `min`, which some targets call a library for.
    let x = if x > low { x } else { low };
    round(if x < high { x } else { high }) as i32
}

/// `e^x` to within three units in the last place in `-87..=88`, beyond that the value at its end: by powers of
/// two and a series of degree 7.
#[must_use]
#[cfg_attr(wide, inline(always))]
pub fn exp(x: f32) -> f32 {
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let n = round(x * core::f32::consts::LOG2_E);
    // ln 2 in two parts, the first exact in few bits: n times it has no rounding error.
    let r = (x - n * (355.0 / 512.0)) + n * 2.121_944_4e-4;
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + coefficient;
    }
    p * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// The error function to within 5e-7 (Abramowitz and Stegun, formula 7.1.26).
#[must_use]
#[cfg_attr(wide, inline(always))]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p * t + coefficient;
    }
    let y = 1.0 - p * t * exp(-(a * a));
    if x < 0.0 { -y } else { y }
}

/// `x * (1 + erf(x / sqrt 2)) / 2`.
#[must_use]
#[cfg_attr(wide, inline(always))]
pub fn gelu(x: f32) -> f32 {
    (0.5 * x) * (1.0 + erf(x * core::f32::consts::FRAC_1_SQRT_2))
}

/// `x / (1 + exp(-x))`.
#[must_use]
#[cfg_attr(wide, inline(always))]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// A function of every value, in place.
#[inline]
pub fn each(function: impl Fn(f32) -> f32 + Copy, values: &mut [f32]) {
    #[cfg(wide)]
    if dispatch(Each { function, values: &mut *values }).is_some() {
        return;
    }
    for v in values {
        *v = function(*v);
    }
}

/// Sum in the order of a dot product.
#[cfg_attr(wide, inline(always))]
fn sum(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (x, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in x.iter().map(<[f32; LANES]>::as_slice).chain([rest]) {
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum += term(x);
        }
    }
    total(sums)
}

/// Layer norm of one token, in place.
#[inline]
pub fn layer_norm(x: &mut [f32], epsilon: f32, gamma: &[f32], beta: &[f32]) {
    #[cfg(wide)]
    if dispatch(LayerNorm { x: &mut *x, epsilon, gamma, beta }).is_some() {
        return;
    }
    norm(x, epsilon, gamma, beta);
}

/// As [`layer_norm`], on the caller's instruction set.
#[inline(always)]
fn norm(x: &mut [f32], epsilon: f32, gamma: &[f32], beta: &[f32]) {
    let width = x.len() as f32;
    let mean = sum(x, |x| x) / width;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / width;
    let factor = 1.0 / libm::sqrtf(variance + epsilon);
    for ((x, &gamma), &beta) in x.iter_mut().zip(gamma).zip(beta) {
        *x = ((*x - mean) * factor) * gamma + beta;
    }
}

/// `exp(score - max)` of every score, in place; returns one over their sum.
#[inline]
pub fn softmax_f32(scores: &mut [f32]) -> f32 {
    let larger = |a: f32, &b: &f32| if b > a { b } else { a };
    let max = scores.iter().fold(f32::MIN, larger);
    #[cfg(wide)]
    {
        // The sum has an order, its terms have none.
        each(move |score| exp(score - max), scores);
        1.0 / scores.iter().fold(0.0, |sum, &score| sum + score)
    }
    #[cfg(not(wide))]
    {
        let mut sum = 0.0;
        for score in scores {
            *score = exp(*score - max);
            sum += *score;
        }
        1.0 / sum
    }
}

/// `out[c] = (sum over t of weights[t] * values[t][c]) * factor`, for values `[tokens][out.len()]`.
#[inline]
pub fn weighted_mean(weights: &[f32], values: &[f32], factor: f32, out: &mut [f32]) {
    #[cfg(wide)]
    if dispatch(WeightedMean { weights, values, factor, out: &mut *out }).is_some() {
        return;
    }
    #[cfg(fpu)]
    mean::<LANES>(weights, values, factor, out);
    #[cfg(not(fpu))]
    {
        out.fill(0.0);
        for (&weight, row) in weights.iter().zip(rows(values, out.len())) {
            for (out, &v) in out.iter_mut().zip(row) {
                *out += weight * v;
            }
        }
        for out in out {
            *out *= factor;
        }
    }
}

/// [`each`].
#[cfg(wide)]
struct Each<'k, F> {
    function: F,
    values: &'k mut [f32],
}

#[cfg(wide)]
impl<F: Fn(f32) -> f32> Kernel for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for v in self.values {
            *v = (self.function)(*v);
        }
    }
}

/// [`layer_norm`].
#[cfg(wide)]
struct LayerNorm<'k> {
    x: &'k mut [f32],
    epsilon: f32,
    gamma: &'k [f32],
    beta: &'k [f32],
}

#[cfg(wide)]
impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        norm(self.x, self.epsilon, self.gamma, self.beta);
    }
}

/// [`weighted_mean`].
#[cfg(wide)]
struct WeightedMean<'k> {
    weights: &'k [f32],
    values: &'k [f32],
    factor: f32,
    out: &'k mut [f32],
}

#[cfg(wide)]
impl Kernel for WeightedMean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        mean::<{ 4 * LANES }>(self.weights, self.values, self.factor, self.out);
    }
}

/// [`weighted_mean`], so many channels at a time, whose sums stay in registers.
#[cfg(any(fpu, wide))]
#[inline(always)]
fn mean<const CHANNELS: usize>(weights: &[f32], values: &[f32], factor: f32, out: &mut [f32]) {
    let width = out.len();
    let (steps, rest) = out.as_chunks_mut::<CHANNELS>();
    let done = steps.len() * CHANNELS;
    for (step, out) in steps.iter_mut().enumerate() {
        let mut sums = [0.0; CHANNELS];
        for (&weight, row) in weights.iter().zip(rows(values, width)) {
            let row = row.get(step * CHANNELS..).and_then(<[f32]>::first_chunk::<CHANNELS>);
            let Some(row) = row else { return };
            for (sum, &v) in sums.iter_mut().zip(row) {
                *sum += weight * v;
            }
        }
        *out = sums.map(|sum| sum * factor);
    }
    rest.fill(0.0);
    for (&weight, row) in weights.iter().zip(rows(values, width)) {
        for (out, &v) in rest.iter_mut().zip(row.get(done..).unwrap_or_default()) {
            *out += weight * v;
        }
    }
    for out in rest {
        *out *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_accurate() {
        for i in -40_000..40_000 {
            let x = i as f32 / 500.0;
            let exact = libm::exp(x as f64);
            assert!((exp(x) as f64 / exact - 1.0).abs() < 4e-7, "exp {x}");
            let exact = libm::erf(x as f64);
            assert!((erf(x) as f64 - exact).abs() < 5e-7, "erf {x}");
            let exact = x as f64 / (1.0 + libm::exp(-x as f64));
            assert!((silu(x) as f64 - exact).abs() < 4e-7 * exact.abs().max(0.1), "silu {x}");
        }
        assert_eq!(exp(-1e30), exp(-87.0));
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn rounds_to_even_and_saturates() {
        assert_eq!([0.5, 1.5, -0.5, -2.6].map(round), [0.0, 2.0, 0.0, -3.0]);
        assert_eq!(quantize(1e9, -128.0, 127.0), 127);
        assert_eq!(quantize(f32::NAN, -128.0, 127.0), -128);
    }
}
