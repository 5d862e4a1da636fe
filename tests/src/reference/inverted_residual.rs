use super::Matrix;
use super::conv::{look_up, steps};
use super::primitives::{affine, as_i32, mulhi, requant8, sat8, shift_left};

/// Section 13: an inverted residual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvertedResidual {
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
    /// Value of an expanded pixel outside the map.
    pub border: i8,
    /// Expansion of every pixel: `[hidden][in_channels]`, with an activation.
    pub expansion: Layer,
    /// `[256]`: activation of the expansion.
    pub table1: Vec<i8>,
    /// Depthwise convolution: `[hidden][kernel * kernel]`.
    pub depthwise: Layer,
    /// `[256]`: activation of the depthwise convolution.
    pub table2: Vec<i8>,
    /// Projection of every pixel: `[out_channels][hidden]`.
    pub projection: Layer,
    /// How the input is added to the output, where it is.
    pub residual: Option<Residual>,
}

/// One of the three convolutions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// One row per output channel.
    pub weights: Matrix<i8>,
    /// One per output channel.
    pub bias: Vec<i32>,
    /// One per output channel.
    pub mult: Vec<i32>,
    /// Zero point of the output.
    pub zero: i8,
}

/// How the input is added to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residual {
    /// Zero point of the input.
    pub zero_in: i8,
    /// Multiplier of `(x - zero_in) << 16`.
    pub mult: i32,
}

/// What an inverted residual computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvertedResidualTrace {
    /// `[pixels of the input][hidden]`: expansion.
    pub hidden: Matrix<i8>,
    /// `e`: its activation.
    pub activation: Matrix<i8>,
    /// `[pixels of the output][hidden]`: depthwise convolution.
    pub depthwise: Matrix<i8>,
    /// `d`: its activation.
    pub depthwise_activation: Matrix<i8>,
    /// The output map.
    pub output: Matrix<i8>,
}

impl InvertedResidual {
    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.expansion.weights.columns()
    }

    /// Channels between the pointwise convolutions.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.expansion.weights.rows()
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.projection.weights.rows()
    }

    /// Rows and columns of the output.
    #[must_use]
    pub fn out_size(&self) -> (usize, usize) {
        let border = (self.padding, self.padding);
        (
            steps(self.in_height, self.kernel, self.stride, border),
            steps(self.in_width, self.kernel, self.stride, border),
        )
    }

    /// The depthwise convolution, in front of its activation.
    fn filter(&self, e: &Matrix<i8>) -> Matrix<i8> {
        let (height, width) = self.out_size();
        let layer = &self.depthwise;
        assert_eq!(layer.weights.columns(), self.kernel * self.kernel);
        Matrix::from_fn(height * width, self.hidden(), |pixel, j| {
            let (y, x) = (pixel / width, pixel % width);
            let mut acc = i64::from(layer.bias[j]);
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let row = (y * self.stride + ky) as i64 - self.padding as i64;
                    let column = (x * self.stride + kx) as i64 - self.padding as i64;
                    let inside = (0..self.in_height as i64).contains(&row)
                        && (0..self.in_width as i64).contains(&column);
                    let value = if inside {
                        e[(row as usize * self.in_width + column as usize, j)]
                    } else {
                        self.border
                    };
                    acc += i64::from(layer.weights[(j, ky * self.kernel + kx)]) * i64::from(value);
                }
            }
            requant8(as_i32(acc), layer.mult[j], layer.zero.into())
        })
    }

    /// int8 map to int8 map.
    ///
    /// # Panics
    /// If a shape does not fit, or something overflows.
    #[must_use]
    pub fn run(&self, input: &Matrix<i8>) -> InvertedResidualTrace {
        assert_eq!(input.rows(), self.in_height * self.in_width);
        assert_eq!(input.columns(), self.in_channels());
        let (expansion, projection) = (&self.expansion, &self.projection);
        let hidden = Matrix::from_fn(input.rows(), self.hidden(), |pixel, j| {
            let acc = affine(expansion.bias[j], expansion.weights.row(j), input.row(pixel));
            requant8(acc, expansion.mult[j], expansion.zero.into())
        });
        let activation = Matrix::from_fn(hidden.rows(), hidden.columns(), |pixel, j| {
            look_up(&self.table1, hidden[(pixel, j)])
        });
        let depthwise = self.filter(&activation);
        let depthwise_activation =
            Matrix::from_fn(depthwise.rows(), depthwise.columns(), |pixel, j| {
                look_up(&self.table2, depthwise[(pixel, j)])
            });
        let output = Matrix::from_fn(depthwise.rows(), self.out_channels(), |pixel, o| {
            let d = depthwise_activation.row(pixel);
            let acc = affine(projection.bias[o], projection.weights.row(o), d);
            let p = i64::from(projection.zero) + i64::from(mulhi(acc, projection.mult[o]));
            let Some(Residual { zero_in, mult }) = self.residual else { return sat8(p) };
            assert_eq!(self.out_size(), (self.in_height, self.in_width));
            assert_eq!(self.out_channels(), self.in_channels());
            let centred = i32::from(input[(pixel, o)]) - i32::from(zero_in);
            sat8(p + i64::from(mulhi(shift_left(centred, 16), mult)))
        });
        InvertedResidualTrace { hidden, activation, depthwise, depthwise_activation, output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels from one and back, by hand: a multiplier of `2^26` undoes a weight of 64.
    #[test]
    fn adds_neighbours_of_both_signs() {
        let identity: Vec<i8> = (-128..=127).collect();
        let layer = |rows, columns, weights: Vec<i8>, zero| Layer {
            weights: Matrix::new(rows, columns, weights),
            bias: vec![0; rows],
            mult: vec![1 << 26; rows],
            zero,
        };
        // The first channel looks to the left, the second to the right.
        let mut taps = vec![0; 18];
        (taps[3], taps[9 + 5]) = (64, 64);
        let mut block = InvertedResidual {
            in_height: 1,
            in_width: 3,
            kernel: 3,
            stride: 1,
            padding: 1,
            border: -7,
            expansion: layer(2, 1, vec![64, -64], 1),
            table1: identity.clone(),
            depthwise: layer(2, 9, taps, 0),
            table2: identity,
            projection: layer(1, 2, vec![64, 64], 10),
            residual: None,
        };
        let input = Matrix::new(3, 1, vec![5, -20, 30]);
        let trace = block.run(&input);
        assert_eq!(trace.activation.data(), [6, -4, -19, 21, 31, -29]);
        assert_eq!(trace.depthwise.data(), [-7, 21, 6, -29, -19, -7]);
        assert_eq!(trace.output.data(), [24, -13, -16]);

        // Twice the input's distance from 4.
        block.residual = Some(Residual { zero_in: 4, mult: 2 << 16 });
        assert_eq!(block.run(&input).output.data(), [26, -61, 36]);

        // Every second pixel.
        let block = InvertedResidual { stride: 2, residual: None, ..block };
        assert_eq!(block.out_size(), (1, 2));
        assert_eq!(block.run(&input).output.data(), [24, -16]);

        // Tables act on what stands in front of them, the border does not pass through the first.
        let negated: Vec<i8> = (-128..128).map(|v: i32| (-v).min(127) as i8).collect();
        let block = InvertedResidual { table1: negated.clone(), table2: negated, ..block };
        let trace = block.run(&input);
        assert_eq!(trace.hidden.data(), [6, -4, -19, 21, 31, -29]);
        assert_eq!(trace.activation.data(), [-6, 4, 19, -21, -31, 29]);
        assert_eq!(trace.depthwise.data(), [-7, -21, 19, -7]);
        assert_eq!(trace.output.data(), [7 + 21 + 10, -19 + 7 + 10]);
    }
}
