use super::Matrix;
use super::primitives::{as_i32, mulhi};

/// Section 4: convolution, ReLU or another activation, max-pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Input rows.
    pub in_height: usize,
    /// Input columns.
    pub in_width: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border on every side.
    pub padding: usize,
    /// Pooling window edge; 0 for none.
    pub pool_kernel: usize,
    /// Pooling step.
    pub pool_stride: usize,
    /// Pooling border above and to the left.
    pub pool_padding: usize,
    /// Pooling border below and to the right.
    pub pool_padding_after: usize,
    /// `[all channels]`: value of an input outside the map.
    pub zero_in: Vec<i8>,
    /// Zero point of the output.
    pub zero_out: i8,
    /// Smallest output.
    pub low: i8,
    /// `[out_channels][kernel * kernel * all channels]`.
    pub weights: Matrix<i8>,
    /// `[out_channels]`.
    pub bias: Vec<i32>,
    /// `[out_channels]`.
    pub mult: Vec<i32>,
    /// `[256]`: the activation, where there is one.
    pub table: Option<Vec<i8>>,
    /// Where further channels come from.
    pub second: Option<Second>,
}

/// The second input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Its channels.
    pub channels: usize,
    /// Index of the operation whose output it is; the image itself if `None`.
    pub of: Option<usize>,
}

/// What a convolution computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvTrace {
    /// The convolution's own map, clamped, in front of the activation.
    pub hidden: Matrix<i8>,
    /// The output map.
    pub output: Matrix<i8>,
}

/// `(in + before + after - kernel) / stride + 1`.
pub(super) fn steps(
    size: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
) -> usize {
    let room = size + before + after;
    assert!(room >= kernel, "a window of {kernel} does not fit a map of {size}");
    (room - kernel) / stride + 1
}

/// `table[v + 128]`.
pub(super) fn look_up(table: &[i8], v: i8) -> i8 {
    assert_eq!(table.len(), 256);
    table[(i32::from(v) + 128) as usize]
}

impl Conv {
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
        if self.pool_kernel == 0 {
            return (height, width);
        }
        let border = (self.pool_padding, self.pool_padding_after);
        (
            steps(height, self.pool_kernel, self.pool_stride, border),
            steps(width, self.pool_kernel, self.pool_stride, border),
        )
    }

    /// Channels of both inputs.
    #[must_use]
    pub fn all_channels(&self) -> usize {
        self.in_channels + self.second.map_or(0, |second| second.channels)
    }

    /// The channels of both inputs, pixel by pixel.
    fn joined(&self, input: &Matrix<i8>, second: Option<&Matrix<i8>>) -> Matrix<i8> {
        let pixels = self.in_height * self.in_width;
        assert_eq!((input.rows(), input.columns()), (pixels, self.in_channels));
        let shape = second.map(|map| (map.rows(), map.columns()));
        assert_eq!(shape, self.second.map(|second| (pixels, second.channels)));
        Matrix::from_fn(pixels, self.all_channels(), |pixel, c| match second {
            Some(second) if c >= self.in_channels => second[(pixel, c - self.in_channels)],
            _ => input[(pixel, c)],
        })
    }

    /// The convolution's own map, clamped, in front of activation and pooling.
    fn map(&self, input: &Matrix<i8>) -> Matrix<i8> {
        let channels = input.columns();
        let (height, width) = self.map_size();
        Matrix::from_fn(height * width, self.out_channels, |pixel, o| {
            let (y, x) = (pixel / width, pixel % width);
            let mut acc = i64::from(self.bias[o]);
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let row = (y * self.stride + ky) as i64 - self.padding as i64;
                    let column = (x * self.stride + kx) as i64 - self.padding as i64;
                    let inside = (0..self.in_height as i64).contains(&row)
                        && (0..self.in_width as i64).contains(&column);
                    for c in 0..channels {
                        let value = if inside {
                            input[(row as usize * self.in_width + column as usize, c)]
                        } else {
                            self.zero_in[c]
                        };
                        let tap = (ky * self.kernel + kx) * channels + c;
                        acc += i64::from(self.weights[(o, tap)]) * i64::from(value);
                    }
                }
            }
            let v = i64::from(self.zero_out) + i64::from(mulhi(as_i32(acc), self.mult[o]));
            v.clamp(i64::from(self.low), 127) as i8
        })
    }

    /// The largest values of the windows of a map.
    fn pool(&self, map: &Matrix<i8>) -> Matrix<i8> {
        let (map_height, map_width) = self.map_size();
        let (height, width) = self.out_size();
        Matrix::from_fn(height * width, self.out_channels, |pixel, o| {
            let (y, x) = (pixel / width, pixel % width);
            let mut largest = None;
            for ky in 0..self.pool_kernel {
                for kx in 0..self.pool_kernel {
                    let row = (y * self.pool_stride + ky) as i64 - self.pool_padding as i64;
                    let column = (x * self.pool_stride + kx) as i64 - self.pool_padding as i64;
                    let inside = (0..map_height as i64).contains(&row)
                        && (0..map_width as i64).contains(&column);
                    if inside {
                        let value = map[(row as usize * map_width + column as usize, o)];
                        largest = largest.max(Some(value));
                    }
                }
            }
            largest.expect("a pooling window that touches the map")
        })
    }

    /// The whole operation: one int8 map or two to an int8 map.
    ///
    /// # Panics
    /// If there is a table and `low` is not -128, or the maps do not have their shapes.
    #[must_use]
    pub fn run(&self, input: &Matrix<i8>, second: Option<&Matrix<i8>>) -> ConvTrace {
        let hidden = self.map(&self.joined(input, second));
        let active = match &self.table {
            None => hidden.clone(),
            Some(table) => {
                assert_eq!(self.low, -128);
                Matrix::from_fn(hidden.rows(), hidden.columns(), |pixel, o| {
                    look_up(table, hidden[(pixel, o)])
                })
            }
        };
        let output = if self.pool_kernel == 0 { active } else { self.pool(&active) };
        ConvTrace { hidden, output }
    }
}

#[cfg(test)]
mod tests {
    use super::super::float;
    use super::*;

    /// Identity kernel: only the centre tap counts, so the map moves by nothing at all.
    #[test]
    fn centre_tap_copies_the_map() {
        let weights = Matrix::from_fn(2, 18, |o, tap| if tap == 4 * 2 + o { 64 } else { 0 });
        let conv = Conv {
            in_height: 3,
            in_width: 5,
            in_channels: 2,
            out_channels: 2,
            kernel: 3,
            stride: 1,
            padding: 1,
            pool_kernel: 0,
            pool_stride: 0,
            pool_padding: 0,
            pool_padding_after: 0,
            zero_in: vec![55, -99],
            zero_out: 0,
            low: -128,
            weights,
            bias: vec![0; 2],
            mult: vec![1 << 26; 2],
            table: None,
            second: None,
        };
        let input = Matrix::from_fn(15, 2, |pixel, c| (pixel * 17 + c * 101) as u8 as i8);
        assert_eq!(conv.run(&input, None).output, input);

        // The same channels out of two maps, and an activation that negates.
        let half = |c| Matrix::from_fn(15, 1, |pixel, _| input[(pixel, c)]);
        let conv = Conv {
            in_channels: 1,
            second: Some(Second { channels: 1, of: None }),
            table: Some((-128..128).map(|v: i32| (-v).min(127) as i8).collect()),
            ..conv
        };
        let trace = conv.run(&half(0), Some(&half(1)));
        assert_eq!(trace.hidden, input);
        assert_eq!(trace.output, Matrix::from_fn(15, 2, |p, c| 0i8.saturating_sub(input[(p, c)])));
    }

    #[test]
    fn agrees_with_a_float_convolution() {
        let mut random = float::Noise::new(3);
        let (height, width, channels, out, kernel, stride, padding) = (7, 6, 3, 5, 3, 2, 1);
        let (scale_in, zero_in, scale_out, zero_out) = (0.02, -11i8, 0.05, -100i8);
        let input = Matrix::from_fn(height * width, channels, |_, _| {
            (random.normal() * 50.0).clamp(-128.0, 127.0) as i8
        });
        let taps = kernel * kernel * channels;
        let weights = Matrix::from_fn(out, taps, |_, _| random.normal() * 0.3);
        let bias: Vec<f64> = (0..out).map(|_| random.normal()).collect();
        let linear = float::quantize(&weights, &bias, scale_in, zero_in, scale_out);
        let conv = Conv {
            in_height: height,
            in_width: width,
            in_channels: channels,
            out_channels: out,
            kernel,
            stride,
            padding,
            pool_kernel: 3,
            pool_stride: 2,
            pool_padding: 1,
            pool_padding_after: 1,
            zero_in: vec![zero_in; channels],
            zero_out,
            low: zero_out,
            weights: linear.weights,
            bias: linear.bias,
            mult: linear.mult,
            table: None,
            second: None,
        };
        let real = |row: i64, column: i64, c: usize| {
            if (0..height as i64).contains(&row) && (0..width as i64).contains(&column) {
                let q = input[((row * width as i64 + column) as usize, c)];
                scale_in * (f64::from(q) - f64::from(zero_in))
            } else {
                0.0
            }
        };
        let (map_height, map_width) = (4, 3);
        let map = Matrix::from_fn(map_height * map_width, out, |pixel, o| {
            let (y, x) = ((pixel / map_width) as i64, (pixel % map_width) as i64);
            let mut sum = bias[o];
            for tap in 0..taps {
                let (ky, kx, c) = (tap / 9, tap / 3 % 3, tap % 3);
                sum += weights[(o, tap)] * real(y * 2 + ky as i64 - 1, x * 2 + kx as i64 - 1, c);
            }
            sum.max(0.0)
        });
        let got = conv.run(&input, None).output;
        assert_eq!((got.rows(), got.columns()), (2 * 2, out));
        let mut error = float::Error::default();
        for y in 0..2 {
            for x in 0..2 {
                for o in 0..out {
                    let mut largest = f64::MIN;
                    for row in (2 * y as i64 - 1).max(0)..(2 * y as i64 + 2).min(4) {
                        for column in (2 * x as i64 - 1).max(0)..(2 * x as i64 + 2).min(3) {
                            largest = largest.max(map[((row * 3 + column) as usize, o)]);
                        }
                    }
                    let q = got[(y * 2 + x, o)];
                    error.add(scale_out * (f64::from(q) - f64::from(zero_out)), largest);
                }
            }
        }
        assert!(error.decibels() > 35.0, "{} dB", error.decibels());
    }

    /// Four values in a row, pooled by twos: a border of one more value behind them makes one more
    /// window.
    #[test]
    fn pooling_borders_of_two_extents() {
        let conv = |pool_padding, pool_padding_after| Conv {
            in_height: 4,
            in_width: 4,
            in_channels: 1,
            out_channels: 1,
            kernel: 1,
            stride: 1,
            padding: 0,
            pool_kernel: 2,
            pool_stride: 2,
            pool_padding,
            pool_padding_after,
            zero_in: vec![0],
            zero_out: 0,
            low: -128,
            weights: Matrix::new(1, 1, vec![64]),
            bias: vec![0],
            mult: vec![1 << 26],
            table: None,
            second: None,
        };
        let input = Matrix::from_fn(16, 1, |pixel, _| pixel as i8 - 50);
        let pooled = |conv: Conv| conv.run(&input, None).output.data().to_vec();
        assert_eq!(pooled(conv(0, 0)), [-45, -43, -37, -35]);
        assert_eq!(pooled(conv(0, 1)), [-45, -43, -37, -35]);
        assert_eq!(pooled(conv(1, 0)), [-50, -48, -42, -40]);
        assert_eq!(pooled(conv(1, 1)), [-50, -48, -47, -42, -40, -39, -38, -36, -35]);
    }
}
