//! From many tokens or pixels to one, other than by attention.

use picovit::Site;
use picovit::format::{AvgPoolRecord, ClassPoolRecord};

use super::scale::{Affine, multiplier, shift_for};
use super::{Context, QOp, RAILS16, int16_scale};
use crate::error::CompileError;
use crate::graph::NodeId;

impl Context<'_> {
    /// The operation and the scale of the normalised class token.
    pub(super) fn class_pool(
        &mut self,
        index: usize,
        norm: NodeId,
        token: NodeId,
        stream: f64,
    ) -> Result<(QOp, f64), CompileError> {
        let shape = self.graph.nodes[norm].shape;
        let layer = self.layer_norm(norm);
        let gamma = layer.gamma.iter().fold(0.0f32, |most, gamma| most.max(gamma.abs()));
        // The gain must fit: 2^12 * gamma / scale < 2^31.
        let scale = int16_scale(self.calibration.magnitude(token)).max(f64::from(gamma) / 5e5);
        let (gain, offset) = self.norm16(norm, scale)?;
        let epsilon = self.norm_epsilon(norm, stream);
        let record = ClassPoolRecord {
            tokens: self.size(norm, "the number of tokens", shape.tokens())?,
            width: self.size(norm, "the width", shape.channels)?,
            ..Default::default()
        };
        let channels = vec![Affine::symmetric(scale); shape.channels];
        self.site(index, Site::Output, token, channels, RAILS16);
        Ok((QOp::ClassPool { record, epsilon, gain, offset }, scale))
    }

    /// The operation and the scale of the mean pixel.
    pub(super) fn avg_pool(
        &mut self,
        index: usize,
        pool: NodeId,
    ) -> Result<(QOp, f64), CompileError> {
        let map = self.graph.nodes[pool].inputs[0];
        let shape = self.graph.nodes[map].shape;
        let name = self.name(pool);
        let quant = &self.maps[&map].affine;
        if quant.iter().any(|affine| *affine != quant[0]) {
            return Err(CompileError::Unsupported {
                node: name,
                reason: "its channels have scales of their own".into(),
            });
        }
        let input = quant[0];
        let bound = 255 * shape.tokens() as u64;
        let mut scale = int16_scale(self.calibration.magnitude(pool));
        let (ratio, shift) = loop {
            let ratio = input.scale / (shape.tokens() as f64 * scale);
            let shift = shift_for(ratio);
            if shift < 32 && bound << shift <= i32::MAX as u64 {
                break (ratio, shift);
            }
            if shift == 0 {
                return Err(CompileError::Range { node: name, what: "the sum" });
            }
            scale *= 2.0;
        };
        let record = AvgPoolRecord {
            tokens: self.size(map, "the number of pixels", shape.tokens())?,
            width: self.size(map, "the channels", shape.channels)?,
            zero_in: input.zero as i32,
            mult: multiplier(&name, ratio, shift)?,
            shift,
            ..Default::default()
        };
        let channels = vec![Affine::symmetric(scale); shape.channels];
        self.site(index, Site::Output, pool, channels, RAILS16);
        Ok((QOp::AvgPool { record }, scale))
    }
}
