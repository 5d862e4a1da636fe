//! From many tokens or pixels to one, and the classifier.

use super::FloatNorm;
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::float::{
    FloatAvgPoolRecord, FloatClassPoolRecord, FloatHeadRecord, FloatSeqPoolRecord,
};
use crate::kernels::float::{dot_f16, quantize, softmax_f32};
use crate::model::Constants;
use crate::ops::{Value, ensure};
use crate::rows::rows;
use crate::scratch::Scratch;

/// See [`FloatSeqPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatSeqPool<'a> {
    pub(crate) record: &'a FloatSeqPoolRecord,
    norm: FloatNorm<'a>,
    weights: &'a [u16],
}

impl<'a> FloatSeqPool<'a> {
    pub(crate) fn decode(
        r: &'a FloatSeqPoolRecord,
        constants: Constants<'a>,
    ) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 19] && r.head.reserved == 0;
        ensure(plain && r.tokens > 0 && r.width > 0, constants)?;
        let width = r.width as usize;
        let norm = FloatNorm::decode(&r.norm, width, constants)?;
        Ok(Self { record: r, norm, weights: constants.slice(r.weights, &[width])? })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatSeqPoolRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn output(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(
        &self,
        input: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        let y: &mut [f32] = scratch.take(width);
        let scores: &mut [f32] = scratch.take(tokens);
        for (t, (x, score)) in rows(input, width).zip(scores.iter_mut()).enumerate() {
            self.norm.token(x, y);
            tap.f32(Site::Norm, t, 0, y);
            *score = dot_f16(self.weights, y);
        }
        let factor = softmax_f32(scores);
        output.fill(0.0);
        // Normalising twice costs less than keeping all tokens.
        for (x, &weight) in rows(input, width).zip(&*scores) {
            self.norm.token(x, y);
            for (out, &v) in output.iter_mut().zip(&*y) {
                *out += weight * v;
            }
        }
        for out in output.iter_mut() {
            *out *= factor;
        }
        tap.f32(Site::Output, 0, 0, output);
    }
}

/// See [`FloatClassPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatClassPool<'a> {
    pub(crate) record: &'a FloatClassPoolRecord,
    norm: FloatNorm<'a>,
}

impl<'a> FloatClassPool<'a> {
    pub(crate) fn decode(
        r: &'a FloatClassPoolRecord,
        constants: Constants<'a>,
    ) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        ensure(plain && r.tokens > 0, constants)?;
        Ok(Self { record: r, norm: FloatNorm::decode(&r.norm, r.width as usize, constants)? })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatClassPoolRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn output(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [f32], tap: &mut Tap<'_, P>) {
        self.norm.token(input, output);
        tap.f32(Site::Output, 0, 0, output);
    }
}

/// See [`FloatAvgPoolRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatAvgPool<'a> {
    pub(crate) record: &'a FloatAvgPoolRecord,
}

impl<'a> FloatAvgPool<'a> {
    pub(crate) fn decode(
        r: &'a FloatAvgPoolRecord,
        constants: Constants<'a>,
    ) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 23] && r.head.reserved == 0;
        ensure(plain && r.tokens > 0 && r.width > 0, constants)?;
        Ok(Self { record: r })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatAvgPoolRecord {
        self.record
    }

    /// A map of any height.
    pub(crate) fn input(&self) -> Value {
        let r = self.record;
        Value::FloatMap { height: 1, width: r.tokens as usize, channels: r.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [f32], tap: &mut Tap<'_, P>) {
        output.fill(0.0);
        for pixel in rows(input, self.record.width as usize) {
            for (out, &v) in output.iter_mut().zip(pixel) {
                *out += v;
            }
        }
        let tokens = self.record.tokens as f32;
        for out in output.iter_mut() {
            *out /= tokens;
        }
        tap.f32(Site::Output, 0, 0, output);
    }
}

/// See [`FloatHeadRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatHead<'a> {
    pub(crate) record: &'a FloatHeadRecord,
    weights: &'a [u16],
    bias: &'a [f32],
}

impl<'a> FloatHead<'a> {
    pub(crate) fn decode(r: &'a FloatHeadRecord, constants: Constants<'a>) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        ensure(plain && r.width > 0 && r.classes > 0, constants)?;
        let (width, classes) = (r.width as usize, r.classes as usize);
        Ok(Self {
            record: r,
            weights: constants.slice(r.weights, &[classes, width])?,
            bias: constants.slice(r.bias, &[classes])?,
        })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatHeadRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::FloatPooled { width: self.record.width as usize }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Logits { classes: self.record.classes as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [i16], tap: &mut Tap<'_, P>) {
        let weights = rows(self.weights, input.len()).zip(self.bias);
        for (out, (weights, &bias)) in output.iter_mut().zip(weights) {
            let logit = dot_f16(weights, input) + bias;
            *out = quantize(logit * self.record.steps, -32768.0, 32767.0) as i16;
        }
        tap.i16(Site::Output, 0, 0, output);
    }
}
