use picovit::format::float::Conversion;

use super::super::{Matrix, Values};
use super::primitives::quantize;

/// Between integers and floats: `real = scale * (q - zero)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Convert {
    /// Between which types.
    pub conversion: Conversion,
    /// Rows of a map, number of tokens, or 1.
    pub height: usize,
    /// Columns of a map, or 1.
    pub columns: usize,
    /// `[width]`.
    pub scale: Vec<f32>,
    /// `[width]`.
    pub zero: Vec<f32>,
}

impl Convert {
    fn real(&self, c: usize, q: impl Into<f32>) -> f32 {
        (q.into() - self.zero[c]) * self.scale[c]
    }

    fn integer(&self, c: usize, x: f32, lo: f32, hi: f32) -> f32 {
        quantize(x / self.scale[c] + self.zero[c], lo, hi)
    }

    /// The other type.
    ///
    /// # Panics
    /// If the input has not the type or the shape.
    #[must_use]
    pub fn run(&self, input: &Values) -> Values {
        use Conversion::{
            MapToFloat, MapToInt, PooledToFloat, PooledToInt, TokensToFloat, TokensToInt,
        };
        let (rows, width) = (self.height * self.columns, self.scale.len());
        let check = |shape| assert_eq!(shape, (rows, width));
        match (self.conversion, input) {
            (MapToFloat, Values::I8(m)) => {
                check((m.rows(), m.columns()));
                Values::F32(Matrix::from_fn(rows, width, |t, c| self.real(c, m[(t, c)])))
            }
            (TokensToFloat | PooledToFloat, Values::I16(m)) => {
                check((m.rows(), m.columns()));
                Values::F32(Matrix::from_fn(rows, width, |t, c| self.real(c, m[(t, c)])))
            }
            (MapToInt, Values::F32(m)) => {
                check((m.rows(), m.columns()));
                let q = |t, c| self.integer(c, m[(t, c)], -128.0, 127.0) as i8;
                Values::I8(Matrix::from_fn(rows, width, q))
            }
            (TokensToInt | PooledToInt, Values::F32(m)) => {
                check((m.rows(), m.columns()));
                let q = |t, c| self.integer(c, m[(t, c)], -32768.0, 32767.0) as i16;
                Values::I16(Matrix::from_fn(rows, width, q))
            }
            _ => panic!("{:?} of another type", self.conversion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let (scale, zero) = (vec![0.25, 0.5], vec![-4.0, 10.0]);
        let conversion = Conversion::MapToFloat;
        let there = Convert { conversion, height: 1, columns: 3, scale, zero };
        let map = Values::I8(Matrix::new(3, 2, vec![-4, 10, 0, 11, 127, -128]));
        let real = there.run(&map);
        let expected = Matrix::new(3, 2, vec![0.0, 0.0, 1.0, 0.5, 32.75, -69.0]);
        assert_eq!(real, Values::F32(expected));
        let back = Convert { conversion: Conversion::MapToInt, ..there };
        assert_eq!(back.run(&real), map);
        // Ties to even, and the ends of the range.
        let real = Values::F32(Matrix::new(3, 2, vec![0.125, 0.25, 0.375, 0.75, 1e9, -1e9]));
        let expected = Values::I8(Matrix::new(3, 2, vec![-4, 10, -2, 12, 127, -128]));
        assert_eq!(back.run(&real), expected);
    }
}
