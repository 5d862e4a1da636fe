//! The MLP sub-block, two tokens at a time: no more hidden tokens exist.

#[cfg(wide)]
mod rows;

use super::{Layer, Norm, Table, Value};
use crate::engine::{Probe, Site, Tap};
use crate::format::{MlpRecord, Packing, TABLE_ENTRIES, TOKENS};
use crate::kernels::{Block, Int8, normalize, sat16};
use crate::model::Constants;
use crate::rows::{pairs_mut, rows_mut};
use crate::scratch::Scratch;

/// See [`MlpRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Mlp<'a> {
    pub(crate) record: &'a MlpRecord,
    norm: Norm<'a>,
    /// Gain and offset of the int16 output, where it replaces the residual stream.
    residual: Option<(&'a [i32], &'a [i32])>,
    layer1: Layer<'a>,
    table: Table<'a>,
    layer2: Layer<'a>,
    /// Activation behind the second layer, in steps of the residual stream.
    table2: Option<&'a [i16; TABLE_ENTRIES]>,
}

impl<'a> Mlp<'a> {
    pub(crate) fn decode(r: &'a MlpRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 6] && r.head.reserved == 0;
        let zeros = [r.zero1, r.zero2].iter().all(|zero| (-128..=127).contains(zero));
        let ranges = r.shift < 32 && zeros && (r.table2 != 0 || r.zero2 == 0);
        let sizes = [r.tokens, r.width, r.hidden];
        constants.ensure(plain && ranges && sizes.iter().all(|&s| s > 0));
        let [_, width, hidden] = sizes.map(usize::from);
        let residual = match (r.gain16, r.offset16) {
            (0, 0) => None,
            (gain, offset) => Some((constants.slice(gain, width), constants.slice(offset, width))),
        };
        let table2 = match r.table2 {
            0 => None,
            offset => constants.slice(offset, TABLE_ENTRIES).try_into().ok(),
        };
        Self {
            record: r,
            norm: Norm::decode(&r.norm, width, constants),
            residual,
            layer1: Layer::decode(constants, [r.weights1, r.bias1, r.mult1], (hidden, width)),
            table: Table::required(r.table, constants),
            layer2: Layer::decode(constants, [r.weights2, r.bias2, r.mult2], (width, hidden)),
            table2,
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a MlpRecord {
        self.record
    }

    /// Order of the weights.
    pub(crate) fn packing(&self) -> Packing {
        self.layer1.weights.packing
    }

    pub(crate) fn input(&self) -> Value {
        Value::Tokens { tokens: self.record.tokens as usize, width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        self.input()
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(
        &self,
        stream: &mut [i16],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        // Chips that take artifacts of hosts need no second way to run them.
        #[cfg(wide)]
        if self.packing().by_rows() {
            return self.run_rows(stream, scratch, tap);
        }
        let r = self.record;
        let (width, hidden) = (r.width as usize, r.hidden as usize);
        let rows: &mut [i8] = scratch.take(TOKENS * width.max(hidden));
        let memory1: &mut [u8] = scratch.take(self.packing().block_bytes(width));
        let memory2: &mut [u8] = scratch.take(self.packing().block_bytes(hidden));
        let mut block1 = Block::new(self.packing(), width, memory1);
        let mut block2 = Block::new(self.packing(), hidden, memory2);
        for (pair, mut tokens) in pairs_mut(stream, width).enumerate() {
            let first = TOKENS * pair;
            for (token, x) in tokens.iter_mut().enumerate().filter(|(_, x)| !x.is_empty()) {
                let y = rows.get_mut(..width).unwrap_or_default();
                let row = normalize(x, self.norm.epsilon);
                row.write8(x, self.norm.gain, self.norm.offset, y);
                tap.i8(Site::Norm, first + token, 0, y);
                if let Some((gain, offset)) = self.residual {
                    row.write16(gain, offset, x);
                    tap.i16(Site::Residual, first + token, 0, x);
                }
                block1.set(token, y);
            }
            if let Some(outputs) = pairs_mut(rows, hidden).next() {
                self.layer1.int8(&block1, Int8::around(r.zero1), outputs);
            }
            let present = tokens.iter().filter(|x| !x.is_empty());
            for (token, (_, hidden)) in present.zip(rows_mut(rows, hidden)).enumerate() {
                tap.i8(Site::Hidden, first + token, 0, hidden);
                self.table.apply(hidden);
                tap.i8(Site::Activation, first + token, 0, hidden);
                block2.set(token, hidden);
            }
            match self.table2 {
                None => {
                    let [one, two] = &mut tokens;
                    self.layer2.residual(&block2, r.shift as u32, [one, two]);
                }
                Some(table) => self.activated(&block2, table, rows, first, &mut tokens, tap),
            }
            for (token, x) in tokens.iter().enumerate().filter(|(_, x)| !x.is_empty()) {
                tap.i16(Site::Output, first + token, 0, x);
            }
        }
    }

    /// The second layer with an activation behind it.
    fn activated<P: Probe>(
        &self,
        block: &Block<'_>,
        table: &[i16; TABLE_ENTRIES],
        rows: &mut [i8],
        first: usize,
        tokens: &mut [&mut [i16]; TOKENS],
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let width = r.width as usize;
        let form = Int8 { shift: r.shift as u32, ..Int8::around(r.zero2) };
        if let Some(outputs) = pairs_mut(rows, width).next() {
            self.layer2.int8(block, form, outputs);
        }
        let present = tokens.iter_mut().filter(|x| !x.is_empty());
        for (token, (x, y)) in present.zip(rows_mut(rows, width)).enumerate() {
            tap.i8(Site::Second, first + token, 0, y);
            add_activated(x, y, table);
        }
    }
}

/// Adds the activation of int8 values to values of the residual stream.
#[inline(always)]
fn add_activated(x: &mut [i16], y: &[i8], table: &[i16; TABLE_ENTRIES]) {
    for (x, &v) in x.iter_mut().zip(y) {
        let step = table[(v as u8 ^ 0x80) as usize];
        *x = sat16((*x as i32).wrapping_add(step as i32));
    }
}
