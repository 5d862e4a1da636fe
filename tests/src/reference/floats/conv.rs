use picovit::format::float::Activation;

use super::super::conv::steps;
use super::super::{Matrix, Second, Values};
use super::primitives::{activate, largest};
use super::{FloatLayer, by_row};

/// Convolution, activation, max-pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatConv {
    /// Input rows.
    pub in_height: usize,
    /// Input columns.
    pub in_width: usize,
    /// Channels of the first input.
    pub in_channels: usize,
    /// Kernel edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border on every side.
    pub padding: usize,
    /// Weights `[out_channels][kernel * kernel * all channels]`.
    pub layer: FloatLayer,
    /// In front of the pooling.
    pub activation: Activation,
    /// Max-pooling, where there is one.
    pub pool: Option<FloatPool>,
    /// Scale and offset of every channel of an int8 input.
    pub int8: Option<(Vec<f32>, Vec<f32>)>,
    /// Where further channels come from.
    pub second: Option<Second>,
}

/// Windows of a max-pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatPool {
    /// Window edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border above and to the left, below and to the right.
    pub border: (usize, usize),
}

impl FloatConv {
    /// Rows and columns before pooling.
    #[must_use]
    pub fn map_size(&self) -> (usize, usize) {
        let border = (self.padding, self.padding);
        (
            steps(self.in_height, self.kernel, self.stride, border),
            steps(self.in_width, self.kernel, self.stride, border),
        )
    }

    /// Rows and columns of the output.
    #[must_use]
    pub fn out_size(&self) -> (usize, usize) {
        let (height, width) = self.map_size();
        match self.pool {
            None => (height, width),
            Some(FloatPool { kernel, stride, border }) => {
                (steps(height, kernel, stride, border), steps(width, kernel, stride, border))
            }
        }
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.layer.bias.len()
    }

    /// The real values of both inputs, pixel by pixel.
    fn joined(&self, input: &Values, second: Option<&Values>) -> Matrix<f32> {
        let pixels = self.in_height * self.in_width;
        let first = match (input, &self.int8) {
            (Values::F32(map), None) => map.clone(),
            (Values::I8(map), Some((scale, offset))) => {
                Matrix::from_fn(map.rows(), map.columns(), |pixel, c| {
                    f32::from(map[(pixel, c)]) * scale[c] + offset[c]
                })
            }
            _ => panic!("a convolution of the wrong type of map"),
        };
        assert_eq!((first.rows(), first.columns()), (pixels, self.in_channels));
        let Some(Second { channels, .. }) = self.second else {
            assert!(second.is_none());
            return first;
        };
        let Some(Values::F32(second)) = second else { panic!("a second map of floats") };
        assert_eq!((second.rows(), second.columns()), (pixels, channels));
        by_row(pixels, self.in_channels + channels, |pixel| {
            [first.row(pixel), second.row(pixel)].concat()
        })
    }

    /// Behind the activation, in front of the pooling.
    fn map(&self, input: &Matrix<f32>) -> Matrix<f32> {
        let (height, width) = self.map_size();
        by_row(height * width, self.out_channels(), |pixel| {
            let (y, x) = (pixel / width, pixel % width);
            let mut patch = Vec::new();
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let row = (y * self.stride + ky) as i64 - self.padding as i64;
                    let column = (x * self.stride + kx) as i64 - self.padding as i64;
                    let inside = (0..self.in_height as i64).contains(&row)
                        && (0..self.in_width as i64).contains(&column);
                    if inside {
                        patch.extend(input.row(row as usize * self.in_width + column as usize));
                    } else {
                        patch.extend(vec![0.0; input.columns()]);
                    }
                }
            }
            let out = self.layer.run(&patch);
            out.into_iter().map(|v| activate(self.activation, v)).collect()
        })
    }

    /// The largest values of the windows of a map.
    fn pooled(&self, map: &Matrix<f32>, pool: FloatPool) -> Matrix<f32> {
        let (map_height, map_width) = self.map_size();
        let (height, width) = self.out_size();
        Matrix::from_fn(height * width, self.out_channels(), |pixel, o| {
            let (y, x) = (pixel / width, pixel % width);
            let mut window = Vec::new();
            for ky in 0..pool.kernel {
                for kx in 0..pool.kernel {
                    let row = (y * pool.stride + ky) as i64 - pool.border.0 as i64;
                    let column = (x * pool.stride + kx) as i64 - pool.border.0 as i64;
                    let inside = (0..map_height as i64).contains(&row)
                        && (0..map_width as i64).contains(&column);
                    if inside {
                        window.push(map[(row as usize * map_width + column as usize, o)]);
                    }
                }
            }
            assert!(!window.is_empty(), "a pooling window beside the map");
            largest(window)
        })
    }

    /// One map or two to a float map.
    ///
    /// # Panics
    /// If they have not the types or the shapes.
    #[must_use]
    pub fn run(&self, input: &Values, second: Option<&Values>) -> Matrix<f32> {
        let map = self.map(&self.joined(input, second));
        match self.pool {
            None => map,
            Some(pool) => self.pooled(&map, pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    /// A border of 0 on an int8 input is a real 0, not the offset.
    #[test]
    fn a_row_of_pixels_by_hand() {
        let weights =
            Matrix::new(1, 9, [0., 0., 0., 1., 2., 4., 0., 0., 0.].map(f16::from_f32).into());
        let conv = FloatConv {
            in_height: 1,
            in_width: 3,
            in_channels: 1,
            kernel: 3,
            stride: 1,
            padding: 1,
            layer: FloatLayer { weights, bias: vec![-20.0] },
            activation: Activation::Relu,
            pool: None,
            int8: Some((vec![0.5], vec![1.0])),
            second: None,
        };
        // Real values 2, 4, 1.
        let input = Values::I8(Matrix::new(3, 1, vec![2, 6, 0]));
        assert_eq!(conv.run(&input, None).data(), [0.0, 0.0, 0.0]);
        let open = FloatConv { activation: Activation::Identity, ..conv };
        assert_eq!(open.run(&input, None).data(), [0.0, -6.0, -14.0]);
        let pool = Some(FloatPool { kernel: 2, stride: 2, border: (1, 1) });
        let pooled = FloatConv { pool, ..open };
        assert_eq!(pooled.run(&input, None).data(), [0.0, -6.0]);
    }
}
