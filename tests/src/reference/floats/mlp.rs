use picovit::format::float::Activation;

use super::super::{Matrix, Values};
use super::primitives::activate;
use super::{FloatLayer, FloatNorm, FloatTrace, Step, by_row};

/// An MLP sub-block.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatMlp {
    /// Number of tokens.
    pub tokens: usize,
    /// Behind the first and behind the second layer.
    pub activations: [Activation; 2],
    /// Whether the norm's output replaces the residual stream.
    pub replaces: bool,
    /// Layer norm before the first layer.
    pub norm: FloatNorm,
    /// `[hidden][width]`.
    pub first: FloatLayer,
    /// `[width][hidden]`.
    pub second: FloatLayer,
}

impl FloatMlp {
    /// The whole sub-block.
    #[must_use]
    pub fn run(&self, x: &Matrix<f32>) -> FloatTrace {
        assert_eq!(x.rows(), self.tokens);
        let [f1, f2] = self.activations;
        let norm = self.norm.tokens(x);
        let hidden = by_row(self.tokens, self.first.bias.len(), |t| {
            self.first.run(norm.row(t)).into_iter().map(|v| activate(f1, v)).collect()
        });
        let residual = if self.replaces { &norm } else { x };
        let output = by_row(self.tokens, x.columns(), |t| {
            let step = self.second.run(hidden.row(t));
            residual.row(t).iter().zip(step).map(|(&r, v)| r + activate(f2, v)).collect()
        });
        let steps = vec![(Step::Norm, norm), (Step::Activation, hidden)];
        FloatTrace { steps, output: Values::F32(output) }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn one_channel_by_hand() {
        let layer = |weight, bias| FloatLayer {
            weights: Matrix::new(1, 1, vec![f16::from_f32(weight)]),
            bias: vec![bias],
        };
        let op = FloatMlp {
            tokens: 2,
            activations: [Activation::Identity, Activation::Relu],
            replaces: false,
            // One channel is its own mean: the norm is beta.
            norm: FloatNorm { epsilon: 1.0, gamma: vec![1.0], beta: vec![3.0] },
            first: layer(-2.0, 1.0),
            second: layer(-0.5, 0.25),
        };
        let x = Matrix::new(2, 1, vec![10.0, -10.0]);
        // -0.5 * (-2 * 3 + 1) + 0.25 = 2.75.
        assert_eq!(op.run(&x).output, Values::F32(Matrix::new(2, 1, vec![12.75, -7.25])));
        let replaced = FloatMlp { replaces: true, ..op.clone() };
        assert_eq!(replaced.run(&x).output, Values::F32(Matrix::new(2, 1, vec![5.75; 2])));
        let second = layer(0.5, 0.0);
        let closed = FloatMlp { second, ..op };
        assert_eq!(closed.run(&x).output, Values::F32(x));
    }
}
