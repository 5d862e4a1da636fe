//! Attention of many tokens at a time, where the packing is one of hosts: tokens are normalised once,
//! and weights meet several of them before they leave the registers.

use super::{Attention, SYMMETRIC};
use crate::engine::{Probe, Site, Tap};
use crate::format::packing::{ROWS, set_all_inputs, set_all_outputs};
use crate::format::{AttentionRecord, EXP_ENTRIES, Packing};
use crate::kernels::{self, Block, Matrix, row_mult};
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// Scratch memory.
pub(super) struct Memory<'s> {
    /// Normalised tokens.
    normal: Block<'s>,
    /// Attention output of all heads.
    attended: Block<'s>,
    /// Keys of one head, a matrix `[tokens][head_dim]`.
    keys: &'s mut [i8],
    /// Values of one head, a matrix `[head_dim][tokens]`.
    values: &'s mut [i8],
    /// Queries of one head.
    queries: Block<'s>,
    /// Scores of [`ROWS`] queries.
    scores: &'s mut [i32],
    /// Their weights.
    weights: Block<'s>,
    /// A row of one head for each token.
    rows: &'s mut [i8],
}

impl<'s> Memory<'s> {
    /// That of one group's tokens.
    pub(super) fn of(r: &AttentionRecord, packing: Packing, scratch: &mut Scratch<'s>) -> Self {
        let width = r.width as usize;
        let tokens = (r.tokens as usize).checked_div(r.groups as usize).unwrap_or(0);
        let (heads, head_dim) = (r.heads as usize, r.head_dim as usize);
        let mut block = |inputs: usize, tokens: usize| {
            let bytes = scratch.take(packing.row_block_bytes(inputs, tokens));
            Block::new(packing, inputs, bytes)
        };
        let normal = block(width, tokens);
        let attended = block(heads * head_dim, tokens);
        let queries = block(head_dim, tokens);
        let weights = block(tokens, ROWS);
        Self {
            normal,
            attended,
            keys: scratch.take(packing.matrix_bytes(tokens, head_dim)),
            values: scratch.take(packing.matrix_bytes(head_dim, tokens)),
            queries,
            scores: scratch.take(ROWS * tokens),
            weights,
            rows: scratch.take(tokens * head_dim),
        }
    }
}

impl Attention<'_> {
    /// See [`Self::run`].
    pub(super) fn run_rows<P: Probe>(
        &self,
        exp_table: &[u8; EXP_ENTRIES],
        stream: &mut [i16],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let width = r.width as usize;
        let tokens = (r.tokens as usize).checked_div(r.groups as usize).unwrap_or(0);
        let heads = r.heads as usize;
        let mut memory = Memory::of(r, self.packing(), &mut scratch);
        for (group, stream) in rows_mut(stream, tokens * width).enumerate() {
            let first = group * tokens;
            let chunks = stream.chunks(ROWS * width.max(1));
            for (start, x) in (0..).step_by(ROWS).zip(chunks) {
                let statistics = self.norm.statistics(x, width);
                for ((token, x), statistics) in (start..).zip(rows(x, width)).zip(statistics) {
                    let y = memory.normal.row_mut(token).unwrap_or_default();
                    statistics.write8(x, self.norm.gain, self.norm.offset, y);
                    tap.i8(Site::Norm, first + token, 0, y);
                }
            }
            for head in 0..heads {
                self.project(head, first, tokens, &mut memory, tap);
                self.attend(exp_table, head, first, tokens, &mut memory, tap);
            }
            self.proj.residual_rows(&mut memory.attended, r.proj_shift as u32, stream);
            for (token, x) in rows(stream, width).enumerate() {
                tap.i16(Site::Output, first + token, 0, x);
            }
        }
    }

    /// Queries, keys and values of one head.
    fn project<P: Probe>(
        &self,
        head: usize,
        first: usize,
        tokens: usize,
        memory: &mut Memory<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let head_dim = self.record.head_dim as usize;
        let Memory { normal, keys, values, queries, rows: out, .. } = memory;
        let out = out.get_mut(..tokens * head_dim).unwrap_or_default();
        for (part, site) in [Site::Query, Site::Key, Site::Value].into_iter().enumerate() {
            self.projection(part, head).int8_rows(normal, SYMMETRIC, out);
            for (token, row) in rows(out, head_dim).enumerate() {
                tap.i8(site, first + token, head * head_dim, row);
            }
            match part {
                0 => queries.set_rows(out),
                1 => set_all_outputs(keys, out, head_dim),
                _ => set_all_inputs(values, out, head_dim),
            }
        }
    }

    /// Attention output of one head, for [`ROWS`] queries at a time.
    fn attend<P: Probe>(
        &self,
        exp_table: &[u8; EXP_ENTRIES],
        head: usize,
        first: usize,
        tokens: usize,
        memory: &mut Memory<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (packing, head_dim) = (self.packing(), r.head_dim as usize);
        let Memory { attended, keys, values, queries, scores, weights: block, rows: out, .. } =
            memory;
        let keys = Matrix { packing, outputs: tokens, inputs: head_dim, bytes: keys };
        let values = Matrix { packing, outputs: head_dim, inputs: tokens, bytes: values };
        let exp_mult = self.exp_mult.get(head).copied().unwrap_or(0);
        let out_mult = self.out_mult.get(head).copied().unwrap_or(0);
        for start in (0..tokens).step_by(ROWS) {
            let count = ROWS.min(tokens - start);
            let scores = scores.get_mut(..count * tokens).unwrap_or_default();
            kernels::scores_rows(keys, &mut queries.rest(start), scores);
            let mut mults = [0; ROWS];
            for (i, (scores, mult)) in rows(scores, tokens).zip(&mut mults).enumerate() {
                let shift = r.score_shift as u32;
                let weights = block.row_mut(i).unwrap_or_default();
                let sum = kernels::softmax_weights(scores, shift, exp_mult, exp_table, weights);
                *mult = row_mult(out_mult, sum);
            }
            let out = out.get_mut(..count * head_dim).unwrap_or_default();
            kernels::weighted_sums_rows(values, block, &mults, out);
            for (token, out) in (start..).zip(rows(out, head_dim)) {
                tap.i8(Site::Attention, first + token, head * head_dim, out);
                attended.set_part(token, head * head_dim, out);
            }
        }
    }
}
