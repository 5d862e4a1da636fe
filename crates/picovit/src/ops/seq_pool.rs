//! Final layer norm and sequence pooling: an attention of one learned query.

use super::{Norm, Value};
use crate::engine::{Probe, Site, Tap};
use crate::format::{EXP_ENTRIES, SeqPoolRecord};
use crate::kernels::{self, dot, mulhi, multiply_add, row_mult, sat16};
use crate::model::Constants;
use crate::rows::rows;
use crate::scratch::Scratch;

/// See [`SeqPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct SeqPool<'a> {
    pub(crate) record: &'a SeqPoolRecord,
    norm: Norm<'a>,
    weights: &'a [i8],
}

impl<'a> SeqPool<'a> {
    pub(crate) fn decode(r: &'a SeqPoolRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 13] && r.reserved == [0; 2] && r.head.reserved == 0;
        let shifts = r.score_shift < 32 && r.out_shift < 32 && (-128..=127).contains(&r.zero);
        constants.ensure(plain && shifts && r.tokens > 0 && r.width > 0);
        let width = r.width as usize;
        Self {
            record: r,
            norm: Norm::decode(&r.norm, width, constants),
            weights: constants.slice(r.weights, width),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a SeqPoolRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::Tokens { tokens: self.record.tokens as usize, width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Pooled { width: self.record.width as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(
        &self,
        exp_table: &[u8; EXP_ENTRIES],
        input: &[i16],
        output: &mut [i16],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (tokens, width) = (r.tokens as usize, r.width as usize);
        let y: &mut [i8] = scratch.take(width);
        let scores: &mut [i32] = scratch.take(tokens);
        let weights: &mut [u8] = scratch.take(tokens);
        let sums: &mut [i32] = scratch.take(width);
        for (t, (x, score)) in rows(input, width).zip(scores.iter_mut()).enumerate() {
            self.norm.token(x, y);
            tap.i8(Site::Norm, t, 0, y);
            *score = dot(0, self.weights, y);
        }
        let shift = r.score_shift as u32;
        let sum = kernels::softmax_weights(scores, shift, r.exp_mult, exp_table, weights);
        let zero = r.zero.wrapping_mul(sum as i32);
        sums.fill(0i32.wrapping_sub(zero));
        // Normalising twice costs less than keeping all tokens.
        for (x, &weight) in rows(input, width).zip(&*weights) {
            self.norm.token(x, y);
            multiply_add(y, weight as i32, sums);
        }
        let numerator = (r.out_mult_high as u64) << 32 | r.out_mult_low as u64;
        let mult = row_mult(numerator, sum);
        for (out, &sum) in output.iter_mut().zip(&*sums) {
            *out = sat16(mulhi(sum.wrapping_shl(r.out_shift as u32), mult));
        }
        tap.i16(Site::Output, 0, 0, output);
    }
}
