//! Mean over all pixels.

use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatAvgPoolRecord;
use crate::model::Constants;
use crate::ops::Value;
use crate::rows::rows;

/// See [`FloatAvgPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatAvgPool<'a> {
    pub(crate) record: &'a FloatAvgPoolRecord,
}

impl<'a> FloatAvgPool<'a> {
    pub(crate) fn decode(r: &'a FloatAvgPoolRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 23] && r.head.reserved == 0;
        constants.ensure(plain && r.tokens > 0 && r.width > 0);
        Self { record: r }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatAvgPoolRecord {
        self.record
    }

    /// A map of any height.
    pub(crate) fn input(&self) -> Value {
        let r = self.record;
        Value::FloatMap { height: 1, width: r.tokens as usize, channels: r.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [f32], tap: &mut Tap<'_, P>) {
        output.fill(0.0);
        for pixel in rows(input, self.record.width as usize) {
            for (out, &v) in output.iter_mut().zip(pixel) {
                *out += v;
            }
        }
        let tokens = self.record.tokens as f32;
        for out in output.iter_mut() {
            *out /= tokens;
        }
        tap.f32(Site::Output, 0, 0, output);
    }
}
