//! Mean over all pixels.

use super::Value;
use crate::engine::{Probe, Site, Tap};
use crate::format::AvgPoolRecord;
use crate::kernels::residual_add;
use crate::model::Constants;
use crate::rows::rows;
use crate::scratch::Scratch;

/// See [`AvgPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct AvgPool<'a> {
    pub(crate) record: &'a AvgPoolRecord,
}

impl<'a> AvgPool<'a> {
    pub(crate) fn decode(r: &'a AvgPoolRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        let zero = (-128..=127).contains(&r.zero_in);
        constants.ensure(plain && zero && r.shift < 32 && r.tokens > 0 && r.width > 0);
        Self { record: r }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a AvgPoolRecord {
        self.record
    }

    /// A map of any height.
    pub(crate) fn input(&self) -> Value {
        let r = self.record;
        Value::Map { height: 1, width: r.tokens as usize, channels: r.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Pooled { width: self.record.width as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(
        &self,
        input: &[i8],
        output: &mut [i16],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let sums: &mut [i32] = scratch.take(r.width as usize);
        sums.fill(r.zero_in.wrapping_mul(r.tokens as i32).wrapping_neg());
        for pixel in rows(input, r.width as usize) {
            for (sum, &v) in sums.iter_mut().zip(pixel) {
                *sum = sum.wrapping_add(v as i32);
            }
        }
        for (out, &sum) in output.iter_mut().zip(&*sums) {
            *out = residual_add(0, sum, r.shift, r.mult);
        }
        tap.i16(Site::Output, 0, 0, output);
    }
}
