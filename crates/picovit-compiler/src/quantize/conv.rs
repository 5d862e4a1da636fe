//! Convolutions and the start of the residual stream.

use picovit::Site;
use picovit::format::{ConvRecord, EmbedRecord};

use super::scale::{Affine, InputQuant, multiplier, quantize_weights, to_i32};
use super::{Context, QOp, RAILS8, RAILS16};
use crate::error::CompileError;
use crate::graph::{NodeId, Op};

impl Context<'_> {
    pub(super) fn conv(&mut self, index: usize, id: NodeId) -> Result<QOp, CompileError> {
        let node = &self.graph.nodes[id];
        let Op::Conv(conv) = &node.op else { unreachable!("fusion gave a convolution") };
        let input = self.graph.nodes[node.inputs[0]].shape;
        let name = node.name.clone();
        let channels = node.shape.channels;
        let bias = conv.bias.as_ref().map_or_else(
            || vec![0.0; channels],
            |bias| bias.iter().copied().map(f64::from).collect(),
        );
        let taps = self.map.repeat(conv.kernel * conv.kernel);
        let weights = quantize_weights(&name, &conv.weights, &bias, &taps)?;
        let (lo, hi) = self.calibration.range(id);
        let out = Affine::int8(if conv.relu { 0.0 } else { lo }, hi);
        let ratios = vec![out.scale; channels];
        let (mult, shift) = weights.multipliers(&name, &ratios, 128)?;
        if shift > 0 {
            return Err(CompileError::Range { node: name, what: "a multiplier" });
        }
        let small = |value: usize, what| {
            let limit = usize::from(u8::MAX);
            u8::try_from(value).map_err(|_| CompileError::TooLarge {
                node: name.clone(),
                what,
                value,
                limit,
            })
        };
        let (pool_kernel, pool_stride, pool_padding) =
            conv.pool.map_or((0, 0, 0), |pool| (pool.kernel, pool.stride, pool.padding));
        let record = ConvRecord {
            in_height: self.size(id, "the input height", input.height)?,
            in_width: self.size(id, "the input width", input.width)?,
            in_channels: self.size(id, "the input channels", input.channels)?,
            out_channels: self.size(id, "the output channels", channels)?,
            kernel: small(conv.kernel, "the kernel")?,
            stride: small(conv.stride, "the stride")?,
            padding: small(conv.padding, "the padding")?,
            pool_kernel: small(pool_kernel, "the pooling kernel")?,
            pool_stride: small(pool_stride, "the pooling stride")?,
            pool_padding: small(pool_padding, "the pooling padding")?,
            zero_out: out.zero as i8,
            low: if conv.relu { out.zero as i8 } else { -128 },
            ..Default::default()
        };
        let zero_in = self.map.affine.iter().map(|a| a.zero.round().clamp(-128.0, 127.0) as i8);
        let zero_in = zero_in.collect();
        self.map = InputQuant::at_zero(vec![out; channels]);
        let low = if conv.relu { None } else { Some(-128) };
        self.site(index, Site::Output, id, vec![out; channels], (low, RAILS8.1));
        Ok(QOp::Conv { record, zero_in, weights: weights.weights, bias: weights.bias, mult })
    }

    pub(super) fn embed(
        &mut self,
        index: usize,
        tokens: NodeId,
        positions: Option<NodeId>,
        stream: f64,
    ) -> Result<QOp, CompileError> {
        let shape = self.graph.nodes[tokens].shape;
        let name = self.name(tokens);
        let map = self.map.affine[0];
        let constants = match positions.map(|id| &self.graph.nodes[id].op) {
            Some(Op::AddConstant(values)) => Some(values.iter().map(|&v| {
                let q = to_i32(&name, "a position", f64::from(v) / stream)?;
                i16::try_from(q)
                    .map_err(|_| CompileError::Range { node: name.clone(), what: "a position" })
            })),
            _ => None,
        };
        let constants = constants.map(Iterator::collect).transpose()?;
        let record = EmbedRecord {
            tokens: self.size(tokens, "the number of tokens", shape.tokens())?,
            width: self.size(tokens, "the width", shape.channels)?,
            zero_in: map.zero as i32,
            mult: multiplier(&name, map.scale / stream, 16)?,
            ..Default::default()
        };
        let output = positions.unwrap_or(tokens);
        let channels = vec![Affine::symmetric(stream); shape.channels];
        self.site(index, Site::Output, output, channels, RAILS16);
        if let (None, Some(site)) = (positions, self.sites.last_mut()) {
            site.name.push_str(" (int16)");
        }
        Ok(QOp::Embed { record, positions: constants })
    }
}
