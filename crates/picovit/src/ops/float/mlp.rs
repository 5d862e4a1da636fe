//! The MLP sub-block, token by token.

use super::{FloatNorm, activate};
use crate::engine::{Probe, Site, Tap};
use crate::format::float::{Activation, FloatMlpRecord};
use crate::kernels::float::affine_f16;
use crate::model::Constants;
use crate::ops::Value;
use crate::rows::rows_mut;
use crate::scratch::Scratch;

/// See [`FloatMlpRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatMlp<'a> {
    pub(crate) record: &'a FloatMlpRecord,
    norm: FloatNorm<'a>,
    activations: [Activation; 2],
    weights1: &'a [u16],
    bias1: &'a [f32],
    weights2: &'a [u16],
    bias2: &'a [f32],
}

impl<'a> FloatMlp<'a> {
    pub(crate) fn decode(r: &'a FloatMlpRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 14] && r.head.reserved == 0 && r.replaces <= 1;
        let sizes = [r.tokens, r.width, r.hidden];
        constants.ensure(plain && sizes.iter().all(|&s| s > 0));
        let [_, width, hidden] = sizes.map(usize::from);
        Self {
            record: r,
            norm: FloatNorm::decode(&r.norm, width, constants),
            activations: [
                constants.known(Activation::from_u8(r.activation1)),
                constants.known(Activation::from_u8(r.activation2)),
            ],
            weights1: constants.array(r.weights1, &[hidden, width]),
            bias1: constants.slice(r.bias1, hidden),
            weights2: constants.array(r.weights2, &[width, hidden]),
            bias2: constants.slice(r.bias2, width),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatMlpRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn output(&self) -> Value {
        self.input()
    }

    pub(crate) fn run<P: Probe>(
        &self,
        stream: &mut [f32],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let y: &mut [f32] = scratch.take(r.width as usize);
        let hidden: &mut [f32] = scratch.take(r.hidden as usize);
        for (t, x) in rows_mut(stream, r.width as usize).enumerate() {
            self.norm.token(x, y);
            tap.f32(Site::Norm, t, 0, y);
            if r.replaces == 1 {
                for (x, &y) in x.iter_mut().zip(&*y) {
                    *x = y;
                }
            }
            affine_f16(self.weights1, self.bias1, y, hidden);
            activate(self.activations[0], hidden);
            tap.f32(Site::Activation, t, 0, hidden);
            // The norm's output is not needed any more: its memory takes the second layer's.
            affine_f16(self.weights2, self.bias2, hidden, y);
            activate(self.activations[1], y);
            for (x, &y) in x.iter_mut().zip(&*y) {
                *x += y;
            }
            tap.f32(Site::Output, t, 0, x);
        }
    }
}
