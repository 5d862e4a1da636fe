//! The attention sub-block, head by head, two queries at a time: keys and values of one head and the
//! scores of two queries exist at a time.

#[cfg(wide)]
mod rows;

use super::{Layer, Norm, Value};
use crate::engine::{Probe, Site, Tap};
use crate::format::{AttentionRecord, EXP_ENTRIES, Packing, TOKENS};
use crate::kernels::{self, Block, Int8, Matrix, row_mult};
use crate::model::Constants;
use crate::rows::{pairs_mut, rows, rows_mut};
use crate::scratch::Scratch;

/// See [`AttentionRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    pub(crate) record: &'a AttentionRecord,
    norm: Norm<'a>,
    /// Query, key and value projections of all heads.
    qkv: Layer<'a>,
    exp_mult: &'a [i32],
    out_mult: &'a [u64],
    proj: Layer<'a>,
}

/// Form of queries, keys and values.
const SYMMETRIC: Int8 = Int8 { low: -127, ..Int8::around(0) };

/// Scratch memory.
struct Memory<'s> {
    /// Keys of one head, a matrix `[tokens][head_dim]`.
    keys: &'s mut [i8],
    /// Values of one head, a matrix `[head_dim][tokens]`.
    values: &'s mut [i8],
    /// Attention output of the heads before the last, `[tokens][(heads - 1) * head_dim]`.
    finished: &'s mut [i8],
    /// Scores of two queries, `[2][tokens]`.
    scores: &'s mut [i32],
    /// Weights of one query.
    weights: &'s mut [u8],
    /// A token on its way into a block, or two of one head and a token of all heads.
    rows: &'s mut [i8],
    /// Block of normalised tokens, or of all heads' attention output.
    wide: &'s mut [u8],
    /// Block of queries, or of their weights.
    narrow: &'s mut [u8],
}

impl<'s> Memory<'s> {
    /// That of one group's tokens.
    #[inline(always)]
    fn of(r: &AttentionRecord, packing: Packing, scratch: &mut Scratch<'s>) -> Self {
        let width = r.width as usize;
        let tokens = (r.tokens as usize).checked_div(r.groups as usize).unwrap_or(0);
        let (heads, head_dim) = (r.heads as usize, r.head_dim as usize);
        let (inner, stored) = (heads * head_dim, (heads - 1) * head_dim);
        Self {
            keys: scratch.take(packing.matrix_bytes(tokens, head_dim)),
            values: scratch.take(packing.matrix_bytes(head_dim, tokens)),
            finished: scratch.take(tokens * stored),
            scores: scratch.take(TOKENS * tokens),
            weights: scratch.take(tokens),
            rows: scratch.take(width.max(TOKENS * head_dim + inner)),
            wide: scratch.take(packing.block_bytes(width.max(inner))),
            narrow: scratch.take(packing.block_bytes(head_dim.max(tokens))),
        }
    }
}

impl<'a> Attention<'a> {
    pub(crate) fn decode(r: &'a AttentionRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 9] && r.head.reserved == 0;
        let groups = r.groups > 0 && r.tokens.is_multiple_of(r.groups);
        let shifts = r.score_shift < 32 && r.proj_shift < 32;
        let sizes = [r.tokens, r.width, r.heads, r.head_dim];
        constants.ensure(plain && shifts && groups && sizes.iter().all(|&s| s > 0));
        let [_, width, heads, head_dim] = sizes.map(usize::from);
        let norm = Norm::decode(&r.norm, width, constants);
        let inner = heads * head_dim;
        // Each head's part is a matrix of its own.
        let part = constants.packing().matrix_bytes(head_dim, width);
        let qkv = Layer {
            weights: Matrix {
                packing: constants.packing(),
                outputs: head_dim,
                inputs: width,
                bytes: constants.array(r.qkv_weights, &[3, heads, part]),
            },
            bias: constants.array(r.qkv_bias, &[3, inner]),
            mult: constants.array(r.qkv_mult, &[3, inner]),
        };
        let proj = [r.proj_weights, r.proj_bias, r.proj_mult];
        Self {
            record: r,
            norm,
            qkv,
            exp_mult: constants.slice(r.exp_mult, heads),
            out_mult: constants.slice(r.out_mult, heads),
            proj: Layer::decode(constants, proj, (width, inner)),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a AttentionRecord {
        self.record
    }

    /// Order of the weights.
    pub(crate) fn packing(&self) -> Packing {
        self.proj.weights.packing
    }

    /// One head's projection: 0 for queries, 1 for keys, 2 for values.
    fn projection(&self, part: usize, head: usize) -> Layer<'a> {
        let r = self.record;
        let (heads, head_dim) = (r.heads as usize, r.head_dim as usize);
        let index = part * heads + head;
        let channels = index * head_dim..(index + 1) * head_dim;
        let weights = self.qkv.weights;
        let part = weights.packing.matrix_bytes(head_dim, weights.inputs);
        let bytes = weights.bytes.get(index * part..(index + 1) * part).unwrap_or_default();
        Layer {
            weights: Matrix { bytes, ..weights },
            bias: self.qkv.bias.get(channels.clone()).unwrap_or_default(),
            mult: self.qkv.mult.get(channels).unwrap_or_default(),
        }
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
        exp_table: &[u8; EXP_ENTRIES],
        stream: &mut [i16],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        // Chips that take artifacts of hosts need no second way to run them.
        #[cfg(wide)]
        if self.packing().by_rows() {
            return self.run_rows(exp_table, stream, scratch, tap);
        }
        let r = self.record;
        let width = r.width as usize;
        let tokens = (r.tokens as usize).checked_div(r.groups as usize).unwrap_or(0);
        let heads = r.heads as usize;
        let mut memory = Memory::of(r, self.packing(), &mut scratch);
        for group in 0..r.groups as usize {
            let first = group * tokens;
            let stream = stream.get_mut(first * width..(first + tokens) * width);
            let stream = stream.unwrap_or_default();
            for head in 0..heads {
                self.keys_and_values(head, first, stream, &mut memory, tap);
                for pair in 0..tokens.div_ceil(TOKENS) {
                    self.queries(exp_table, head, first, pair, stream, &mut memory, tap);
                }
            }
        }
    }

    /// Keys and values of one head, and its queries unless it is the last; `first` is the index of the
    /// run's first token.
    fn keys_and_values<P: Probe>(
        &self,
        head: usize,
        first: usize,
        stream: &[i16],
        memory: &mut Memory<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (width, head_dim) = (r.width as usize, r.head_dim as usize);
        let tokens = stream.len().checked_div(width).unwrap_or(0);
        let stored = (r.heads as usize).saturating_sub(1) * head_dim;
        let column = head * head_dim;
        let Memory { keys, values, finished, rows: row, wide, .. } = memory;
        let mut block = Block::new(self.packing(), width, wide);
        for (pair, x) in rows_of_pairs(stream, width).enumerate() {
            let token = TOKENS * pair;
            self.normalize(first + token, x, row, &mut block, tap);
            for (part, site) in [Site::Query, Site::Key, Site::Value].into_iter().enumerate() {
                if part == 0 && column == stored {
                    // Queries wait where their attention output will be. The last head's have no place,
                    // its tokens are normalised again.
                    continue;
                }
                let [one, two] = self.projected(part, head, &block, row);
                let one = &*one;
                let two = if x.len() > width { &*two } else { &[] };
                for (i, values) in [one, two].into_iter().enumerate() {
                    if !values.is_empty() {
                        tap.i8(site, first + token + i, column, values);
                    }
                }
                match part {
                    0 => put(finished, (stored, token, column), [one, two]),
                    1 => self.packing().set_outputs(keys, head_dim, token, [one, two]),
                    _ => self.packing().set_inputs(values, tokens, token, [one, two]),
                }
            }
        }
    }

    /// Normalises one or two tokens, the first of which has this index, into a block.
    fn normalize<P: Probe>(
        &self,
        first: usize,
        tokens: &[i16],
        row: &mut [i8],
        block: &mut Block<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let width = self.record.width as usize;
        for (i, x) in rows(tokens, width).take(TOKENS).enumerate() {
            let y = row.get_mut(..width).unwrap_or_default();
            self.norm.token(x, y);
            tap.i8(Site::Norm, first + i, 0, y);
            block.set(i, y);
        }
    }

    /// One head's projection of the tokens in a block: 0 for queries, 1 for keys, 2 for values.
    fn projected<'r>(
        &self,
        part: usize,
        head: usize,
        block: &Block<'_>,
        memory: &'r mut [i8],
    ) -> [&'r mut [i8]; TOKENS] {
        let [one, two] =
            pairs_mut(memory, self.record.head_dim as usize).next().unwrap_or_default();
        self.projection(part, head).int8(block, SYMMETRIC, [&mut *one, &mut *two]);
        [one, two]
    }

    /// Attention output of one head for two queries. The last head meets those before it and updates
    /// the stream: keys and values are complete, and these tokens' queries are taken before.
    #[allow(clippy::too_many_arguments, reason = "a position, and the memory it is about")]
    fn queries<P: Probe>(
        &self,
        exp_table: &[u8; EXP_ENTRIES],
        head: usize,
        first: usize,
        pair: usize,
        stream: &mut [i16],
        memory: &mut Memory<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (width, heads, head_dim) = (r.width as usize, r.heads as usize, r.head_dim as usize);
        let (inner, stored) = (heads * head_dim, (heads - 1) * head_dim);
        let (packing, column) = (self.packing(), head * head_dim);
        let tokens = stream.len().checked_div(width).unwrap_or(0);
        let start = TOKENS * pair;
        let there = tokens - start;
        let x = stream.get_mut(start * width..).unwrap_or_default();
        let Memory { keys, values, finished, scores, weights, rows: row, wide, narrow } = memory;

        let mut queries = Block::new(packing, head_dim, narrow);
        if column < stored {
            let finished = finished.get(start * stored..).unwrap_or_default();
            for (i, row) in rows(finished, stored).enumerate().take(TOKENS) {
                queries.set(i, row.get(column..column + head_dim).unwrap_or_default());
            }
        } else {
            let mut block = Block::new(packing, width, wide);
            self.normalize(first + start, x, row, &mut block, tap);
            let projected = self.projected(0, head, &block, row);
            for (i, query) in projected.into_iter().enumerate().take(there) {
                tap.i8(Site::Query, first + start + i, column, query);
                queries.set(i, query);
            }
        }
        let matrix = Matrix { packing, outputs: tokens, inputs: head_dim, bytes: keys };
        if let Some(rows) = pairs_mut(scores, tokens).next() {
            kernels::scores(matrix, &queries, rows);
        }
        let mut block = Block::new(packing, tokens, narrow);
        let exp_mult = self.exp_mult.get(head).copied().unwrap_or(0);
        let out_mult = self.out_mult.get(head).copied().unwrap_or(0);
        let mut mults = [0; TOKENS];
        for (i, (scores, mult)) in rows(scores, tokens).zip(&mut mults).enumerate() {
            let shift = r.score_shift as u32;
            let sum = kernels::softmax_weights(scores, shift, exp_mult, exp_table, weights);
            *mult = row_mult(out_mult, sum);
            block.set(i, weights);
        }
        let matrix = Matrix { packing, outputs: head_dim, inputs: tokens, bytes: values };
        let (outs, all) = row.split_at_mut_checked(TOKENS * head_dim).unwrap_or_default();
        let [one, two] = pairs_mut(outs, head_dim).next().unwrap_or_default();
        kernels::weighted_sums(matrix, &block, mults, [&mut *one, &mut *two]);
        for (i, out) in [&*one, &*two].into_iter().enumerate().take(there) {
            tap.i8(Site::Attention, first + start + i, column, out);
        }
        if column < stored {
            return put(finished, (stored, start, column), [one, two]);
        }
        let mut block = Block::new(packing, inner, wide);
        for (i, out) in [&*one, &*two].into_iter().enumerate() {
            let finished = finished.get((start + i) * stored..).unwrap_or_default();
            let (before, last) = all.split_at_mut_checked(stored).unwrap_or_default();
            kernels::copy(finished.get(..stored).unwrap_or_default(), before);
            kernels::copy(out, last.get_mut(..head_dim).unwrap_or_default());
            block.set(i, all.get(..inner).unwrap_or_default());
        }
        let [one, two] = pairs_mut(x, width).next().unwrap_or_default();
        self.proj.residual(&block, r.proj_shift as u32, [&mut *one, &mut *two]);
        for (i, x) in [&*one, &*two].into_iter().enumerate().take(there) {
            tap.i16(Site::Output, first + start + i, 0, x);
        }
    }
}

/// Tokens two at a time, the last one may be alone.
fn rows_of_pairs(stream: &[i16], width: usize) -> impl Iterator<Item = &[i16]> {
    stream.chunks((TOKENS * width).max(1))
}

/// Puts one head's values of one or two tokens from `token` on beside those of the other heads.
fn put(to: &mut [i8], (width, token, column): (usize, usize, usize), values: [&[i8]; TOKENS]) {
    let rest = to.get_mut(token * width..).unwrap_or_default();
    for (row, values) in rows_mut(rest, width).zip(values) {
        let place = row.get_mut(column..column + values.len()).unwrap_or_default();
        kernels::copy(values, place);
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::format::{ALIGN, scratch_bytes_attention};

    /// Bytes that a form of attention takes of so many.
    fn taken(bytes: usize, take: impl FnOnce(&mut Scratch<'_>)) -> usize {
        let mut memory = vec![0u128; bytes / ALIGN];
        let mut scratch = Scratch(bytemuck::cast_slice_mut(&mut memory));
        take(&mut scratch);
        bytes - scratch.0.len()
    }

    proptest! {
        /// An artifact has room for two tokens at a time in every packing, whichever form the build has,
        /// and for many in that of hosts; no more than the larger of both takes.
        #[test]
        fn scratch_memory_has_room_for_either_form(
            run in 1..80u16,
            groups in 1..4u16,
            width in prop_oneof![1..40u16, 200..300u16],
            heads in 1..10u16,
            head_dim in 1..70u16,
        ) {
            let tokens = run * groups;
            let record =
                AttentionRecord { tokens, width, heads, head_dim, groups, ..Default::default() };
            for packing in Packing::ALL {
                let bytes = scratch_bytes_attention(&record, packing);
                // What is missing shows as well where there is more.
                let plenty = bytes + (1 << 20);
                let pairs = taken(plenty, |scratch| {
                    Memory::of(&record, packing, scratch);
                });
                prop_assert!(pairs <= bytes, "{packing:?}: {pairs} of {bytes}");
                if !packing.by_rows() {
                    prop_assert_eq!(pairs, bytes, "{:?}", packing);
                    continue;
                }
                #[cfg(wide)]
                {
                    let rows = taken(plenty, |scratch| {
                        rows::Memory::of(&record, packing, scratch);
                    });
                    prop_assert_eq!(pairs.max(rows), bytes);
                }
            }
        }
    }

    /// A few tokens of many heads: two at a time take more than all of them.
    #[cfg(any(feature = "every-packing", wide))]
    #[test]
    fn two_tokens_at_a_time_may_take_more() {
        let few = AttentionRecord {
            tokens: 2,
            width: 256,
            heads: 8,
            head_dim: 32,
            groups: 1,
            ..Default::default()
        };
        assert_eq!(scratch_bytes_attention(&few, Packing::Wide), 2016);
        let many = AttentionRecord { tokens: 64, width: 128, heads: 2, head_dim: 64, ..few };
        assert_eq!(scratch_bytes_attention(&many, Packing::Wide), 37_888);
    }
}
