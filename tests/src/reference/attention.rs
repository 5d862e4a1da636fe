use super::primitives::{affine, as_i32, mulhi, row_mult, sat8, sat16, shift_left};
use super::softmax::{softmax_weights, weight_sum};
use super::{Matrix, Norm};

/// Section 8: an attention sub-block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Number of tokens.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// Number of heads.
    pub heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Runs of consecutive tokens that attend within themselves.
    pub groups: usize,
    /// Layer norm before the projections.
    pub norm: Norm,
    /// `[3 * heads * head_dim][width]`.
    pub qkv_weights: Matrix<i8>,
    /// `[3 * heads * head_dim]`.
    pub qkv_bias: Vec<i32>,
    /// `[3 * heads * head_dim]`.
    pub qkv_mult: Vec<i32>,
    /// `[heads]`.
    pub exp_mult: Vec<i32>,
    /// `[heads]`.
    pub out_mult: Vec<u64>,
    /// `[width][heads * head_dim]`.
    pub proj_weights: Matrix<i8>,
    /// `[width]`.
    pub proj_bias: Vec<i32>,
    /// `[width]`.
    pub proj_mult: Vec<i32>,
    /// Left shift of score differences.
    pub score_shift: u32,
    /// Left shift of projection accumulators.
    pub proj_shift: u32,
}

/// What an attention sub-block computed. Columns of query, key, value and attention are
/// `head * head_dim + c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionTrace {
    /// `y[tokens][width]`.
    pub norm: Matrix<i8>,
    /// `q[tokens][heads * head_dim]`.
    pub query: Matrix<i8>,
    /// `k[tokens][heads * head_dim]`.
    pub key: Matrix<i8>,
    /// `v[tokens][heads * head_dim]`.
    pub value: Matrix<i8>,
    /// `att[tokens][heads * head_dim]`.
    pub attention: Matrix<i8>,
    /// `x[tokens][width]` afterwards.
    pub output: Matrix<i16>,
}

impl Attention {
    /// One of query, key, value (`p` = 0, 1, 2) of every head, clamped to `[-127, 127]`.
    fn projection(&self, y: &Matrix<i8>, p: usize) -> Matrix<i8> {
        let inner = self.heads * self.head_dim;
        Matrix::from_fn(self.tokens, inner, |t, column| {
            let o = p * inner + column;
            let acc = affine(self.qkv_bias[o], self.qkv_weights.row(o), y.row(t));
            mulhi(acc, self.qkv_mult[o]).clamp(-127, 127) as i8
        })
    }

    /// The whole sub-block. `exp_table` is the artifact's.
    #[must_use]
    pub fn run(&self, x: &Matrix<i16>, exp_table: &[u8]) -> AttentionTrace {
        assert_eq!((x.rows(), x.columns()), (self.tokens, self.width));
        assert_eq!(self.tokens % self.groups, 0);
        let run = self.tokens / self.groups;
        let norm = self.norm.tokens(x);
        let query = self.projection(&norm, 0);
        let key = self.projection(&norm, 1);
        let value = self.projection(&norm, 2);

        let mut attention = Matrix::from_fn(self.tokens, self.heads * self.head_dim, |_, _| 0i8);
        for h in 0..self.heads {
            let first = h * self.head_dim;
            for t in 0..self.tokens {
                let first_token = t / run * run;
                let mut scores = Vec::new();
                for j in first_token..first_token + run {
                    let mut a = 0i64;
                    for c in first..first + self.head_dim {
                        a += i64::from(query[(t, c)]) * i64::from(key[(j, c)]);
                    }
                    scores.push(as_i32(a));
                }
                let e = softmax_weights(&scores, self.exp_mult[h], self.score_shift, exp_table);
                let m = row_mult(self.out_mult[h], weight_sum(&e));
                for c in first..first + self.head_dim {
                    let mut o = 0i64;
                    for j in 0..run {
                        o += i64::from(e[j]) * i64::from(value[(first_token + j, c)]);
                    }
                    attention[(t, c)] = sat8(i64::from(mulhi(as_i32(o), m)));
                }
            }
        }

        let output = Matrix::from_fn(self.tokens, self.width, |t, i| {
            let acc = affine(self.proj_bias[i], self.proj_weights.row(i), attention.row(t));
            let step = mulhi(shift_left(acc, self.proj_shift), self.proj_mult[i]);
            sat16(i64::from(x[(t, i)]) + i64::from(step))
        });
        AttentionTrace { norm, query, key, value, attention, output }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{exp_table, float};
    use super::*;

    /// A float attention sub-block, quantized as the contract intends, and the same sub-block in
    /// f64.
    #[test]
    fn agrees_with_a_float_attention() {
        let mut noise = float::Noise::new(8);
        let (tokens, width, heads, head_dim) = (19, 24, 2, 10);
        let inner = heads * head_dim;
        let (scale_x, scale_y, zero_y) = (0.0005, 0.032, -3i8);
        let x = Matrix::from_fn(tokens, width, |_, _| (noise.normal() * 3000.0) as i16);
        let gamma: Vec<f64> = (0..width).map(|_| 1.0 + 0.2 * noise.normal()).collect();
        let beta: Vec<f64> = (0..width).map(|_| 0.1 * noise.normal()).collect();
        let qkv = Matrix::from_fn(3 * inner, width, |_, _| 0.25 * noise.normal());
        let qkv_bias: Vec<f64> = (0..3 * inner).map(|_| 0.2 * noise.normal()).collect();
        let proj = Matrix::from_fn(width, inner, |_, _| 0.3 * noise.normal());
        let proj_bias: Vec<f64> = (0..width).map(|_| 0.1 * noise.normal()).collect();

        // Float.
        let y: Vec<Vec<f64>> = (0..tokens)
            .map(|t| {
                let row: Vec<f64> = x.row(t).iter().map(|&x| scale_x * f64::from(x)).collect();
                let h = float::layer_norm(&row, 1e-5);
                (0..width).map(|c| h[c] * gamma[c] + beta[c]).collect()
            })
            .collect();
        let qkv_real = Matrix::from_fn(tokens, 3 * inner, |t, o| {
            qkv_bias[o] + (0..width).map(|c| qkv[(o, c)] * y[t][c]).sum::<f64>()
        });
        let mut att = Matrix::from_fn(tokens, inner, |_, _| 0.0);
        for h in 0..heads {
            for t in 0..tokens {
                let scores: Vec<f64> = (0..tokens)
                    .map(|j| {
                        (0..head_dim)
                            .map(|c| {
                                let column = h * head_dim + c;
                                qkv_real[(t, column)] * qkv_real[(j, inner + column)]
                            })
                            .sum::<f64>()
                            / (head_dim as f64).sqrt()
                    })
                    .collect();
                let total: f64 = scores.iter().map(|a| a.exp()).sum();
                for c in 0..head_dim {
                    let column = h * head_dim + c;
                    att[(t, column)] = (0..tokens)
                        .map(|j| scores[j].exp() / total * qkv_real[(j, 2 * inner + column)])
                        .sum();
                }
            }
        }
        let expected = Matrix::from_fn(tokens, width, |t, i| {
            scale_x * f64::from(x[(t, i)])
                + proj_bias[i]
                + (0..inner).map(|c| proj[(i, c)] * att[(t, c)]).sum::<f64>()
        });

        // Quantized.
        let largest = |first: usize, m: &Matrix<f64>| {
            (0..tokens)
                .flat_map(|t| m.row(t)[first..first + inner].to_vec())
                .fold(0.0f64, |a, b| a.max(b.abs()))
        };
        let scales: Vec<f64> = (0..3).map(|p| largest(p * inner, &qkv_real) / 127.0).collect();
        let scale_att = largest(0, &att) / 127.0;
        let mut linear = float::quantize(&qkv, &qkv_bias, scale_y, zero_y, 1.0);
        for o in 0..3 * inner {
            let scale = linear.scale[o] * scale_y / scales[o / inner];
            linear.mult[o] = (scale * 2f64.powi(32)).round() as i32;
        }
        let proj_shift = 6;
        let mut projection = float::quantize(&proj, &proj_bias, scale_att, 0, 1.0);
        for i in 0..width {
            let scale = projection.scale[i] * scale_att / scale_x / f64::from(1 << proj_shift);
            projection.mult[i] = (scale * 2f64.powi(32)).round() as i32;
        }
        let score_shift = 8;
        let step = scales[0] * scales[1] / (head_dim as f64).sqrt();
        let exp_mult = (step * 128.0 * 2f64.powi(32 - score_shift as i32)).round() as i32;
        let block = Attention {
            tokens,
            width,
            heads,
            head_dim,
            groups: 1,
            norm: Norm {
                epsilon: (1e-5 * (width * width) as f64 / scale_x.powi(2)).round() as u64,
                gain8: gamma.iter().map(|g| (g / scale_y * 1048576.0).round() as i32).collect(),
                offset8: beta
                    .iter()
                    .map(|b| (256.0 * (b / scale_y + f64::from(zero_y))).round() as i32 + 128)
                    .collect(),
            },
            qkv_weights: linear.weights,
            qkv_bias: linear.bias,
            qkv_mult: linear.mult,
            exp_mult: vec![exp_mult; heads],
            out_mult: vec![(scales[2] / scale_att * 2f64.powi(32)).round() as u64; heads],
            proj_weights: projection.weights,
            proj_bias: projection.bias,
            proj_mult: projection.mult,
            score_shift,
            proj_shift,
        };
        let got = block.run(&x, &exp_table());

        let mut attention_error = float::Error::default();
        let mut error = float::Error::default();
        for t in 0..tokens {
            for c in 0..inner {
                attention_error.add(scale_att * f64::from(got.attention[(t, c)]), att[(t, c)]);
            }
            for i in 0..width {
                error.add(scale_x * f64::from(got.output[(t, i)]), expected[(t, i)]);
            }
        }
        assert!(attention_error.decibels() > 30.0, "{} dB", attention_error.decibels());
        assert!(error.decibels() > 36.0, "{} dB", error.decibels());

        // Two runs are two attentions side by side.
        let half = |m: &Matrix<i16>, from| Matrix::from_fn(9, width, |t, c| m[(from + t, c)]);
        let one = Attention { tokens: 9, ..block.clone() };
        let two = Attention { tokens: 18, groups: 2, ..block };
        let both = Matrix::from_fn(18, width, |t, c| x[(t, c)]);
        let output = two.run(&both, &exp_table()).output;
        for from in [0, 9] {
            let alone = one.run(&half(&both, from), &exp_table()).output;
            assert_eq!(half(&output, from), alone);
        }
    }
}
