//! The classifier.

use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatHeadRecord;
use crate::kernels::float::{dot_f16, quantize};
use crate::model::Constants;
use crate::ops::Value;
use crate::rows::rows;

/// See [`FloatHeadRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatHead<'a> {
    pub(crate) record: &'a FloatHeadRecord,
    weights: &'a [u16],
    bias: &'a [f32],
}

impl<'a> FloatHead<'a> {
    pub(crate) fn decode(r: &'a FloatHeadRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        constants.ensure(plain && r.width > 0 && r.classes > 0);
        let (width, classes) = (r.width as usize, r.classes as usize);
        Self {
            record: r,
            weights: constants.array(r.weights, &[classes, width]),
            bias: constants.slice(r.bias, classes),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatHeadRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Logits { classes: self.record.classes as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [i16], tap: &mut Tap<'_, P>) {
        let weights = rows(self.weights, input.len()).zip(self.bias);
        for (out, (weights, &bias)) in output.iter_mut().zip(weights) {
            let logit = dot_f16(weights, input) + bias;
            *out = quantize(logit * self.record.steps, -32768.0, 32767.0) as i16;
        }
        tap.i16(Site::Output, 0, 0, output);
    }
}
