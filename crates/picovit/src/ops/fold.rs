//! Layer norm of the residual stream, back into an int8 map.

use super::{Norm, Value, folds};
use crate::engine::{Probe, Site, Tap};
use crate::format::{FoldRecord, unfolded_index};
use crate::model::Constants;
use crate::rows::rows;

/// See [`FoldRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Fold<'a> {
    pub(crate) record: &'a FoldRecord,
    norm: Norm<'a>,
}

impl<'a> Fold<'a> {
    pub(crate) fn decode(r: &'a FoldRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 18] && r.head.reserved == 0;
        let sizes = [r.height, r.columns, r.width];
        let folds = folds(r.height as usize, r.columns as usize, r.patch as usize);
        constants.ensure(plain && folds && sizes.iter().all(|&s| s > 0));
        Self { record: r, norm: Norm::decode(&r.norm, r.width as usize, constants) }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FoldRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let r = self.record;
        Value::Tokens { tokens: r.height as usize * r.columns as usize, width: r.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        let r = self.record;
        Value::Map {
            height: r.height as usize,
            width: r.columns as usize,
            channels: r.width as usize,
        }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(&self, input: &[i16], output: &mut [i8], tap: &mut Tap<'_, P>) {
        let r = self.record;
        let (patch, height, columns) = (r.patch as usize, r.height as usize, r.columns as usize);
        let width = r.width as usize;
        for (token, x) in rows(input, width).enumerate() {
            let index = unfolded_index(token, patch, height, columns);
            let out = output.get_mut(index * width..(index + 1) * width).unwrap_or_default();
            self.norm.token(x, out);
        }
        tap.i8(Site::Output, 0, 0, output);
    }
}
