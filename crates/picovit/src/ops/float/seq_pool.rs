//! Final layer norm and sequence pooling.

use super::FloatNorm;
use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatSeqPoolRecord;
use crate::kernels::float::{dot_f16, softmax_f32};
use crate::model::Constants;
use crate::ops::Value;
use crate::rows::rows;
use crate::scratch::Scratch;

/// See [`FloatSeqPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatSeqPool<'a> {
    pub(crate) record: &'a FloatSeqPoolRecord,
    norm: FloatNorm<'a>,
    weights: &'a [u16],
}

impl<'a> FloatSeqPool<'a> {
    pub(crate) fn decode(r: &'a FloatSeqPoolRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 19] && r.head.reserved == 0;
        constants.ensure(plain && r.tokens > 0 && r.width > 0);
        let width = r.width as usize;
        let norm = FloatNorm::decode(&r.norm, width, constants);
        Self { record: r, norm, weights: constants.slice(r.weights, width) }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatSeqPoolRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn output(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(
        &self,
        input: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        let y: &mut [f32] = scratch.take(width);
        let scores: &mut [f32] = scratch.take(tokens);
        for (t, (x, score)) in rows(input, width).zip(scores.iter_mut()).enumerate() {
            self.norm.token(x, y);
            tap.f32(Site::Norm, t, 0, y);
            *score = dot_f16(self.weights, y);
        }
        let factor = softmax_f32(scores);
        output.fill(0.0);
        // Normalising twice costs less than keeping all tokens.
        for (x, &weight) in rows(input, width).zip(&*scores) {
            self.norm.token(x, y);
            for (out, &v) in output.iter_mut().zip(&*y) {
                *out += weight * v;
            }
        }
        for out in output.iter_mut() {
            *out *= factor;
        }
        tap.f32(Site::Output, 0, 0, output);
    }
}
