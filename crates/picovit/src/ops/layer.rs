//! Layers as part of other operations: a matrix product and what becomes of its sums.

use crate::error::Error;
use crate::kernels::{Block, Matrix, matmul, mulhi_add, residual_add};
use crate::model::Constants;

/// Constants of a linear layer or convolution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layer<'a> {
    pub(crate) weights: Matrix<'a>,
    pub(crate) bias: &'a [i32],
    pub(crate) mult: &'a [i32],
}

/// How sums become int8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int8 {
    pub(crate) zero: i32,
    pub(crate) low: i8,
    pub(crate) shift: u32,
}

impl Int8 {
    /// Around this zero point.
    pub(crate) const fn around(zero: i32) -> Self {
        Self { zero, low: i8::MIN, shift: 0 }
    }
}

impl<'a> Layer<'a> {
    pub(crate) fn decode(
        constants: Constants<'a>,
        [weights, bias, mult]: [u32; 3],
        (outputs, inputs): (usize, usize),
    ) -> Result<Self, Error> {
        Ok(Self {
            weights: constants.matrix(weights, outputs, inputs)?,
            bias: constants.slice(bias, &[outputs])?,
            mult: constants.slice(mult, &[outputs])?,
        })
    }

    /// The outputs of the tokens in a block.
    #[inline]
    pub(crate) fn int8(&self, block: &Block<'_>, form: Int8, [first, second]: [&mut [i8]; 2]) {
        let Int8 { zero, low, shift } = form;
        matmul::<i8>(self.weights, self.bias, block, |output, sums| {
            let mult = self.mult.get(output).copied().unwrap_or(0);
            let value = |sum: i32| {
                mulhi_add(zero, sum.wrapping_shl(shift), mult).min(127).max(low as i32) as i8
            };
            for (row, sum) in [&mut *first, &mut *second].into_iter().zip(sums) {
                if let Some(out) = row.get_mut(output) {
                    *out = value(sum);
                }
            }
        });
    }

    /// Adds the outputs of the tokens in a block to values of the residual stream.
    #[inline]
    pub(crate) fn residual(&self, block: &Block<'_>, shift: u32, [first, second]: [&mut [i16]; 2]) {
        matmul::<i8>(self.weights, self.bias, block, |output, sums| {
            let mult = self.mult.get(output).copied().unwrap_or(0);
            for (row, sum) in [&mut *first, &mut *second].into_iter().zip(sums) {
                if let Some(x) = row.get_mut(output) {
                    *x = residual_add(*x, sum, shift, mult);
                }
            }
        });
    }
}
