use half::f16;

use super::super::Matrix;
use super::by_row;
use super::primitives::{lane, weighted};

/// A linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatLayer {
    /// `[outputs][inputs]`.
    pub weights: Matrix<f16>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

impl FloatLayer {
    /// `affine(x)`.
    ///
    /// # Panics
    /// If `x` does not fit.
    #[must_use]
    pub fn run(&self, x: &[f32]) -> Vec<f32> {
        assert_eq!(self.weights.rows(), self.bias.len());
        (0..self.bias.len()).map(|o| weighted(self.weights.row(o), x) + self.bias[o]).collect()
    }
}

/// A layer norm.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// `[width]`.
    pub gamma: Vec<f32>,
    /// `[width]`.
    pub beta: Vec<f32>,
}

impl FloatNorm {
    /// `norm(x)` of one token.
    ///
    /// # Panics
    /// If `x` does not fit.
    #[must_use]
    pub fn token(&self, x: &[f32]) -> Vec<f32> {
        assert_eq!((x.len(), x.len()), (self.gamma.len(), self.beta.len()));
        let d = x.len() as f32;
        let m = lane(x.iter().copied()) / d;
        let s = lane(x.iter().map(|&x| (x - m) * (x - m))) / d;
        let k = 1.0 / (s + self.epsilon).sqrt();
        (0..x.len()).map(|c| ((x[c] - m) * k) * self.gamma[c] + self.beta[c]).collect()
    }

    /// The norm of every token.
    #[must_use]
    pub fn tokens(&self, x: &Matrix<f32>) -> Matrix<f32> {
        by_row(x.rows(), x.columns(), |t| self.token(x.row(t)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 3, variance 4; with the epsilon, a deviation of 2.5.
    #[test]
    fn norm_and_layer_by_hand() {
        let norm = FloatNorm { epsilon: 2.25, gamma: vec![10.0, 1.0], beta: vec![0.5, 0.0] };
        let y = norm.token(&[1.0, 5.0]);
        assert!((y[0] + 7.5).abs() < 1e-5 && (y[1] - 0.8).abs() < 1e-6, "{y:?}");
        let weights = Matrix::new(2, 2, [1.0, 2.0, -0.5, 0.25].map(f16::from_f32).to_vec());
        let layer = FloatLayer { weights, bias: vec![0.125, 8.0] };
        assert_eq!(layer.run(&[3.0, 4.0]), [11.125, 7.5]);
    }
}
