//! Sequence pooling and the classifier.

use picovit::Site;
use picovit::format::{EXP_STEPS, HeadRecord, SeqPoolRecord};

use super::scale::{Affine, multiplier, quantize_weights, shift_for};
use super::{Context, QOp, RAILS8, RAILS16, Rounding, int16_scale};
use crate::error::CompileError;
use crate::graph::{NodeId, Op};

impl Context<'_> {
    /// The operation and the scale of the pooled token.
    pub(super) fn seq_pool(
        &mut self,
        index: usize,
        norm: NodeId,
        pool: NodeId,
        stream: f64,
    ) -> Result<(QOp, f64), CompileError> {
        let Op::SeqPool { weights, .. } = &self.graph.nodes[pool].op else {
            unreachable!("fusion gave sequence pooling")
        };
        let shape = self.graph.nodes[norm].shape;
        let name = self.name(pool);
        let (lo, hi) = self.calibration.range(norm);
        // One scale for all channels, since they are pooled together; wide enough for every gain.
        let mut out = Affine::int8(lo, hi);
        let gamma = self.layer_norm(norm).gamma.iter().fold(0.0f32, |m, g| m.max(g.abs()));
        if out.scale < f64::from(gamma) / 2000.0 {
            out = Affine { scale: f64::from(gamma) / 2000.0, zero: 0.0 };
        }
        let norm8 = self.norm8(norm, stream, &vec![out; shape.channels])?;

        let largest = weights.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let weight_scale = (f64::from(largest) / 127.0).max(1e-9);
        let weights: Vec<i8> =
            weights.iter().map(|&w| (f64::from(w) / weight_scale).round() as i8).collect();
        let ratio = weight_scale * out.scale * f64::from(EXP_STEPS);
        let score_shift = shift_for(ratio);
        let span: u64 = weights.iter().map(|&w| u64::from(w.unsigned_abs()) * 255).sum();
        if span << score_shift > i32::MAX as u64 {
            return Err(CompileError::Range { node: name, what: "a score" });
        }

        // The weighted sum of differences from the zero point is at most this.
        let bound = 255 * 255 * shape.tokens() as u64;
        let mut scale = int16_scale(self.calibration.magnitude(pool));
        let out_shift = loop {
            // The multiplier is divided by at least 255.
            let shift = shift_for(out.scale / scale / 255.0);
            if bound << shift <= i32::MAX as u64 {
                break shift;
            }
            if shift == 0 {
                return Err(CompileError::Range { node: name, what: "the pooled sum" });
            }
            scale *= 2.0;
        };
        let numerator = (2f64.powi(32 - out_shift as i32) * out.scale / scale).round() as u64;
        let record = SeqPoolRecord {
            tokens: self.size(pool, "the number of tokens", shape.tokens())?,
            width: self.size(pool, "the width", shape.channels)?,
            zero: out.zero as i32,
            exp_mult: multiplier(&name, ratio, score_shift)?,
            out_mult_low: numerator as u32,
            out_mult_high: (numerator >> 32) as u32,
            score_shift: score_shift as u8,
            out_shift: out_shift as u8,
            ..Default::default()
        };
        let channels = shape.channels;
        self.site(index, Site::Norm, norm, vec![out; channels], RAILS8);
        self.site(index, Site::Output, pool, vec![Affine::symmetric(scale); channels], RAILS16);
        Ok((QOp::SeqPool { record, norm: norm8, weights }, scale))
    }

    /// The operation and the scale of the logits.
    pub(super) fn head(
        &mut self,
        index: usize,
        linear: NodeId,
        pooled: f64,
    ) -> Result<(QOp, f64), CompileError> {
        let node = &self.graph.nodes[linear];
        let (input, classes) = (node.inputs[0], node.shape.channels);
        let width = self.graph.nodes[input].shape.channels;
        let name = self.name(linear);
        let scale = self.logit_scale(linear);
        let quant = self.input(input, vec![Affine::symmetric(pooled); width]);
        let (layer, bias) = self.linear(linear);
        let mut weights =
            quantize_weights(&name, &layer.weights, &bias, &quant, &Rounding::nearest(width))?;
        let (mult, shift) = weights.multipliers(&name, &vec![scale; classes], 32768)?;
        let record = HeadRecord {
            width: self.size(linear, "the width", width)?,
            classes: self.size(linear, "the number of classes", classes)?,
            shift,
            ..Default::default()
        };
        self.site(index, Site::Output, linear, vec![Affine::symmetric(scale); classes], RAILS16);
        let op = QOp::Head { record, weights: weights.weights, bias: weights.bias, mult };
        Ok((op, scale))
    }
}
