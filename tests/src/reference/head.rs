use super::Matrix;
use super::primitives::{affine, requant16};

/// Section 11: the classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Input channels.
    pub width: usize,
    /// Output channels.
    pub classes: usize,
    /// `[classes][width]`.
    pub weights: Matrix<i8>,
    /// `[classes]`.
    pub bias: Vec<i32>,
    /// `[classes]`.
    pub mult: Vec<i32>,
    /// Left shift of the accumulators.
    pub shift: u32,
}

impl Head {
    /// One int16 token to int16 logits.
    #[must_use]
    pub fn run(&self, input: &Matrix<i16>) -> Matrix<i16> {
        assert_eq!((input.rows(), input.columns()), (1, self.width));
        Matrix::from_fn(1, self.classes, |_, k| {
            let acc = affine(self.bias[k], self.weights.row(k), input.row(0));
            requant16(acc, self.mult[k], self.shift)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::float;
    use super::*;

    #[test]
    fn agrees_with_a_float_classifier() {
        let mut noise = float::Noise::new(9);
        let (width, classes, shift) = (40, 11, 2);
        let (scale_in, scale_out) = (0.0002, 0.0005);
        let input = Matrix::from_fn(1, width, |_, _| (noise.normal() * 5000.0) as i16);
        let weights = Matrix::from_fn(classes, width, |_, _| 0.3 * noise.normal());
        let bias: Vec<f64> = (0..classes).map(|_| noise.normal()).collect();
        let scale = scale_out * f64::from(1 << shift);
        let linear = float::quantize(&weights, &bias, scale_in, 0, scale);
        let head = Head {
            width,
            classes,
            weights: linear.weights,
            bias: linear.bias,
            mult: linear.mult,
            shift,
        };
        let got = head.run(&input);
        let mut error = float::Error::default();
        for k in 0..classes {
            let real = bias[k]
                + (0..width)
                    .map(|c| weights[(k, c)] * scale_in * f64::from(input[(0, c)]))
                    .sum::<f64>();
            error.add(scale_out * f64::from(got[(0, k)]), real);
        }
        assert!(error.decibels() > 38.0, "{} dB", error.decibels());
    }
}
