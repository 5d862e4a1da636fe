use super::Matrix;
use super::primitives::{as_i32, requant16};

/// Section 16: the mean over all pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvgPool {
    /// Number of pixels.
    pub tokens: usize,
    /// Channels.
    pub width: usize,
    /// Zero point of the input.
    pub zero_in: i32,
    /// Multiplier of the shifted sum.
    pub mult: i32,
    /// Left shift of the sum.
    pub shift: u32,
}

impl AvgPool {
    /// int8 map to one int16 token.
    #[must_use]
    pub fn run(&self, input: &Matrix<i8>) -> Matrix<i16> {
        assert_eq!((input.rows(), input.columns()), (self.tokens, self.width));
        Matrix::from_fn(1, self.width, |_, c| {
            let sum: i64 = (0..self.tokens).map(|t| i64::from(input[(t, c)])).sum();
            let centred = as_i32(sum - self.tokens as i64 * i64::from(self.zero_in));
            requant16(centred, self.mult, self.shift)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of four values, in steps of 1/100: `100 / 4 * 2^(32 - 8)` behind a shift of 8.
    #[test]
    fn the_mean_of_four() {
        let pool = AvgPool { tokens: 4, width: 2, zero_in: -3, mult: 25 << 24, shift: 8 };
        let input = Matrix::new(4, 2, vec![-3, 127, -2, 127, -3, 127, 0, 127]);
        assert_eq!(pool.run(&input).data(), [100, 13_000]);
    }
}
