//! Layer norm of the residual stream, back into a map.

use super::FloatNorm;
use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatFoldRecord;
use crate::format::unfolded_index;
use crate::model::Constants;
use crate::ops::{Value, folds};
use crate::rows::rows;

/// See [`FloatFoldRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatFold<'a> {
    pub(crate) record: &'a FloatFoldRecord,
    norm: FloatNorm<'a>,
}

impl<'a> FloatFold<'a> {
    pub(crate) fn decode(r: &'a FloatFoldRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 19] && r.head.reserved == 0;
        let sizes = [r.height, r.columns, r.width];
        let folds = folds(r.height as usize, r.columns as usize, r.patch as usize);
        constants.ensure(plain && folds && sizes.iter().all(|&s| s > 0));
        Self { record: r, norm: FloatNorm::decode(&r.norm, r.width as usize, constants) }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatFoldRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let r = self.record;
        let tokens = r.height as usize * r.columns as usize;
        Value::FloatTokens { tokens, width: r.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        let r = self.record;
        Value::FloatMap {
            height: r.height as usize,
            width: r.columns as usize,
            channels: r.width as usize,
        }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [f32], tap: &mut Tap<'_, P>) {
        let r = self.record;
        let (patch, height, columns) = (r.patch as usize, r.height as usize, r.columns as usize);
        let width = r.width as usize;
        for (token, x) in rows(input, width).enumerate() {
            let index = unfolded_index(token, patch, height, columns);
            let out = output.get_mut(index * width..(index + 1) * width).unwrap_or_default();
            self.norm.token(x, out);
        }
        tap.f32(Site::Output, 0, 0, output);
    }
}
