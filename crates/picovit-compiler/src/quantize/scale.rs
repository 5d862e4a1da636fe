//! Scales, multipliers and the quantization of weights.

use super::Rounding;
use crate::error::CompileError;

/// `real = scale * (q - zero)` of one channel. `zero` need not be an integer: it never reaches the
/// engine by itself, only folded into a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Real value of one step.
    pub scale: f64,
    /// Quantized value of zero.
    pub zero: f64,
}

impl Affine {
    /// Symmetric.
    #[must_use]
    pub fn symmetric(scale: f64) -> Self {
        Self { scale, zero: 0.0 }
    }

    /// int8 over `lo..=hi`, widened to hold zero, with an integer zero point.
    #[must_use]
    pub fn int8(lo: f32, hi: f32) -> Self {
        Self::int8_at_least(lo, hi, 1e-9)
    }

    /// As [`Self::int8`], with steps of at least this.
    #[must_use]
    pub fn int8_at_least(lo: f32, hi: f32, least: f64) -> Self {
        let (lo, hi) = (f64::from(lo.min(0.0)), f64::from(hi.max(0.0)));
        let scale = ((hi - lo) / 255.0).max(least).max(1e-9);
        Self { scale, zero: (-128.0 - lo / scale).round().clamp(-128.0, 127.0) }
    }

    /// The real value of a quantized one.
    #[must_use]
    pub fn real(&self, q: i32) -> f64 {
        self.scale * (f64::from(q) - self.zero)
    }

    /// The quantized value of a real one, before rounding.
    #[must_use]
    pub fn quantized(&self, real: f64) -> f64 {
        real / self.scale + self.zero
    }
}

/// How the input channels of a layer are quantized, and what they hold on average.
#[derive(Clone, Debug, PartialEq)]
pub struct InputQuant {
    /// Scale and zero point of each channel.
    pub affine: Vec<Affine>,
    /// Quantized mean of each channel over the calibration images. Weight rounding errors are
    /// compensated in the bias at this point; the zero point itself compensates nothing else.
    pub mean: Vec<f64>,
}

impl InputQuant {
    /// Compensation at zero: exact for an input of zeros (padding).
    #[must_use]
    pub fn at_zero(affine: Vec<Affine>) -> Self {
        let mean = affine.iter().map(|a| a.zero).collect();
        Self { affine, mean }
    }

    /// The same, `count` times in a row (the taps of a kernel).
    #[must_use]
    pub fn repeat(&self, count: usize) -> Self {
        Self { affine: self.affine.repeat(count), mean: self.mean.repeat(count) }
    }
}

/// A layer's integer weights and biases, and the real value of one accumulator step per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct QWeights {
    /// Row-major `[out][in]`.
    pub weights: Vec<i8>,
    /// In accumulator steps.
    pub bias: Vec<i32>,
    /// Real value of one accumulator step.
    pub scale: Vec<f64>,
    /// Mean of every input in its steps, at which biases make up for rounding.
    pub mean: Vec<f64>,
}

/// Quantizes `[out][in]` weights per output channel, the input scales folded in, and rounds them in
/// this way.
///
/// # Errors
/// [`CompileError::Range`] where a bias does not fit.
pub(crate) fn quantize_weights(
    name: &str,
    weights: &[f32],
    bias: &[f64],
    input: &InputQuant,
    rounding: &Rounding,
) -> Result<QWeights, CompileError> {
    let inputs = input.affine.len();
    let mean = input.mean.clone();
    let mut out =
        QWeights { weights: Vec::with_capacity(weights.len()), bias: vec![], scale: vec![], mean };
    for (row, &bias) in weights.chunks_exact(inputs).zip(bias) {
        let folded: Vec<f64> =
            row.iter().zip(&input.affine).map(|(&w, a)| f64::from(w) * a.scale).collect();
        let largest = folded.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        // A channel of tiny weights, or of inputs that hardly move, must not blow its bias up.
        let inputs = folded.iter().zip(&input.affine).zip(&input.mean);
        let usual = bias + inputs.map(|((w, a), &mean)| w * (mean - a.zero)).sum::<f64>();
        let offset = bias.abs().max(usual.abs());
        let scale = (largest / 127.0).max(offset / f64::from(1 << 28)).max(1e-30);
        let exact: Vec<f64> = folded.iter().map(|w| w / scale).collect();
        let rounded = rounding.round(&exact);
        let mut total = bias / scale;
        let inputs = exact.iter().zip(&rounded).zip(&input.affine).zip(&input.mean);
        for (((exact, &rounded), a), &mean) in inputs {
            total += exact * (mean - a.zero) - f64::from(rounded) * mean;
        }
        out.weights.extend(rounded);
        out.bias.push(to_i32(name, "a bias", total)?);
        out.scale.push(scale);
    }
    Ok(out)
}

impl QWeights {
    /// Largest accumulator magnitude of each channel when inputs are at most `input` in magnitude.
    pub fn bounds(&self, input: i64) -> impl Iterator<Item = i64> + '_ {
        let inputs = self.weights.len() / self.bias.len().max(1);
        self.weights.chunks_exact(inputs).zip(&self.bias).map(move |(row, &bias)| {
            let sum: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
            sum * input + i64::from(bias).abs()
        })
    }

    /// Makes the steps of a channel longer by this factor, its weights and its bias smaller.
    pub fn coarsen(&mut self, channel: usize, factor: f64) {
        let inputs = self.mean.len();
        let row = &mut self.weights[channel * inputs..][..inputs];
        let mut bias = f64::from(self.bias[channel]) / factor;
        for (weight, mean) in row.iter_mut().zip(&self.mean) {
            let exact = f64::from(*weight) / factor;
            *weight = exact.round() as i8;
            bias += (exact - exact.round()) * mean;
        }
        self.bias[channel] = bias.round() as i32;
        self.scale[channel] *= factor;
    }

    /// Coarsens channels of very many, or very uneven, weights until no accumulator overflows.
    fn fit(&mut self, out: &[f64], input: i64) {
        // Longer steps may ask for a larger shift, which leaves less.
        for _ in 0..32 {
            let ratios = self.scale.iter().zip(out).map(|(s, out)| s / out);
            let limit = i64::from(i32::MAX) >> shift_for(ratios.fold(0.0, f64::max)).min(30);
            let bounds: Vec<i64> = self.bounds(input).collect();
            let over = bounds.iter().enumerate().filter(|&(_, &bound)| bound > limit);
            let over: Vec<(usize, i64)> = over.map(|(channel, &bound)| (channel, bound)).collect();
            if over.is_empty() {
                return;
            }
            for (channel, bound) in over {
                self.coarsen(channel, 1.01 * bound as f64 / limit as f64);
            }
        }
    }

    /// Multipliers to outputs of scale `out` with a common left shift: the smallest that keeps every
    /// multiplier within 31 bits, proven not to overflow any accumulator. Weights become coarser where
    /// that takes it.
    ///
    /// # Errors
    /// [`CompileError::Range`] where there is no such shift.
    pub fn multipliers(
        &mut self,
        name: &str,
        out: &[f64],
        input: i64,
    ) -> Result<(Vec<i32>, u32), CompileError> {
        self.fit(out, input);
        let ratios = self.scale.iter().zip(out).map(|(s, out)| s / out);
        let largest = ratios.clone().fold(0.0, f64::max);
        let shift = shift_for(largest);
        let limit = i64::from(i32::MAX) >> shift;
        if shift > 16 || self.bounds(input).any(|bound| bound > limit) {
            return Err(CompileError::Range { node: name.into(), what: "an accumulator" });
        }
        let mult = ratios.map(|ratio| multiplier(name, ratio, shift)).collect::<Result<_, _>>()?;
        Ok((mult, shift))
    }
}

/// Smallest left shift that brings a ratio below one half.
#[must_use]
pub fn shift_for(ratio: f64) -> u32 {
    // 0.4999 leaves room for the rounding of the multiplier.
    (0..32).find(|&shift| ratio / f64::from(1u32 << shift) < 0.4999).unwrap_or(32)
}

/// `round(2^32 * ratio / 2^shift)` as a positive int32.
///
/// # Errors
/// [`CompileError::Range`] if it does not fit.
pub fn multiplier(name: &str, ratio: f64, shift: u32) -> Result<i32, CompileError> {
    to_i32(name, "a multiplier", ratio * 2f64.powi(32 - shift as i32))
}

/// Rounds to int32.
///
/// # Errors
/// [`CompileError::Range`] if it does not fit.
pub fn to_i32(name: &str, what: &'static str, value: f64) -> Result<i32, CompileError> {
    let value = value.round();
    if value.abs() <= f64::from(i32::MAX) {
        Ok(value as i32)
    } else {
        Err(CompileError::Range { node: name.into(), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bias_compensates_weight_rounding_at_the_mean() {
        let input = InputQuant {
            affine: vec![Affine { scale: 0.1, zero: -3.5 }, Affine { scale: 0.02, zero: 40.0 }],
            mean: vec![17.0, -60.0],
        };
        let weights = [0.377f32, -1.3];
        let q = quantize_weights(
            "layer",
            &weights,
            &[0.25],
            &input,
            &Rounding::nearest(input.affine.len()),
        )
        .unwrap();
        let acc = i64::from(q.bias[0])
            + input
                .mean
                .iter()
                .zip(&q.weights)
                .map(|(&m, &w)| m as i64 * i64::from(w))
                .sum::<i64>();
        let real: f64 = 0.25
            + weights
                .iter()
                .zip(&input.affine)
                .zip(&input.mean)
                .map(|((&w, a), &m)| f64::from(w) * a.scale * (m - a.zero))
                .sum::<f64>();
        assert!((acc as f64 * q.scale[0] - real).abs() <= q.scale[0] * 0.5001);
    }

    #[test]
    fn multipliers_prove_the_accumulator() {
        let exact = QWeights {
            weights: vec![127; 4],
            bias: vec![1 << 30],
            scale: vec![1.0],
            mean: vec![3.0; 4],
        };
        let mut q = exact.clone();
        assert!(q.multipliers("layer", &[10.0], 128).is_ok());
        assert_eq!(q, exact);
        // No step is short enough for so much, and long enough for the output.
        let error = q.multipliers("layer", &[1.0], 128).unwrap_err();
        assert_eq!(error, CompileError::Range { node: "layer".into(), what: "an accumulator" });
    }

    /// Real value at the mean of the inputs.
    fn value(q: &QWeights, channel: usize) -> f64 {
        let row = q.weights.chunks_exact(q.mean.len()).nth(channel).unwrap();
        let sum: f64 = row.iter().zip(&q.mean).map(|(&w, m)| f64::from(w) * m).sum();
        q.scale[channel] * (sum + f64::from(q.bias[channel]))
    }

    #[test]
    fn a_shift_that_another_channel_asks_for_leaves_room() {
        let exact = QWeights {
            weights: vec![127; 8],
            bias: vec![5, 1 << 28],
            scale: vec![4.0, 1e-3],
            mean: vec![3.0; 4],
        };
        let mut q = exact.clone();
        let (_, shift) = q.multipliers("layer", &[1.0; 2], 128).unwrap();
        assert_eq!(shift, 4);
        assert!(q.bounds(128).all(|bound| bound <= i64::from(i32::MAX) >> shift));
        assert_eq!((q.scale[0], q.bias[0]), (4.0, 5));
        assert!((value(&q, 1) - value(&exact, 1)).abs() <= q.scale[1], "{q:?}");
    }

    #[test]
    fn wide_rows_become_coarser_and_keep_their_value() {
        for inputs in [1000, 1100, 4096] {
            let weights: Vec<i8> = (0..inputs).map(|i| (i * 37 % 255 - 127) as i8).collect();
            let exact = QWeights {
                weights: [weights, vec![1; inputs as usize]].concat(),
                bias: vec![1000, -50],
                scale: vec![1e-6, 2e-6],
                mean: (0..inputs).map(|i| f64::from(i % 7) * 100.0).collect(),
            };
            let mut q = exact.clone();
            q.multipliers("fc", &[1e-4; 2], 32768).unwrap();
            assert!(q.bounds(32768).all(|bound| bound <= i64::from(i32::MAX)));
            // The other row stays as it is.
            assert_eq!((q.bias[1], q.scale[1]), (-50, 2e-6));
            let wide = inputs > 1000;
            assert_eq!(q.scale[0] > exact.scale[0], wide, "{inputs}");
            assert!((value(&q, 0) - value(&exact, 0)).abs() <= q.scale[0], "{inputs}");
        }
    }

    #[test]
    fn int8_range_holds_zero_and_both_ends() {
        for (lo, hi) in [(-1.0f32, 3.0), (0.0, 6.0), (2.0, 5.0), (-0.17, 9.0), (0.0, 0.0)] {
            let a = Affine::int8(lo, hi);
            assert_eq!(a.zero.fract(), 0.0);
            assert!(a.quantized(f64::from(lo.min(0.0))) >= -128.51);
            assert!(a.quantized(f64::from(hi.max(0.0))) <= 127.51);
        }
    }
}
