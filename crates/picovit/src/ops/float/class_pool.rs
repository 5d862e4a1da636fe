//! Final layer norm of the class token; the other tokens are not needed any more.

use super::FloatNorm;
use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatClassPoolRecord;
use crate::model::Constants;
use crate::ops::Value;

/// See [`FloatClassPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatClassPool<'a> {
    pub(crate) record: &'a FloatClassPoolRecord,
    norm: FloatNorm<'a>,
}

impl<'a> FloatClassPool<'a> {
    pub(crate) fn decode(r: &'a FloatClassPoolRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        constants.ensure(plain && r.tokens > 0);
        Self { record: r, norm: FloatNorm::decode(&r.norm, r.width as usize, constants) }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatClassPoolRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn output(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [f32], tap: &mut Tap<'_, P>) {
        self.norm.token(input, output);
        tap.f32(Site::Output, 0, 0, output);
    }
}
