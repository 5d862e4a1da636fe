//! The attention sub-block, head by head and query by query: keys and values of one head and the
//! scores of one query exist at a time.

use super::{Norm, Value, ensure};
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::{AttentionRecord, EXP_ENTRIES};
use crate::kernels::{self, dot, mulhi, requant8, residual_add, row_mult};
use crate::model::Constants;
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// See [`AttentionRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    pub(crate) record: &'a AttentionRecord,
    norm: Norm<'a>,
    qkv: [Projection<'a>; 3],
    exp_mult: &'a [i32],
    out_mult: &'a [u64],
    proj_weights: &'a [i8],
    proj_bias: &'a [i32],
    proj_mult: &'a [i32],
}

/// Scratch memory: keys and values of one head, attention output of the heads before the last, and
/// the rows of one token.
struct Memory<'s> {
    keys: &'s mut [i8],
    values: &'s mut [i8],
    finished: &'s mut [i8],
    y: &'s mut [i8],
    query: &'s mut [i8],
    scores: &'s mut [i32],
    weights: &'s mut [u8],
    sums: &'s mut [i32],
    inner: &'s mut [i8],
}

/// Query, key or value projection of all heads.
#[derive(Clone, Copy, Debug, Default)]
struct Projection<'a> {
    weights: &'a [i8],
    bias: &'a [i32],
    mult: &'a [i32],
}

impl<'a> Projection<'a> {
    /// The part of one head.
    fn head(&self, head: usize, head_dim: usize, width: usize) -> Self {
        let channels = head * head_dim..(head + 1) * head_dim;
        let weights = channels.start * width..channels.end * width;
        Self {
            weights: self.weights.get(weights).unwrap_or_default(),
            bias: self.bias.get(channels.clone()).unwrap_or_default(),
            mult: self.mult.get(channels).unwrap_or_default(),
        }
    }

    /// Symmetric int8 projection of one token.
    #[inline]
    fn token(&self, y: &[i8], out: &mut [i8]) {
        let weights = rows(self.weights, y.len());
        let constants = weights.zip(self.bias).zip(self.mult);
        for (out, ((weights, &bias), &mult)) in out.iter_mut().zip(constants) {
            *out = mulhi(dot(bias, weights, y), mult).clamp(-127, 127) as i8;
        }
    }
}

impl<'a> Attention<'a> {
    pub(crate) fn decode(r: &'a AttentionRecord, constants: Constants<'a>) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 9] && r.head.reserved == 0;
        let groups = r.groups > 0 && r.tokens.is_multiple_of(r.groups);
        let shifts = r.score_shift < 32 && r.proj_shift < 32;
        let sizes = [r.tokens, r.width, r.heads, r.head_dim];
        ensure(plain && shifts && groups && sizes.iter().all(|&s| s > 0), constants)?;
        let [_, width, heads, head_dim] = sizes.map(usize::from);
        let norm = Norm::decode(&r.norm, width, constants)?;
        let weights: &[i8] = constants.slice(r.qkv_weights, &[3, heads, head_dim, width])?;
        let bias: &[i32] = constants.slice(r.qkv_bias, &[3, heads, head_dim])?;
        let mult: &[i32] = constants.slice(r.qkv_mult, &[3, heads, head_dim])?;
        let inner = heads * head_dim;
        let mut qkv = [Projection::default(); 3];
        let parts = rows(weights, inner * width);
        let parts = parts.zip(rows(bias, inner)).zip(rows(mult, inner));
        for (projection, ((weights, bias), mult)) in qkv.iter_mut().zip(parts) {
            *projection = Projection { weights, bias, mult };
        }
        Ok(Self {
            record: r,
            norm,
            qkv,
            exp_mult: constants.slice(r.exp_mult, &[heads])?,
            out_mult: constants.slice(r.out_mult, &[heads])?,
            proj_weights: constants.slice(r.proj_weights, &[width, heads, head_dim])?,
            proj_bias: constants.slice(r.proj_bias, &[width])?,
            proj_mult: constants.slice(r.proj_mult, &[width])?,
        })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a AttentionRecord {
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
        exp_table: &[u8; EXP_ENTRIES],
        stream: &mut [i16],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let width = r.width as usize;
        let tokens = (r.tokens as usize).checked_div(r.groups as usize).unwrap_or(0);
        let (heads, head_dim) = (r.heads as usize, r.head_dim as usize);
        let stored = (heads - 1) * head_dim;
        let keys: &mut [i8] = scratch.take(tokens * head_dim);
        let values: &mut [i8] = scratch.take(tokens * head_dim);
        let finished: &mut [i8] = scratch.take(tokens * stored);
        let y: &mut [i8] = scratch.take(width);
        let query: &mut [i8] = scratch.take(head_dim);
        let scores: &mut [i32] = scratch.take(tokens);
        let weights: &mut [u8] = scratch.take(tokens);
        let sums: &mut [i32] = scratch.take(head_dim);
        let inner: &mut [i8] = scratch.take(heads * head_dim);

        let mut memory = Memory { keys, values, finished, y, query, scores, weights, sums, inner };
        for (group, stream) in rows_mut(stream, tokens * width).enumerate() {
            self.group(exp_table, group * tokens, stream, &mut memory, tap);
        }
    }

    /// One run of tokens that attends within itself; `first` is the index of its first token.
    fn group<P: Probe>(
        &self,
        exp_table: &[u8; EXP_ENTRIES],
        first: usize,
        stream: &mut [i16],
        memory: &mut Memory<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (width, heads, head_dim) = (r.width as usize, r.heads as usize, r.head_dim as usize);
        let stored = (heads - 1) * head_dim;
        let Memory { keys, values, finished, y, query, scores, weights, sums, inner } = memory;
        let multipliers = self.exp_mult.iter().zip(self.out_mult).enumerate();
        for (head, (&exp_mult, &out_mult)) in multipliers {
            let [q, k, v] = self.qkv.map(|projection| projection.head(head, head_dim, width));
            let column = head * head_dim;
            let pairs = keys.chunks_exact_mut(head_dim.max(1)).zip(rows_mut(values, head_dim));
            for (t, (x, (key, value))) in rows(stream, width).zip(pairs).enumerate() {
                self.norm.token(x, y);
                k.token(y, key);
                v.token(y, value);
                tap.i8(Site::Norm, first + t, 0, y);
                tap.i8(Site::Key, first + t, column, key);
                tap.i8(Site::Value, first + t, column, value);
            }
            // The last head meets those before it and updates the stream token by token: keys and
            // values are complete, and a token's own query is taken before its update.
            let last = head + 1 == heads;
            for (t, x) in rows_mut(stream, width).enumerate() {
                self.norm.token(x, y);
                q.token(y, query);
                kernels::scores(query, keys, scores);
                let shift = r.score_shift as u32;
                let sum = kernels::softmax_weights(scores, shift, exp_mult, exp_table, weights);
                kernels::weighted_sum(weights, values, sums);
                let mult = row_mult(out_mult, sum);
                let before = finished.get_mut(t * stored..(t + 1) * stored).unwrap_or_default();
                let target = if last {
                    inner.get_mut(stored..).unwrap_or_default()
                } else {
                    before.get_mut(column..column + head_dim).unwrap_or_default()
                };
                for (out, &sum) in target.iter_mut().zip(&**sums) {
                    *out = requant8(sum, mult, 0);
                }
                tap.i8(Site::Query, first + t, column, query);
                tap.i8(Site::Attention, first + t, column, target);
                if last {
                    for (inner, &before) in inner.iter_mut().zip(&*before) {
                        *inner = before;
                    }
                    self.project(inner, x);
                    tap.i16(Site::Output, first + t, 0, x);
                }
            }
        }
    }

    /// Adds the projection of one token's attention output to its residual stream.
    #[inline]
    fn project(&self, inner: &[i8], x: &mut [i16]) {
        let shift = self.record.proj_shift as u32;
        let weights = rows(self.proj_weights, inner.len());
        let constants = weights.zip(self.proj_bias).zip(self.proj_mult);
        for (x, ((weights, &bias), &mult)) in x.iter_mut().zip(constants) {
            *x = residual_add(*x, dot(bias, weights, inner), shift, mult);
        }
    }
}
