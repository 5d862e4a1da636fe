//! Final layer norm of the class token; the other tokens are not needed any more.

use super::Value;
use crate::engine::{Probe, Site, Tap};
use crate::format::{ClassPoolRecord, MAX_WIDTH, NormRecord};
use crate::kernels::normalize;
use crate::model::Constants;

/// See [`ClassPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct ClassPool<'a> {
    pub(crate) record: &'a ClassPoolRecord,
    epsilon: u64,
    gain: &'a [i32],
    offset: &'a [i32],
}

impl<'a> ClassPool<'a> {
    pub(crate) fn decode(r: &'a ClassPoolRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 19] && r.head.reserved == 0;
        let width = r.width as usize;
        constants.ensure(plain && r.tokens > 0 && (1..=MAX_WIDTH).contains(&width));
        let (epsilon_low, epsilon_high) = (r.epsilon_low, r.epsilon_high);
        let epsilon = NormRecord { epsilon_low, epsilon_high, gain8: 0, offset8: 0 }.epsilon();
        constants.ensure((1..1 << 60).contains(&epsilon));
        Self {
            record: r,
            epsilon,
            gain: constants.slice(r.gain16, width),
            offset: constants.slice(r.offset16, width),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a ClassPoolRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::Tokens { tokens: self.record.tokens as usize, width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Pooled { width: self.record.width as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(&self, input: &[i16], output: &mut [i16], tap: &mut Tap<'_, P>) {
        for (out, &x) in output.iter_mut().zip(input) {
            *out = x;
        }
        normalize(output, self.epsilon).write16(self.gain, self.offset, output);
        tap.i16(Site::Output, 0, 0, output);
    }
}
