use super::embed::unfolded;
use super::{Matrix, Norm};

/// Section 14: the layer norm of the residual stream, back in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub columns: usize,
    /// Channels per token.
    pub width: usize,
    /// Edge of the patches the map was unfolded into; 0 for raster order.
    pub patch: usize,
    /// The layer norm.
    pub norm: Norm,
}

impl Fold {
    /// int16 residual stream to int8 map.
    #[must_use]
    pub fn run(&self, x: &Matrix<i16>) -> Matrix<i8> {
        assert_eq!((x.rows(), x.columns()), (self.height * self.columns, self.width));
        let mut out = Matrix::from_fn(x.rows(), self.width, |_, _| 0i8);
        for t in 0..x.rows() {
            let pixel = unfolded(t, self.patch, self.height, self.columns);
            for (c, &y) in self.norm.norm8(x.row(t)).iter().enumerate() {
                out[(pixel, c)] = y;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Embed, Scaling};
    use super::*;

    /// Tokens `(-v, v)` have the normalised values -1 and 1, so a gain of `2^20 * 9` shows their
    /// order, once the sign tells tokens apart.
    #[test]
    fn folding_undoes_unfolding() {
        let (height, columns) = (4, 6);
        let map =
            Matrix::from_fn(
                24,
                2,
                |pixel, c| {
                    if (pixel * pixel / 3 + c) % 2 == 0 { 100i8 } else { -100 }
                },
            );
        let embed = Embed {
            tokens: 24,
            width: 2,
            scaling: Scaling::Plain { zero_in: 0, mult: 100 << 16 },
            patch: 2,
            columns,
            class_token: false,
            positions: None,
        };
        let norm = Norm { epsilon: 1, gain8: vec![9 << 20; 2], offset8: vec![128; 2] };
        let fold = Fold { height, columns, width: 2, patch: 2, norm };
        let folded = fold.run(&embed.run(&map));
        let expected = Matrix::from_fn(24, 2, |pixel, c| map[(pixel, c)].signum() * 9);
        assert_eq!(folded, expected);
        let raster = Fold { patch: 0, ..fold };
        assert_ne!(raster.run(&embed.run(&map)), expected);
    }
}
