//! The classifier.

use super::Value;
use crate::engine::{Probe, Site, Tap};
use crate::format::HeadRecord;
use crate::kernels::{dot_i16, residual_add};
use crate::model::Constants;
use crate::rows::rows;

/// See [`HeadRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub(crate) record: &'a HeadRecord,
    weights: &'a [i8],
    bias: &'a [i32],
    mult: &'a [i32],
}

impl<'a> Head<'a> {
    pub(crate) fn decode(r: &'a HeadRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 19] && r.head.reserved == 0;
        constants.ensure(plain && r.shift < 32 && r.width > 0 && r.classes > 0);
        let (width, classes) = (r.width as usize, r.classes as usize);
        Self {
            record: r,
            weights: constants.array(r.weights, &[classes, width]),
            bias: constants.slice(r.bias, classes),
            mult: constants.slice(r.mult, classes),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a HeadRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::Pooled { width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Logits { classes: self.record.classes as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(&self, input: &[i16], output: &mut [i16], tap: &mut Tap<'_, P>) {
        let weights = rows(self.weights, input.len());
        let constants = weights.zip(self.bias).zip(self.mult);
        for (out, ((weights, &bias), &mult)) in output.iter_mut().zip(constants) {
            *out = residual_add(0, dot_i16(bias, weights, input), self.record.shift, mult);
        }
        tap.i16(Site::Output, 0, 0, output);
    }
}
