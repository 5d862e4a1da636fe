use half::f16;

use super::super::{Matrix, Values};
use super::primitives::{plain, quantize, softmax, weighted};
use super::{FloatLayer, FloatNorm, FloatTrace, Step};

/// Sequence pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatSeqPool {
    /// Number of tokens.
    pub tokens: usize,
    /// Layer norm before the pooling.
    pub norm: FloatNorm,
    /// `[width]`: scoring weights.
    pub weights: Vec<f16>,
}

impl FloatSeqPool {
    /// Residual stream to one token.
    #[must_use]
    pub fn run(&self, x: &Matrix<f32>) -> FloatTrace {
        assert_eq!(x.rows(), self.tokens);
        let y = self.norm.tokens(x);
        let scores: Vec<f32> =
            (0..self.tokens).map(|t| weighted(&self.weights, y.row(t))).collect();
        let (e, factor) = softmax(&scores);
        let output = Matrix::from_fn(1, x.columns(), |_, c| {
            plain((0..self.tokens).map(|t| e[t] * y[(t, c)])) * factor
        });
        FloatTrace { steps: vec![(Step::Norm, y)], output: Values::F32(output) }
    }
}

/// The layer norm of the class token.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatClassPool {
    /// Number of tokens.
    pub tokens: usize,
    /// The layer norm.
    pub norm: FloatNorm,
}

impl FloatClassPool {
    /// Residual stream to one token.
    #[must_use]
    pub fn run(&self, x: &Matrix<f32>) -> Matrix<f32> {
        assert_eq!(x.rows(), self.tokens);
        Matrix::new(1, x.columns(), self.norm.token(x.row(0)))
    }
}

/// The mean over all pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatAvgPool {
    /// Number of pixels.
    pub tokens: usize,
    /// Channels.
    pub width: usize,
}

impl FloatAvgPool {
    /// Float map to one token.
    #[must_use]
    pub fn run(&self, map: &Matrix<f32>) -> Matrix<f32> {
        assert_eq!((map.rows(), map.columns()), (self.tokens, self.width));
        Matrix::from_fn(1, self.width, |_, c| {
            plain((0..self.tokens).map(|t| map[(t, c)])) / self.tokens as f32
        })
    }
}

/// The classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatHead {
    /// `[classes][width]`.
    pub layer: FloatLayer,
    /// Logit steps per unit.
    pub steps: f32,
}

impl FloatHead {
    /// One token to int16 logits.
    #[must_use]
    pub fn run(&self, x: &Matrix<f32>) -> Matrix<i16> {
        assert_eq!(x.rows(), 1);
        let logits = self.layer.run(x.row(0));
        let logit = |v: f32| quantize(v * self.steps, -32768.0, 32767.0) as i16;
        Matrix::new(1, logits.len(), logits.into_iter().map(logit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poolings_by_hand() {
        let x = Matrix::new(3, 2, vec![0.0, 2.0, 2.0, 0.0, 2.0, 0.0]);
        let pool = FloatAvgPool { tokens: 3, width: 2 };
        assert_eq!(pool.run(&x).data(), [4.0 / 3.0, 2.0 / 3.0]);
        let norm = FloatNorm { epsilon: 1e-9, gamma: vec![3.0, 3.0], beta: vec![0.0, 1.0] };
        let class = FloatClassPool { tokens: 3, norm: norm.clone() };
        assert_eq!(class.run(&x).data(), [-3.0, 4.0]);
        // Scores of 0: the mean of the norms, (-3, 4), (3, -2) and (3, -2).
        let weights = vec![f16::ZERO; 2];
        let trace = FloatSeqPool { tokens: 3, norm, weights }.run(&x);
        let Values::F32(out) = trace.output else { panic!() };
        assert!((out[(0, 0)] - 1.0).abs() < 1e-6 && out[(0, 1)].abs() < 1e-6, "{out:?}");
    }

    #[test]
    fn logits_by_hand() {
        let weights = Matrix::new(3, 1, [1.0, -1.0, 1000.0].map(f16::from_f32).into());
        let head = FloatHead { layer: FloatLayer { weights, bias: vec![0.5; 3] }, steps: 100.0 };
        assert_eq!(head.run(&Matrix::new(1, 1, vec![2.0])).data(), [250, -150, 32_767]);
    }
}
