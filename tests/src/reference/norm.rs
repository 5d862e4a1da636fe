use super::Matrix;
use super::primitives::{as_i32, isqrt, mulhi, sat8, sat16, shift_left};

/// Section 6: a layer norm with an int8 output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Norm {
    /// Added to `width^2` times the variance.
    pub epsilon: u64,
    /// `[width]`, `round(2^20 * gamma / scale)`.
    pub gain8: Vec<i32>,
    /// `[width]`, `round(256 * (beta / scale + zero)) + 128`.
    pub offset8: Vec<i32>,
}

/// The normalised values of one token, times `2^20`: `h` of section 6.
///
/// # Panics
/// If the token is empty or wider than 4096, or `epsilon` is outside what the compiler may write.
#[must_use]
pub fn normalise(x: &[i16], epsilon: u64) -> Vec<i32> {
    let d = x.len();
    assert!((1..=4096).contains(&d), "a token of {d} channels");

    let mut sum = 0i64;
    let mut squares = 0u64;
    for &x in x {
        sum += i64::from(x);
        squares += i64::from(x).pow(2) as u64;
    }
    let sum = as_i32(sum);

    let wide = d as i128 * i128::from(squares) - i128::from(sum).pow(2) + i128::from(epsilon);
    let v = u64::try_from(wide).expect("V fits a u64");
    assert!(v >= 1);
    let s = 2 * (v.leading_zeros().saturating_sub(2) / 2);
    assert_eq!(v << s >> s, v, "V << s loses bits");
    let r = isqrt(v << s);
    assert!((1 << 30..1 << 31).contains(&r), "R = {r}");
    let i = as_i32(((1u64 << 61) / r).min((1 << 31) - 1) as i64);
    let e = s as i32 / 2 - 9;

    x.iter()
        .map(|&x| {
            let n = as_i32(d as i64 * i64::from(x) - i64::from(sum));
            let t = if e >= 0 { shift_left(n, e as u32) } else { n >> -e };
            mulhi(t, i)
        })
        .collect()
}

/// The int16 output for one token.
#[must_use]
pub fn norm16(x: &[i16], epsilon: u64, gain16: &[i32], offset16: &[i32]) -> Vec<i16> {
    assert_eq!((gain16.len(), offset16.len()), (x.len(), x.len()));
    let h = normalise(x, epsilon);
    (0..x.len())
        .map(|c| sat16(i64::from(mulhi(h[c], gain16[c])) + i64::from(offset16[c])))
        .collect()
}

impl Norm {
    /// The int8 output for one token.
    #[must_use]
    pub fn norm8(&self, x: &[i16]) -> Vec<i8> {
        assert_eq!((self.gain8.len(), self.offset8.len()), (x.len(), x.len()));
        let h = normalise(x, self.epsilon);
        (0..x.len())
            .map(|c| {
                let scaled = i64::from(mulhi(h[c], self.gain8[c])) + i64::from(self.offset8[c]);
                sat8(i64::from(as_i32(scaled) >> 8))
            })
            .collect()
    }

    /// The int16 output for one token.
    #[must_use]
    pub fn norm16(&self, x: &[i16], gain16: &[i32], offset16: &[i32]) -> Vec<i16> {
        norm16(x, self.epsilon, gain16, offset16)
    }

    /// [`Self::norm8`] of every token.
    #[must_use]
    pub fn tokens(&self, x: &Matrix<i16>) -> Matrix<i8> {
        let mut out = Vec::new();
        for t in 0..x.rows() {
            out.extend(self.norm8(x.row(t)));
        }
        Matrix::new(x.rows(), x.columns(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::float::{Noise, layer_norm};
    use super::*;

    /// Widths and magnitudes from one step to the full range: both outputs are the rounded float
    /// layer norm.
    #[test]
    fn is_the_rounded_float_layer_norm() {
        let mut noise = Noise::new(1);
        for width in [2usize, 3, 7, 16, 64, 127, 400, 4096] {
            for magnitude in [1.5, 30.0, 1000.0, 12_000.0] {
                let x: Vec<i16> =
                    (0..width).map(|_| sat16((noise.normal() * magnitude) as i64)).collect();
                let gamma: Vec<f64> = (0..width).map(|_| 1.0 + 0.3 * noise.normal()).collect();
                let beta: Vec<f64> = (0..width).map(|_| 0.2 * noise.normal()).collect();
                let (scale8, zero8, scale16) = (0.03, 12.0, 0.0002);
                let epsilon = (width * width).div_ceil(10) as u64;
                let norm = Norm {
                    epsilon,
                    gain8: gamma.iter().map(|g| (g / scale8 * 1048576.0).round() as i32).collect(),
                    offset8: beta
                        .iter()
                        .map(|b| (256.0 * (b / scale8 + zero8)).round() as i32 + 128)
                        .collect(),
                };
                let gain16: Vec<i32> =
                    gamma.iter().map(|g| (g / scale16 * 4096.0).round() as i32).collect();
                let offset16: Vec<i32> =
                    beta.iter().map(|b| (b / scale16).round() as i32).collect();
                let reals: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                let expected = layer_norm(&reals, epsilon as f64 / (width * width) as f64);
                let got8 = norm.norm8(&x);
                let got16 = norm.norm16(&x, &gain16, &offset16);
                for c in 0..width {
                    let real = expected[c] * gamma[c] + beta[c];
                    let exact = (real / scale8 + zero8).clamp(-128.0, 127.0);
                    let error = (f64::from(got8[c]) - exact).abs();
                    assert!(error < 0.51, "width {width}, {magnitude}: {} for {exact}", got8[c]);
                    let exact = (real / scale16).clamp(-32768.0, 32767.0);
                    let error = (f64::from(got16[c]) - exact).abs();
                    assert!(error < 1.6, "width {width}, {magnitude}: {} for {exact}", got16[c]);
                }
            }
        }
    }

    /// A constant token has no variance: V is epsilon, every h is 0, the output is the offset.
    #[test]
    fn a_constant_token_gives_the_offset() {
        for value in [-32768, -1, 0, 1, 32767] {
            for epsilon in [1, 2, 3, 4, (1 << 60) - 1, 1 << 60, (1 << 62) - 1] {
                let norm = Norm {
                    epsilon,
                    gain8: vec![i32::MAX; 4096],
                    offset8: vec![5 * 256 + 128; 4096],
                };
                assert_eq!(norm.norm8(&[value; 4096]), [5; 4096]);
            }
        }
    }

    /// The widest token with the largest possible outlier stays inside every type.
    #[test]
    fn extremes_fit() {
        for width in [2, 4096] {
            for (common, outlier) in [(-32768, 32767), (32767, -32768), (0, 1), (0, -1)] {
                let mut x = vec![common; width];
                x[width / 2] = outlier;
                let h = normalise(&x, 1);
                // All but one are equal: with their difference g, the outlier's n is (d - 1) * g
                // and V is (d - 1) * g^2 + epsilon.
                let (g, d) = (f64::from(outlier) - f64::from(common), width as f64);
                let expected = (d - 1.0) * g / ((d - 1.0) * g * g + 1.0).sqrt() * 1048576.0;
                let relative = f64::from(h[width / 2]) / expected - 1.0;
                assert!(relative.abs() < 1e-5, "{width} {outlier}: {relative}");
            }
        }
    }
}
