use super::Matrix;
use super::primitives::{as_i32, mulhi};

/// Section 4: convolution, ReLU, max-pooling.
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
    /// Pooling border.
    pub pool_padding: usize,
    /// `[in_channels]`: value of an input outside the map.
    pub zero_in: Vec<i8>,
    /// Zero point of the output.
    pub zero_out: i8,
    /// Smallest output.
    pub low: i8,
    /// `[out_channels][kernel * kernel * in_channels]`.
    pub weights: Matrix<i8>,
    /// `[out_channels]`.
    pub bias: Vec<i32>,
    /// `[out_channels]`.
    pub mult: Vec<i32>,
}

/// `(in + 2*padding - kernel) / stride + 1`.
fn steps(size: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    let room = size + 2 * padding;
    assert!(room >= kernel, "a window of {kernel} does not fit a map of {size}");
    (room - kernel) / stride + 1
}

impl Conv {
    /// Rows and columns before pooling.
    #[must_use]
    pub fn map_size(&self) -> (usize, usize) {
        (
            steps(self.in_height, self.kernel, self.stride, self.padding),
            steps(self.in_width, self.kernel, self.stride, self.padding),
        )
    }

    /// Rows and columns of the output.
    #[must_use]
    pub fn out_size(&self) -> (usize, usize) {
        let (height, width) = self.map_size();
        if self.pool_kernel == 0 {
            return (height, width);
        }
        (
            steps(height, self.pool_kernel, self.pool_stride, self.pool_padding),
            steps(width, self.pool_kernel, self.pool_stride, self.pool_padding),
        )
    }

    /// The convolution's own map, clamped, before pooling.
    #[must_use]
    pub fn map(&self, input: &Matrix<i8>) -> Matrix<i8> {
        assert_eq!(input.rows(), self.in_height * self.in_width);
        assert_eq!(input.columns(), self.in_channels);
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
                    for c in 0..self.in_channels {
                        let value = if inside {
                            input[(row as usize * self.in_width + column as usize, c)]
                        } else {
                            self.zero_in[c]
                        };
                        let tap = (ky * self.kernel + kx) * self.in_channels + c;
                        acc += i64::from(self.weights[(o, tap)]) * i64::from(value);
                    }
                }
            }
            let v = i64::from(self.zero_out) + i64::from(mulhi(as_i32(acc), self.mult[o]));
            v.clamp(i64::from(self.low), 127) as i8
        })
    }

    /// The whole operation: int8 map to int8 map.
    #[must_use]
    pub fn run(&self, input: &Matrix<i8>) -> Matrix<i8> {
        let map = self.map(input);
        if self.pool_kernel == 0 {
            return map;
        }
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
            zero_in: vec![55, -99],
            zero_out: 0,
            low: -128,
            weights,
            bias: vec![0; 2],
            mult: vec![1 << 26; 2],
        };
        let input = Matrix::from_fn(15, 2, |pixel, c| (pixel * 17 + c * 101) as u8 as i8);
        assert_eq!(conv.run(&input), input);
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
            zero_in: vec![zero_in; channels],
            zero_out,
            low: zero_out,
            weights: linear.weights,
            bias: linear.bias,
            mult: linear.mult,
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
        let got = conv.run(&input);
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
}
