use super::primitives::{affine, mulhi, requant8, sat8, sat16, shift_left};
use super::{Matrix, Norm};

/// Section 9: an MLP sub-block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mlp {
    /// Number of tokens.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// Channels between the two linear layers.
    pub hidden: usize,
    /// Layer norm before the first linear layer.
    pub norm: Norm,
    /// Where present, the norm's int16 output replaces the residual stream.
    pub gain16: Option<Gain16>,
    /// `[hidden][width]`.
    pub weights1: Matrix<i8>,
    /// `[hidden]`.
    pub bias1: Vec<i32>,
    /// `[hidden]`.
    pub mult1: Vec<i32>,
    /// Zero point of the first layer's output.
    pub zero1: i32,
    /// `[256]`: the activation.
    pub table: Vec<i8>,
    /// `[width][hidden]`.
    pub weights2: Matrix<i8>,
    /// `[width]`.
    pub bias2: Vec<i32>,
    /// `[width]`.
    pub mult2: Vec<i32>,
    /// Left shift of the second layer's accumulators.
    pub shift: u32,
    /// The activation behind the second layer, where there is one.
    pub second: Option<SecondActivation>,
}

/// An activation in steps of the residual stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondActivation {
    /// Zero point of the second layer's output.
    pub zero: i32,
    /// `[256]`.
    pub table: Vec<i16>,
}

/// Constants of the layer norm's int16 output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gain16 {
    /// `[width]`, `round(2^12 * gamma / scale)`.
    pub gain: Vec<i32>,
    /// `[width]`, `round(beta / scale)`.
    pub offset: Vec<i32>,
}

/// What an MLP sub-block computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpTrace {
    /// `y[tokens][width]`.
    pub norm: Matrix<i8>,
    /// `r[tokens][width]`.
    pub residual: Matrix<i16>,
    /// `g[tokens][hidden]`.
    pub hidden: Matrix<i8>,
    /// `u[tokens][hidden]`.
    pub activation: Matrix<i8>,
    /// `s[tokens][width]`, where there is a second activation.
    pub second: Option<Matrix<i8>>,
    /// `x[tokens][width]` afterwards.
    pub output: Matrix<i16>,
}

impl Mlp {
    /// The whole sub-block.
    #[must_use]
    pub fn run(&self, x: &Matrix<i16>) -> MlpTrace {
        assert_eq!((x.rows(), x.columns()), (self.tokens, self.width));
        assert_eq!(self.table.len(), 256);
        let norm = self.norm.tokens(x);
        let residual = match &self.gain16 {
            None => x.clone(),
            Some(Gain16 { gain, offset }) => {
                let mut rows = Vec::new();
                for t in 0..self.tokens {
                    rows.extend(self.norm.norm16(x.row(t), gain, offset));
                }
                Matrix::new(self.tokens, self.width, rows)
            }
        };
        let hidden = Matrix::from_fn(self.tokens, self.hidden, |t, j| {
            let acc = affine(self.bias1[j], self.weights1.row(j), norm.row(t));
            requant8(acc, self.mult1[j], self.zero1)
        });
        let activation = Matrix::from_fn(self.tokens, self.hidden, |t, j| {
            self.table[(i32::from(hidden[(t, j)]) + 128) as usize]
        });
        let step = Matrix::from_fn(self.tokens, self.width, |t, i| {
            let acc = affine(self.bias2[i], self.weights2.row(i), activation.row(t));
            mulhi(shift_left(acc, self.shift), self.mult2[i])
        });
        let add = |t, i, v| sat16(i64::from(residual[(t, i)]) + i64::from(v));
        let Some(SecondActivation { zero, table }) = &self.second else {
            let output = Matrix::from_fn(self.tokens, self.width, |t, i| add(t, i, step[(t, i)]));
            return MlpTrace { norm, residual, hidden, activation, second: None, output };
        };
        assert_eq!(table.len(), 256);
        let second = Matrix::from_fn(self.tokens, self.width, |t, i| {
            sat8(i64::from(*zero) + i64::from(step[(t, i)]))
        });
        let output = Matrix::from_fn(self.tokens, self.width, |t, i| {
            add(t, i, table[(i32::from(second[(t, i)]) + 128) as usize].into())
        });
        MlpTrace { norm, residual, hidden, activation, second: Some(second), output }
    }
}

#[cfg(test)]
mod tests {
    use super::super::float;
    use super::*;

    /// A float MLP sub-block with the norm on the residual path, quantized as the contract
    /// intends. The activation is `max(v, v / 8)`, which needs no error function.
    #[test]
    fn agrees_with_a_float_mlp() {
        let mut noise = float::Noise::new(5);
        let (tokens, width, hidden) = (9, 20, 33);
        let (scale_x, scale_y, zero_y, scale_r) = (0.0004, 0.028, 7i8, 0.0003);
        let (scale_g, zero_g, scale_u, zero_u) = (0.05, -20i8, 0.03, -100i8);
        let activation = |v: f64| v.max(v / 8.0);
        let x = Matrix::from_fn(tokens, width, |_, _| (noise.normal() * 3000.0) as i16);
        let gamma: Vec<f64> = (0..width).map(|_| 1.0 + 0.2 * noise.normal()).collect();
        let beta: Vec<f64> = (0..width).map(|_| 0.1 * noise.normal()).collect();
        let w1 = Matrix::from_fn(hidden, width, |_, _| 0.25 * noise.normal());
        let b1: Vec<f64> = (0..hidden).map(|_| 0.2 * noise.normal()).collect();
        let w2 = Matrix::from_fn(width, hidden, |_, _| 0.2 * noise.normal());
        let b2: Vec<f64> = (0..width).map(|_| 0.1 * noise.normal()).collect();

        let first = float::quantize(&w1, &b1, scale_y, zero_y, scale_g);
        let shift = 7;
        let second = float::quantize(&w2, &b2, scale_u, zero_u, scale_r * f64::from(1 << shift));
        let block = Mlp {
            tokens,
            width,
            hidden,
            norm: Norm {
                epsilon: (1e-5 * (width * width) as f64 / scale_x * (1.0 / scale_x)) as u64,
                gain8: gamma.iter().map(|g| (g / scale_y * 1048576.0).round() as i32).collect(),
                offset8: beta
                    .iter()
                    .map(|b| (256.0 * (b / scale_y + f64::from(zero_y))).round() as i32 + 128)
                    .collect(),
            },
            gain16: Some(Gain16 {
                gain: gamma.iter().map(|g| (g / scale_r * 4096.0).round() as i32).collect(),
                offset: beta.iter().map(|b| (b / scale_r).round() as i32).collect(),
            }),
            weights1: first.weights,
            bias1: first.bias,
            mult1: first.mult,
            zero1: i32::from(zero_g),
            table: (-128..128)
                .map(|g| {
                    let real = scale_g * f64::from(g - i32::from(zero_g));
                    let q = activation(real) / scale_u + f64::from(zero_u);
                    q.round().clamp(-128.0, 127.0) as i8
                })
                .collect(),
            weights2: second.weights,
            bias2: second.bias,
            mult2: second.mult,
            shift,
            second: None,
        };
        let got = block.run(&x);

        let mut error = float::Error::default();
        for t in 0..tokens {
            let row: Vec<f64> = x.row(t).iter().map(|&x| scale_x * f64::from(x)).collect();
            let h = float::layer_norm(&row, 1e-5);
            let y: Vec<f64> = (0..width).map(|c| h[c] * gamma[c] + beta[c]).collect();
            let u: Vec<f64> = (0..hidden)
                .map(|j| activation(b1[j] + (0..width).map(|c| w1[(j, c)] * y[c]).sum::<f64>()))
                .collect();
            for i in 0..width {
                let real = y[i] + b2[i] + (0..hidden).map(|j| w2[(i, j)] * u[j]).sum::<f64>();
                error.add(scale_r * f64::from(got.output[(t, i)]), real);
            }
        }
        assert!(error.decibels() > 33.0, "{} dB", error.decibels());

        let plain = Mlp { gain16: None, ..block };
        assert_eq!(plain.run(&x).residual, x);

        // A second activation that gives back its input, times 3, in steps of 1/256 of before.
        let mult2 = plain.mult2.iter().map(|m| m / 256).collect();
        let table = (-128..128i16).map(|s| 3 * (s - 5)).collect();
        let second = Some(SecondActivation { zero: 5, table });
        let twice = Mlp { second, mult2, ..plain };
        let got = twice.run(&x);
        let s = got.second.unwrap();
        for t in 0..tokens {
            for i in 0..width {
                let acc = affine(twice.bias2[i], twice.weights2.row(i), got.activation.row(t));
                assert_eq!(s[(t, i)], requant8(acc << twice.shift, twice.mult2[i], 5));
                let sum = i32::from(x[(t, i)]) + 3 * (i32::from(s[(t, i)]) - 5);
                assert_eq!(i32::from(got.output[(t, i)]), sum.clamp(-32_768, 32_767));
            }
        }
    }
}
