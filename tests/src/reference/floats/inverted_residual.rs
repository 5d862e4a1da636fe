use half::f16;
use picovit::format::float::Activation;

use super::super::conv::steps;
use super::super::{Matrix, Values};
use super::primitives::{activate, plain};
use super::{FloatLayer, FloatTrace, Step, by_row};

/// Expansion, depthwise convolution, projection.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatInvertedResidual {
    /// Input rows.
    pub in_height: usize,
    /// Input columns.
    pub in_width: usize,
    /// Depthwise kernel edge.
    pub kernel: usize,
    /// Depthwise step.
    pub stride: usize,
    /// Depthwise border on every side.
    pub padding: usize,
    /// Whether the input is added to the output.
    pub residual: bool,
    /// Behind the expansion and behind the depthwise convolution.
    pub activations: [Activation; 2],
    /// `[hidden][in_channels]`.
    pub expansion: FloatLayer,
    /// `[hidden][kernel * kernel]`.
    pub depthwise: FloatLayer,
    /// `[out_channels][hidden]`.
    pub projection: FloatLayer,
}

impl FloatInvertedResidual {
    /// Rows and columns of the output.
    #[must_use]
    pub fn out_size(&self) -> (usize, usize) {
        let border = (self.padding, self.padding);
        (
            steps(self.in_height, self.kernel, self.stride, border),
            steps(self.in_width, self.kernel, self.stride, border),
        )
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.projection.bias.len()
    }

    /// The depthwise convolution, behind its activation.
    fn filter(&self, e: &Matrix<f32>) -> Matrix<f32> {
        let (height, width) = self.out_size();
        let FloatLayer { weights, bias } = &self.depthwise;
        assert_eq!(weights.columns(), self.kernel * self.kernel);
        Matrix::from_fn(height * width, bias.len(), |pixel, j| {
            let (y, x) = (pixel / width, pixel % width);
            let mut terms = Vec::new();
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let row = (y * self.stride + ky) as i64 - self.padding as i64;
                    let column = (x * self.stride + kx) as i64 - self.padding as i64;
                    let inside = (0..self.in_height as i64).contains(&row)
                        && (0..self.in_width as i64).contains(&column);
                    if inside {
                        let weight: f16 = weights[(j, ky * self.kernel + kx)];
                        let value = e[(row as usize * self.in_width + column as usize, j)];
                        terms.push(f32::from(weight) * value);
                    }
                }
            }
            activate(self.activations[1], plain(terms) + bias[j])
        })
    }

    /// Float map to float map.
    #[must_use]
    pub fn run(&self, input: &Matrix<f32>) -> FloatTrace {
        assert_eq!(input.rows(), self.in_height * self.in_width);
        let e = by_row(input.rows(), self.expansion.bias.len(), |pixel| {
            let e = self.expansion.run(input.row(pixel));
            e.into_iter().map(|v| activate(self.activations[0], v)).collect()
        });
        let d = self.filter(&e);
        let output = by_row(d.rows(), self.out_channels(), |pixel| {
            let out = self.projection.run(d.row(pixel));
            if !self.residual {
                return out;
            }
            assert_eq!((d.rows(), out.len()), (input.rows(), input.columns()));
            input.row(pixel).iter().zip(out).map(|(&x, v)| x + v).collect()
        });
        let steps = vec![(Step::Activation, e), (Step::DepthwiseActivation, d)];
        FloatTrace { steps, output: Values::F32(output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel, doubled, summed with its neighbours, halved, added.
    #[test]
    fn neighbours_by_hand() {
        let layer = |columns, values: &[f32], bias| FloatLayer {
            weights: Matrix::new(1, columns, values.iter().map(|&v| f16::from_f32(v)).collect()),
            bias: vec![bias],
        };
        let op = FloatInvertedResidual {
            in_height: 1,
            in_width: 3,
            kernel: 3,
            stride: 1,
            padding: 1,
            residual: true,
            activations: [Activation::Identity, Activation::Relu],
            expansion: layer(1, &[2.0], 1.0),
            depthwise: layer(9, &[1.0; 9], -12.0),
            projection: layer(1, &[0.5], 0.25),
        };
        let FloatTrace { steps, output } = op.run(&Matrix::new(3, 1, vec![1.0, 2.0, 4.0]));
        assert_eq!(steps[0].1.data(), [3.0, 5.0, 9.0]);
        assert_eq!(steps[1].1.data(), [0.0, 5.0, 2.0]);
        assert_eq!(output, Values::F32(Matrix::new(3, 1, vec![1.25, 4.75, 5.25])));
    }
}
