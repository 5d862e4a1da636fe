use super::Matrix;
use super::primitives::{as_i32, mulhi, sat16, shift_left};

/// Section 5: int8 tokens to the int16 residual stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embed {
    /// Number of tokens.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// Zero point of the input.
    pub zero_in: i32,
    /// Multiplier of `(x - zero_in) << 16`.
    pub mult: i32,
    /// `[tokens][width]`, where there is a positional embedding.
    pub positions: Option<Matrix<i16>>,
}

impl Embed {
    /// `out[t][c] = sat16(mulhi((in[t][c] - zero_in) << 16, mult) + positions[t][c])`.
    #[must_use]
    pub fn run(&self, input: &Matrix<i8>) -> Matrix<i16> {
        assert_eq!((input.rows(), input.columns()), (self.tokens, self.width));
        Matrix::from_fn(self.tokens, self.width, |t, c| {
            let centred = as_i32(i64::from(input[(t, c)]) - i64::from(self.zero_in));
            let position = self.positions.as_ref().map_or(0, |p| p[(t, c)]);
            sat16(i64::from(mulhi(shift_left(centred, 16), self.mult)) + i64::from(position))
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
            zero_in: -28,
            mult: 100 << 16,
            positions: Some(Matrix::new(2, 2, vec![0, 7, -20_000, 30_000])),
        };
        let input = Matrix::new(2, 2, vec![-28, -27, -128, 127]);
        assert_eq!(embed.run(&input).data(), [0, 107, -30_000, 32_767]);
        let bare = Embed { positions: None, ..embed };
        assert_eq!(bare.run(&input).data(), [0, 100, -10_000, 15_500]);
    }
}
