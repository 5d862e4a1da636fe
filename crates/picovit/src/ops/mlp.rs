//! The MLP sub-block, token by token: only one hidden token exists at a time.

use super::{Norm, Table, Value, ensure};
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::{MlpRecord, TABLE_ENTRIES};
use crate::kernels::{dot, normalize, requant8, residual_add, sat16};
use crate::model::Constants;
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// See [`MlpRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Mlp<'a> {
    pub(crate) record: &'a MlpRecord,
    norm: Norm<'a>,
    /// Gain and offset of the int16 output, where it replaces the residual stream.
    residual: Option<(&'a [i32], &'a [i32])>,
    weights1: &'a [i8],
    bias1: &'a [i32],
    mult1: &'a [i32],
    table: Table<'a>,
    weights2: &'a [i8],
    bias2: &'a [i32],
    mult2: &'a [i32],
    /// Activation behind the second layer, in steps of the residual stream.
    table2: Option<&'a [i16; TABLE_ENTRIES]>,
}

impl<'a> Mlp<'a> {
    pub(crate) fn decode(r: &'a MlpRecord, constants: Constants<'a>) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 6] && r.head.reserved == 0;
        let zeros = [r.zero1, r.zero2].iter().all(|zero| (-128..=127).contains(zero));
        let ranges = r.shift < 32 && zeros && (r.table2 != 0 || r.zero2 == 0);
        let sizes = [r.tokens, r.width, r.hidden];
        ensure(plain && ranges && sizes.iter().all(|&s| s > 0), constants)?;
        let [_, width, hidden] = sizes.map(usize::from);
        let residual = match (r.gain16, r.offset16) {
            (0, 0) => None,
            (gain, offset) => {
                Some((constants.slice(gain, &[width])?, constants.slice(offset, &[width])?))
            }
        };
        let table2 = match r.table2 {
            0 => None,
            offset => Some(constants.slice(offset, &[TABLE_ENTRIES])?),
        };
        let table2 = table2.map(TryInto::try_into).transpose().map_err(|_| constants.invalid())?;
        Ok(Self {
            record: r,
            norm: Norm::decode(&r.norm, width, constants)?,
            residual,
            weights1: constants.slice(r.weights1, &[hidden, width])?,
            bias1: constants.slice(r.bias1, &[hidden])?,
            mult1: constants.slice(r.mult1, &[hidden])?,
            table: Table::required(r.table, constants)?,
            weights2: constants.slice(r.weights2, &[width, hidden])?,
            bias2: constants.slice(r.bias2, &[width])?,
            mult2: constants.slice(r.mult2, &[width])?,
            table2,
        })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a MlpRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::Tokens { tokens: self.record.tokens as usize, width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        self.input()
    }

    pub(crate) fn run<P: Probe>(
        &self,
        stream: &mut [i16],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let y: &mut [i8] = scratch.take(r.width as usize);
        let hidden: &mut [i8] = scratch.take(r.hidden as usize);
        for (t, x) in rows_mut(stream, r.width as usize).enumerate() {
            let row = normalize(x, self.norm.epsilon);
            row.write8(x, self.norm.gain, self.norm.offset, y);
            tap.i8(Site::Norm, t, 0, y);
            if let Some((gain, offset)) = self.residual {
                row.write16(gain, offset, x);
                tap.i16(Site::Residual, t, 0, x);
            }
            let weights = rows(self.weights1, y.len());
            let constants = weights.zip(self.bias1).zip(self.mult1);
            for (out, ((weights, &bias), &mult)) in hidden.iter_mut().zip(constants) {
                *out = requant8(dot(bias, weights, y), mult, r.zero1);
            }
            tap.i8(Site::Hidden, t, 0, hidden);
            self.table.apply(hidden);
            tap.i8(Site::Activation, t, 0, hidden);
            let weights = rows(self.weights2, hidden.len());
            let constants = weights.zip(self.bias2).zip(self.mult2);
            match self.table2 {
                None => {
                    for (x, ((weights, &bias), &mult)) in x.iter_mut().zip(constants) {
                        *x = residual_add(*x, dot(bias, weights, hidden), r.shift as u32, mult);
                    }
                }
                Some(table) => {
                    // The norm's output is not needed any more: its memory takes the second layer's.
                    for (out, ((weights, &bias), &mult)) in y.iter_mut().zip(constants) {
                        let acc = dot(bias, weights, hidden).wrapping_shl(r.shift as u32);
                        *out = requant8(acc, mult, r.zero2);
                    }
                    tap.i8(Site::Second, t, 0, y);
                    for (x, &v) in x.iter_mut().zip(&*y) {
                        let step = table[(v as u8 ^ 0x80) as usize];
                        *x = sat16((*x as i32).wrapping_add(step as i32));
                    }
                }
            }
            tap.i16(Site::Output, t, 0, x);
        }
    }
}
