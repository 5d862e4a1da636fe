//! Layers as part of other operations: a matrix product and what becomes of its sums.

use crate::format::TOKENS;
use crate::kernels::{self, Block, Int8, Matrix, PixelRow};
use crate::model::Constants;

/// Constants of a linear layer or convolution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layer<'a> {
    pub(crate) weights: Matrix<'a>,
    pub(crate) bias: &'a [i32],
    pub(crate) mult: &'a [i32],
}

impl<'a> Layer<'a> {
    pub(crate) fn decode(
        constants: &Constants<'a>,
        [weights, bias, mult]: [u32; 3],
        (outputs, inputs): (usize, usize),
    ) -> Self {
        Self {
            weights: constants.matrix(weights, outputs, inputs),
            bias: constants.slice(bias, outputs),
            mult: constants.slice(mult, outputs),
        }
    }

    /// The outputs of the tokens in a block.
    #[inline]
    pub(crate) fn int8(&self, block: &Block<'_>, form: Int8, outputs: [&mut [i8]; TOKENS]) {
        kernels::linear_int8(self.weights, [self.bias, self.mult], form, block, outputs);
    }

    /// The outputs of all tokens in a block that has room for more.
    pub(crate) fn int8_rows(&self, block: &mut Block<'_>, form: Int8, outputs: &mut [i8]) {
        kernels::linear_int8_rows(self.weights, [self.bias, self.mult], form, block, outputs);
    }

    /// The outputs of all pixels of a row of a convolution's map.
    pub(crate) fn convolve_row(
        &self,
        source: PixelRow<'_>,
        form: Int8,
        block: &mut Block<'_>,
        outputs: &mut [i8],
    ) {
        let constants = [self.bias, self.mult];
        kernels::convolve_row(self.weights, constants, form, source, block, outputs);
    }

    /// Adds the outputs of all tokens in a block that has room for more to values of the residual
    /// stream.
    #[cfg(wide)]
    pub(crate) fn residual_rows(&self, block: &mut Block<'_>, shift: u32, x: &mut [i16]) {
        kernels::linear_add16_rows(self.weights, [self.bias, self.mult], shift, block, x);
    }

    /// Adds the outputs of the tokens in a block to values of the residual stream.
    #[inline]
    pub(crate) fn residual(&self, block: &Block<'_>, shift: u32, x: [&mut [i16]; TOKENS]) {
        kernels::linear_add16(self.weights, [self.bias, self.mult], shift, block, x);
    }
}
