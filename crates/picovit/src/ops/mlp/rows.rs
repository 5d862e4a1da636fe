//! The MLP of many tokens at a time, where the packing is one of hosts.

use super::{Mlp, add_activated};
use crate::engine::{Probe, Site, Tap};
use crate::format::packing::ROWS;
use crate::kernels::{Block, Int8};
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

impl Mlp<'_> {
    /// See [`Self::run`].
    pub(super) fn run_rows<P: Probe>(
        &self,
        stream: &mut [i16],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (width, hidden) = (r.width as usize, r.hidden as usize);
        let memory: &mut [i8] = scratch.take(ROWS * width.max(hidden));
        let packing = self.packing();
        let memory1: &mut [u8] = scratch.take(packing.row_block_bytes(width, ROWS));
        let memory2: &mut [u8] = scratch.take(packing.row_block_bytes(hidden, ROWS));
        let mut block1 = Block::new(packing, width, memory1);
        let mut block2 = Block::new(packing, hidden, memory2);
        let step = ROWS * width.max(1);
        for (first, stream) in (0..).step_by(ROWS).zip(stream.chunks_mut(step)) {
            let count = stream.len().checked_div(width).unwrap_or(0);
            let statistics = self.norm.statistics(stream, width);
            for ((token, x), row) in rows_mut(stream, width).enumerate().zip(statistics) {
                let y = block1.row_mut(token).unwrap_or_default();
                let norm = [self.norm.gain, self.norm.offset];
                if let Some((gain, offset)) = self.residual {
                    row.write_both(x, norm, [gain, offset], y);
                } else {
                    row.write8(x, norm[0], norm[1], y);
                }
                tap.i8(Site::Norm, first + token, 0, y);
                if self.residual.is_some() {
                    tap.i16(Site::Residual, first + token, 0, x);
                }
            }
            let out = memory.get_mut(..count * hidden).unwrap_or_default();
            self.layer1.int8_rows(&mut block1, Int8::around(r.zero1), out);
            for (token, row) in rows(out, hidden).enumerate() {
                tap.i8(Site::Hidden, first + token, 0, row);
            }
            self.table.apply(out);
            for (token, row) in rows(out, hidden).enumerate() {
                tap.i8(Site::Activation, first + token, 0, row);
            }
            block2.set_rows(out);
            if let Some(table) = self.table2 {
                let out = memory.get_mut(..count * width).unwrap_or_default();
                let form = Int8 { shift: r.shift as u32, ..Int8::around(r.zero2) };
                self.layer2.int8_rows(&mut block2, form, out);
                for (token, y) in rows(out, width).enumerate() {
                    tap.i8(Site::Second, first + token, 0, y);
                }
                add_activated(stream, out, table);
            } else {
                self.layer2.residual_rows(&mut block2, r.shift as u32, stream);
            }
            for (token, x) in rows(stream, width).enumerate() {
                tap.i16(Site::Output, first + token, 0, x);
            }
        }
    }
}
