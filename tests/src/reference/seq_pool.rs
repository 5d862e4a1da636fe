use super::primitives::{affine, as_i32, requant16, row_mult};
use super::softmax::{softmax_weights, weight_sum};
use super::{Matrix, Norm};

/// Section 10: sequence pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqPool {
    /// Number of tokens.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// Zero point of the norm's output.
    pub zero: i32,
    /// Layer norm before the pooling.
    pub norm: Norm,
    /// `[width]`: scoring weights.
    pub weights: Vec<i8>,
    /// Score difference, shifted, to table index.
    pub exp_mult: i32,
    /// Numerator of the multiplier.
    pub out_mult: u64,
    /// Left shift of score differences.
    pub score_shift: u32,
    /// Left shift of the weighted sums.
    pub out_shift: u32,
}

/// What sequence pooling computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqPoolTrace {
    /// `y[tokens][width]`.
    pub norm: Matrix<i8>,
    /// `out[1][width]`.
    pub output: Matrix<i16>,
}

impl SeqPool {
    /// int16 residual stream to one int16 token. `exp_table` is the artifact's.
    #[must_use]
    pub fn run(&self, x: &Matrix<i16>, exp_table: &[u8]) -> SeqPoolTrace {
        assert_eq!((x.rows(), x.columns()), (self.tokens, self.width));
        let norm = self.norm.tokens(x);
        let scores: Vec<i32> =
            (0..self.tokens).map(|t| affine(0, &self.weights, norm.row(t))).collect();
        let e = softmax_weights(&scores, self.exp_mult, self.score_shift, exp_table);
        let d = weight_sum(&e);
        let m = row_mult(self.out_mult, d);
        let output = Matrix::from_fn(1, self.width, |_, c| {
            let mut p = -i64::from(self.zero) * i64::from(d);
            for t in 0..self.tokens {
                p += i64::from(e[t]) * i64::from(norm[(t, c)]);
            }
            requant16(as_i32(p), m, self.out_shift)
        });
        SeqPoolTrace { norm, output }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{exp_table, float};
    use super::*;

    #[test]
    fn agrees_with_a_float_pooling() {
        let mut noise = float::Noise::new(6);
        let (tokens, width) = (31, 18);
        let (scale_y, zero, scale_w, scale_out) = (0.025, 9, 0.004, 0.0001);
        let x = Matrix::from_fn(tokens, width, |_, _| (noise.normal() * 2000.0) as i16);
        let weights: Vec<i8> =
            (0..width).map(|_| (noise.normal() * 50.0).clamp(-127.0, 127.0) as i8).collect();
        let (score_shift, out_shift) = (6, 4);
        let exp_mult = scale_w * scale_y * 128.0 * 2f64.powi(32 - score_shift as i32);
        let pool = SeqPool {
            tokens,
            width,
            zero,
            norm: Norm {
                epsilon: 1,
                gain8: vec![(1.0 / scale_y * 1048576.0) as i32; width],
                offset8: vec![256 * zero + 128; width],
            },
            weights: weights.clone(),
            exp_mult: exp_mult.round() as i32,
            out_mult: (scale_y / scale_out * 2f64.powi(32 - out_shift as i32)).round() as u64,
            score_shift,
            out_shift,
        };
        let got = pool.run(&x, &exp_table()).output;

        let y: Vec<Vec<f64>> = (0..tokens)
            .map(|t| {
                let row: Vec<f64> = x.row(t).iter().map(|&x| f64::from(x)).collect();
                float::layer_norm(&row, 1e-12)
            })
            .collect();
        let weight = |t: usize| {
            (0..width).map(|c| scale_w * f64::from(weights[c]) * y[t][c]).sum::<f64>().exp()
        };
        let total: f64 = (0..tokens).map(weight).sum();
        let mut error = float::Error::default();
        for c in 0..width {
            let real = (0..tokens).map(|t| weight(t) / total * y[t][c]).sum::<f64>();
            error.add(scale_out * f64::from(got[(0, c)]), real);
        }
        assert!(error.decibels() > 36.0, "{} dB", error.decibels());
    }
}
