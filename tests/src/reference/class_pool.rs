use super::norm::norm16;
use super::{Gain16, Matrix};

/// Section 15: the layer norm of the class token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPool {
    /// Number of tokens.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// Added to `width^2` times the variance.
    pub epsilon: u64,
    /// Constants of the norm's int16 output.
    pub gain16: Gain16,
}

impl ClassPool {
    /// int16 residual stream to one int16 token.
    #[must_use]
    pub fn run(&self, x: &Matrix<i16>) -> Matrix<i16> {
        assert_eq!((x.rows(), x.columns()), (self.tokens, self.width));
        let Gain16 { gain, offset } = &self.gain16;
        Matrix::new(1, self.width, norm16(x.row(0), self.epsilon, gain, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 0, deviation 300: normalised values are -1 and 1.
    #[test]
    fn the_first_token_counts() {
        let gain16 = Gain16 { gain: vec![5000 << 12; 4], offset: vec![7; 4] };
        let pool = ClassPool { tokens: 2, width: 4, epsilon: 1, gain16 };
        let x = Matrix::new(2, 4, vec![-300, 300, 300, -300, 1, 2, 3, 4]);
        assert_eq!(pool.run(&x).data(), [-4993, 5007, 5007, -4993]);
    }
}
