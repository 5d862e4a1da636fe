use half::f16;

use super::super::{Matrix, unfolded};
use super::{FloatLayer, FloatNorm, by_row};

/// A map to the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatEmbed {
    /// Number of tokens, the class token included.
    pub tokens: usize,
    /// Channels per token.
    pub width: usize,
    /// The linear layer, where there is one.
    pub linear: Option<FloatLayer>,
    /// Edge of the patches the map is unfolded into; 0 for raster order.
    pub patch: usize,
    /// Columns of the map where it is unfolded, else 0.
    pub columns: usize,
    /// Whether the first token is the first row of `positions`.
    pub class_token: bool,
    /// `[tokens][width]`, where there is a positional embedding.
    pub positions: Option<Matrix<f16>>,
}

impl FloatEmbed {
    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.linear.as_ref().map_or(self.width, |linear| linear.weights.columns())
    }

    /// Float map to residual stream.
    #[must_use]
    pub fn run(&self, input: &Matrix<f32>) -> Matrix<f32> {
        let first = usize::from(self.class_token);
        let pixels = self.tokens - first;
        assert_eq!((input.rows(), input.columns()), (pixels, self.in_channels()));
        let rows = if self.patch == 0 { 0 } else { pixels / self.columns };
        by_row(self.tokens, self.width, |token| {
            let v = if token < first {
                vec![0.0; self.width]
            } else {
                let x = input.row(unfolded(token - first, self.patch, rows, self.columns));
                self.linear.as_ref().map_or(x.to_vec(), |linear| linear.run(x))
            };
            let Some(positions) = &self.positions else { return v };
            v.iter().zip(positions.row(token)).map(|(&v, &p)| v + f32::from(p)).collect()
        })
    }
}

/// The layer norm of the stream, back in a map.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatFold {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub columns: usize,
    /// Edge of the patches the map was unfolded into; 0 for raster order.
    pub patch: usize,
    /// The layer norm.
    pub norm: FloatNorm,
}

impl FloatFold {
    /// Residual stream to float map.
    #[must_use]
    pub fn run(&self, x: &Matrix<f32>) -> Matrix<f32> {
        assert_eq!(x.rows(), self.height * self.columns);
        let mut out = x.clone();
        for t in 0..x.rows() {
            let pixel = unfolded(t, self.patch, self.height, self.columns);
            for (c, y) in self.norm.token(x.row(t)).into_iter().enumerate() {
                out[(pixel, c)] = y;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_undoes_unfolding() {
        let map = Matrix::from_fn(24, 2, |pixel, c| if c == 0 { pixel as f32 } else { -1.0 });
        let embed = FloatEmbed {
            tokens: 24,
            width: 2,
            linear: None,
            patch: 2,
            columns: 6,
            class_token: false,
            positions: None,
        };
        let stream = embed.run(&map);
        assert_eq!(stream.row(6), [1.0, -1.0]);
        let norm = FloatNorm { epsilon: 1.0, gamma: vec![1.0; 2], beta: vec![0.0; 2] };
        let fold = FloatFold { height: 4, columns: 6, patch: 2, norm };
        assert_eq!(fold.run(&stream), fold.norm.tokens(&map));
    }

    #[test]
    fn a_class_token_is_its_position() {
        let positions = Matrix::new(2, 1, vec![f16::from_f32(0.5), f16::from_f32(-2.0)]);
        let embed = FloatEmbed {
            tokens: 2,
            width: 1,
            linear: None,
            patch: 0,
            columns: 0,
            class_token: true,
            positions: Some(positions),
        };
        assert_eq!(embed.run(&Matrix::new(1, 1, vec![3.0])).data(), [0.5, 1.0]);
    }
}
