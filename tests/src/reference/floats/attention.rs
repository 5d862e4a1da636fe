use super::super::{Matrix, Values};
use super::primitives::{dot, plain, softmax};
use super::{FloatLayer, FloatNorm, FloatTrace, Step, by_row};

/// An attention sub-block.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatAttention {
    /// Number of tokens.
    pub tokens: usize,
    /// Number of heads.
    pub heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Runs of consecutive tokens that attend within themselves.
    pub groups: usize,
    /// Layer norm before the projections.
    pub norm: FloatNorm,
    /// Factor of the scores.
    pub scale: f32,
    /// `[3 * heads * head_dim][width]`.
    pub qkv: FloatLayer,
    /// `[width][heads * head_dim]`.
    pub proj: FloatLayer,
}

impl FloatAttention {
    /// What one token takes from the values of its run.
    fn attend(&self, t: usize, q: &Matrix<f32>, k: &Matrix<f32>, v: &Matrix<f32>) -> Vec<f32> {
        let run = self.tokens / self.groups;
        let first = t / run * run;
        let mut out = Vec::new();
        for head in 0..self.heads {
            let column = head * self.head_dim;
            let query = &q.row(t)[column..][..self.head_dim];
            let scores: Vec<f32> = (first..first + run)
                .map(|j| dot(query, &k.row(j)[column..][..self.head_dim]) * self.scale)
                .collect();
            let (e, factor) = softmax(&scores);
            for c in column..column + self.head_dim {
                out.push(plain((0..run).map(|j| e[j] * v[(first + j, c)])) * factor);
            }
        }
        out
    }

    /// The whole sub-block.
    #[must_use]
    pub fn run(&self, x: &Matrix<f32>) -> FloatTrace {
        assert_eq!((x.rows(), self.tokens % self.groups), (self.tokens, 0));
        let inner = self.heads * self.head_dim;
        let norm = self.norm.tokens(x);
        let qkv = by_row(self.tokens, 3 * inner, |t| self.qkv.run(norm.row(t)));
        let part = |p| by_row(self.tokens, inner, |t| qkv.row(t)[p * inner..][..inner].to_vec());
        let [query, key, value] = [0, 1, 2].map(part);
        let attention = by_row(self.tokens, inner, |t| self.attend(t, &query, &key, &value));
        let output = by_row(self.tokens, x.columns(), |t| {
            let step = self.proj.run(attention.row(t));
            x.row(t).iter().zip(step).map(|(&x, v)| x + v).collect()
        });
        let steps = vec![
            (Step::Norm, norm),
            (Step::Query, query),
            (Step::Key, key),
            (Step::Value, value),
            (Step::Attention, attention),
        ];
        FloatTrace { steps, output: Values::F32(output) }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    /// Queries of 0 make means, and each run its own.
    #[test]
    fn means_of_runs() {
        let weights = [0., 0., 0., 0., 1., 1.].map(f16::from_f32);
        let norm = FloatNorm { epsilon: 1.0, gamma: vec![0.0; 2], beta: vec![0.0; 2] };
        let op = FloatAttention {
            tokens: 4,
            heads: 1,
            head_dim: 1,
            groups: 2,
            norm: FloatNorm { beta: vec![1.0, 2.0], ..norm },
            scale: 1.0,
            qkv: FloatLayer { weights: Matrix::new(3, 2, weights.into()), bias: vec![0.0; 3] },
            proj: FloatLayer {
                weights: Matrix::new(2, 1, [1.0, 2.0].map(f16::from_f32).into()),
                bias: vec![0.0, 0.5],
            },
        };
        let x = Matrix::from_fn(4, 2, |t, c| (10 * t + c) as f32);
        // Every value is 3.
        let expected = Matrix::from_fn(4, 2, |t, c| x[(t, c)] + [3.0, 6.5][c]);
        assert_eq!(op.run(&x).output, Values::F32(expected));
        // With tokens that differ, the mean of a run.
        let spread = FloatNorm { epsilon: 1e-9, gamma: vec![1.0, 0.0], beta: vec![0.0; 2] };
        let x = Matrix::new(4, 2, vec![0., 2., 2., 0., 0., 2., 0., 2.]);
        let attention = FloatAttention { norm: spread, ..op }.run(&x).steps.pop().unwrap().1;
        assert_eq!(attention.data(), [0.0, 0.0, -1.0, -1.0]);
    }
}
