use super::Matrix;
use super::primitives::{affine, as_i32, mulhi, sat16, shift_left};

/// Section 5: an int8 map to the int16 residual stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embed {
    /// Number of tokens, the class token included.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// How a pixel becomes a token.
    pub scaling: Scaling,
    /// Edge of the patches the map is unfolded into; 0 for raster order.
    pub patch: usize,
    /// Columns of the map where it is unfolded, else 0.
    pub columns: usize,
    /// Whether the first token is the first row of `positions`.
    pub class_token: bool,
    /// `[tokens][width]`, where there is a positional embedding.
    pub positions: Option<Matrix<i16>>,
}

/// How a pixel becomes a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Every value by itself.
    Plain {
        /// Zero point of the input.
        zero_in: i32,
        /// Multiplier of `(x - zero_in) << 16`.
        mult: i32,
    },
    /// Every value by itself, channels with constants of their own.
    Channels {
        /// `[width]`: zero points of the input.
        zeros: Vec<i32>,
        /// `[width]`: multipliers of `(x - zero) << 16`.
        mults: Vec<i32>,
    },
    /// By a linear layer.
    Linear {
        /// `[width][in_channels]`.
        weights: Matrix<i8>,
        /// `[width]`.
        bias: Vec<i32>,
        /// `[width]`.
        mults: Vec<i32>,
        /// Left shift of the accumulators.
        shift: u32,
    },
}

/// `u(t)`: the pixel, in raster order, that is token `t` of a map unfolded into squares.
#[must_use]
pub fn unfolded(t: usize, patch: usize, rows: usize, columns: usize) -> usize {
    if patch == 0 {
        return t;
    }
    let squares = (rows / patch) * (columns / patch);
    let (place, square) = (t / squares, t % squares);
    let row = square / (columns / patch) * patch + place / patch;
    let column = square % (columns / patch) * patch + place % patch;
    row * columns + column
}

impl Embed {
    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        match &self.scaling {
            Scaling::Plain { .. } | Scaling::Channels { .. } => self.width,
            Scaling::Linear { weights, .. } => weights.columns(),
        }
    }

    /// The residual stream of a map.
    ///
    /// # Panics
    /// If the map does not have its shape, or there is a class token without `positions`.
    #[must_use]
    pub fn run(&self, input: &Matrix<i8>) -> Matrix<i16> {
        let first = usize::from(self.class_token);
        let pixels = self.tokens - first;
        assert_eq!((input.rows(), input.columns()), (pixels, self.in_channels()));
        let rows = if self.patch == 0 { 0 } else { pixels / self.columns };
        Matrix::from_fn(self.tokens, self.width, |token, c| {
            let position = self.positions.as_ref().map(|p| p[(token, c)]);
            if token < first {
                return position.expect("a class token is a position");
            }
            let pixel = input.row(unfolded(token - first, self.patch, rows, self.columns));
            let v = match &self.scaling {
                Scaling::Plain { zero_in, mult } => {
                    let centred = as_i32(i64::from(pixel[c]) - i64::from(*zero_in));
                    mulhi(shift_left(centred, 16), *mult)
                }
                Scaling::Channels { zeros, mults } => {
                    let centred = as_i32(i64::from(pixel[c]) - i64::from(zeros[c]));
                    mulhi(shift_left(centred, 16), mults[c])
                }
                Scaling::Linear { weights, bias, mults, shift } => {
                    mulhi(shift_left(affine(bias[c], weights.row(c), pixel), *shift), mults[c])
                }
            };
            sat16(i64::from(v) + i64::from(position.unwrap_or(0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A multiplier of `100 * 2^16` scales by exactly 100.
    #[test]
    fn scales_and_adds_positions() {
        let embed = Embed {
            tokens: 2,
            width: 2,
            scaling: Scaling::Plain { zero_in: -28, mult: 100 << 16 },
            patch: 0,
            columns: 0,
            class_token: false,
            positions: Some(Matrix::new(2, 2, vec![0, 7, -20_000, 30_000])),
        };
        let input = Matrix::new(2, 2, vec![-28, -27, -128, 127]);
        assert_eq!(embed.run(&input).data(), [0, 107, -30_000, 32_767]);
        let bare = Embed { positions: None, ..embed.clone() };
        assert_eq!(bare.run(&input).data(), [0, 100, -10_000, 15_500]);

        let positions = Some(Matrix::new(3, 2, vec![11, -12, 0, 0, 1, 2]));
        let class = Embed { tokens: 3, class_token: true, positions, ..embed.clone() };
        assert_eq!(class.run(&input).data(), [11, -12, 0, 100, -9_999, 15_502]);

        let channels = Scaling::Channels { zeros: vec![-28, 1], mults: vec![100 << 16, 3 << 16] };
        let channels = Embed { scaling: channels, positions: None, ..embed.clone() };
        assert_eq!(channels.run(&input).data(), [0, -84, -10_000, 378]);

        // A shift of 8 and a multiplier of 2^24 scale by exactly 1.
        let scaling = Scaling::Linear {
            weights: Matrix::new(2, 2, vec![1, 0, 10, -10]),
            bias: vec![3, 0],
            mults: vec![1 << 24; 2],
            shift: 8,
        };
        let linear = Embed { scaling, positions: None, ..embed };
        assert_eq!(linear.run(&input).data(), [-25, -10, -125, -2550]);
    }

    /// Four rows, six columns, squares of two.
    #[test]
    fn unfolding_by_hand() {
        let order: Vec<usize> = (0..24).map(|t| unfolded(t, 2, 4, 6)).collect();
        assert_eq!(
            order,
            [
                0, 2, 4, 12, 14, 16, // upper left pixels
                1, 3, 5, 13, 15, 17, // upper right
                6, 8, 10, 18, 20, 22, // lower left
                7, 9, 11, 19, 21, 23, // lower right
            ]
        );
        assert_eq!(unfolded(7, 0, 0, 0), 7);
    }
}
