//! What the unit tests compare with: float layers, and the quantization the contract intends.

use super::{Matrix, Random};

/// Seeded noise.
pub struct Noise(Random);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// Nearly normal: the sum of twelve uniform variables.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.0.unit()).sum::<f64>() - 6.0
    }
}

/// Signal and error power of quantized values against float ones.
#[derive(Default)]
pub struct Error {
    signal: f64,
    error: f64,
}

impl Error {
    pub fn add(&mut self, got: f64, expected: f64) {
        self.signal += expected * expected;
        self.error += (got - expected).powi(2);
    }

    pub fn decibels(&self) -> f64 {
        assert!(self.signal > 0.0);
        10.0 * (self.signal / self.error).log10()
    }
}

/// `(x - mean) / sqrt(variance + epsilon)`.
pub fn layer_norm(x: &[f64], epsilon: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    x.iter().map(|x| (x - mean) / (variance + epsilon).sqrt()).collect()
}

/// A linear layer of the contract.
pub struct Linear {
    pub weights: Matrix<i8>,
    pub bias: Vec<i32>,
    pub mult: Vec<i32>,
    /// Scale of each row of `weights`.
    pub scale: Vec<f64>,
}

/// Quantizes a float linear layer: symmetric weights, one scale per output, the zero point of the
/// input folded into the bias.
pub fn quantize(
    weights: &Matrix<f64>,
    bias: &[f64],
    scale_in: f64,
    zero_in: i8,
    scale_out: f64,
) -> Linear {
    let scale: Vec<f64> = (0..weights.rows())
        .map(|o| weights.row(o).iter().fold(0.0f64, |a, w| a.max(w.abs())) / 127.0)
        .collect();
    let quantized = Matrix::from_fn(weights.rows(), weights.columns(), |o, c| {
        (weights[(o, c)] / scale[o]).round() as i8
    });
    let bias = (0..weights.rows())
        .map(|o| {
            let sum: i32 = quantized.row(o).iter().map(|&w| i32::from(w)).sum();
            (bias[o] / (scale[o] * scale_in)).round() as i32 - i32::from(zero_in) * sum
        })
        .collect();
    let mult =
        scale.iter().map(|s| (s * scale_in / scale_out * 2f64.powi(32)).round() as i32).collect();
    Linear { weights: quantized, bias, mult, scale }
}
