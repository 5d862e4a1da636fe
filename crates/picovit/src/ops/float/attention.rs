//! The attention sub-block, head by head and query by query.

use super::FloatNorm;
use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatAttentionRecord;
use crate::kernels::float::{add_affine_f16, affine_f16, scores_f32, softmax_f32, weighted_mean};
use crate::model::Constants;
use crate::ops::Value;
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// See [`FloatAttentionRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatAttention<'a> {
    pub(crate) record: &'a FloatAttentionRecord,
    norm: FloatNorm<'a>,
    qkv_weights: &'a [u16],
    qkv_bias: &'a [f32],
    proj_weights: &'a [u16],
    proj_bias: &'a [f32],
}

/// Scratch memory: keys and values of one head, attention output of the heads before the last, and
/// the rows of one token.
struct Memory<'s> {
    keys: &'s mut [f32],
    values: &'s mut [f32],
    finished: &'s mut [f32],
    y: &'s mut [f32],
    query: &'s mut [f32],
    scores: &'s mut [f32],
    inner: &'s mut [f32],
}

impl<'a> FloatAttention<'a> {
    pub(crate) fn decode(r: &'a FloatAttentionRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 13] && r.reserved == 0 && r.head.reserved == 0;
        let groups = r.groups > 0 && r.tokens.is_multiple_of(r.groups);
        let sizes = [r.tokens, r.width, r.heads, r.head_dim];
        constants.ensure(plain && groups && sizes.iter().all(|&s| s > 0));
        let [_, width, heads, head_dim] = sizes.map(usize::from);
        Self {
            record: r,
            norm: FloatNorm::decode(&r.norm, width, constants),
            qkv_weights: constants.array(r.qkv_weights, &[3, heads, head_dim, width]),
            qkv_bias: constants.array(r.qkv_bias, &[3, heads, head_dim]),
            proj_weights: constants.array(r.proj_weights, &[width, heads, head_dim]),
            proj_bias: constants.slice(r.proj_bias, width),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatAttentionRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn output(&self) -> Value {
        self.input()
    }

    /// Query, key or value of one head.
    fn project(&self, part: usize, head: usize, y: &[f32], out: &mut [f32]) {
        let head_dim = self.record.head_dim as usize;
        let first = (part * self.record.heads as usize + head) * head_dim;
        let weights = first * y.len()..(first + head_dim) * y.len();
        let weights = self.qkv_weights.get(weights).unwrap_or_default();
        let bias = self.qkv_bias.get(first..first + head_dim).unwrap_or_default();
        affine_f16(weights, bias, y, out);
    }

    pub(crate) fn run<P: Probe>(
        &self,
        stream: &mut [f32],
        mut scratch: Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let width = r.width as usize;
        let tokens = (r.tokens as usize).checked_div(r.groups as usize).unwrap_or(0);
        let (heads, head_dim) = (r.heads as usize, r.head_dim as usize);
        let mut memory = Memory {
            keys: scratch.take(tokens * head_dim),
            values: scratch.take(tokens * head_dim),
            finished: scratch.take(tokens * (heads - 1) * head_dim),
            y: scratch.take(width),
            query: scratch.take(head_dim),
            scores: scratch.take(tokens),
            inner: scratch.take(heads * head_dim),
        };
        for (group, stream) in rows_mut(stream, tokens * width).enumerate() {
            self.group(group * tokens, stream, &mut memory, tap);
        }
    }

    /// One run of tokens that attends within itself; `first` is the index of its first token.
    fn group<P: Probe>(
        &self,
        first: usize,
        stream: &mut [f32],
        memory: &mut Memory<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (width, heads, head_dim) = (r.width as usize, r.heads as usize, r.head_dim as usize);
        let stored = (heads - 1) * head_dim;
        let Memory { keys, values, finished, y, query, scores, inner } = memory;
        for head in 0..heads {
            let column = head * head_dim;
            let pairs = rows_mut(keys, head_dim).zip(rows_mut(values, head_dim));
            for (t, (x, (key, value))) in rows(stream, width).zip(pairs).enumerate() {
                self.norm.token(x, y);
                self.project(1, head, y, key);
                self.project(2, head, y, value);
                tap.f32(Site::Norm, first + t, 0, y);
                tap.f32(Site::Key, first + t, column, key);
                tap.f32(Site::Value, first + t, column, value);
            }
            // Keys and values are complete, and a token's own query is taken before its update.
            let last = head + 1 == heads;
            for (t, x) in rows_mut(stream, width).enumerate() {
                self.norm.token(x, y);
                self.project(0, head, y, query);
                scores_f32(query, keys, r.scale, scores);
                let factor = softmax_f32(scores);
                let before = finished.get_mut(t * stored..(t + 1) * stored).unwrap_or_default();
                let target = if last {
                    inner.get_mut(stored..).unwrap_or_default()
                } else {
                    before.get_mut(column..column + head_dim).unwrap_or_default()
                };
                weighted_mean(scores, values, factor, target);
                tap.f32(Site::Query, first + t, column, query);
                tap.f32(Site::Attention, first + t, column, target);
                if last {
                    for (inner, &before) in inner.iter_mut().zip(&*before) {
                        *inner = before;
                    }
                    add_affine_f16(self.proj_weights, self.proj_bias, inner, x);
                    tap.f32(Site::Output, first + t, 0, x);
                }
            }
        }
    }
}
