//! Start and end of a residual stream.

use picovit::Site;
use picovit::format::{EmbedRecord, FoldRecord};

use super::scale::{Affine, multiplier, quantize_weights, to_i32};
use super::{Context, QLayer, QOp, RAILS8, RAILS16};
use crate::error::CompileError;
use crate::fuse::FusedOp;
use crate::graph::{NodeId, Op};

impl Context<'_> {
    pub(super) fn embed(
        &mut self,
        index: usize,
        op: FusedOp,
        stream: f64,
    ) -> Result<QOp, CompileError> {
        let FusedOp::Embed { map, linear, unfold, class_token, positions } = op else {
            unreachable!("called for the start of a stream")
        };
        let output = op.output();
        let shape = self.graph.nodes[output].shape;
        let input = self.graph.nodes[map].shape;
        let width = shape.channels;
        let (patch, columns) = match unfold.map(|unfold| &self.graph.nodes[unfold].op) {
            Some(&Op::Unfold { patch }) => (patch, input.width),
            _ => (0, 0),
        };
        let mut record = EmbedRecord {
            tokens: self.size(output, "the number of tokens", shape.tokens())?,
            width: self.size(output, "the width", width)?,
            in_channels: self.size(map, "the channels", input.channels)?,
            columns: self.size(map, "the width of the map", columns)?,
            patch: u8::try_from(patch).map_err(|_| CompileError::TooLarge {
                node: self.name(output),
                what: "the patch",
                value: patch,
                limit: 255,
            })?,
            class_token: u8::from(class_token.is_some()),
            ..Default::default()
        };
        let layer = match linear {
            Some(id) => {
                let conv = self.graph.conv(id);
                let (name, quant) = (self.name(id), self.map(map));
                let mut weights = quantize_weights(
                    &name,
                    &conv.weights,
                    &conv.biases(width),
                    &quant,
                    &self.rounding(id, &quant),
                )?;
                let (mult, shift) = weights.multipliers(&name, &vec![stream; width], 128)?;
                record.shift = shift as u16;
                Some(QLayer { weights: weights.weights, bias: weights.bias, mult })
            }
            None => {
                let quant = &self.maps[&map].affine;
                let mult = |affine: &Affine| multiplier(&self.name(map), affine.scale / stream, 16);
                if quant.iter().all(|affine| *affine == quant[0]) {
                    record.zero_in = quant[0].zero as i32;
                    record.mult = mult(&quant[0])?;
                    None
                } else {
                    let bias = quant.iter().map(|affine| affine.zero as i32).collect();
                    let mult = quant.iter().map(mult).collect::<Result<_, _>>()?;
                    Some(QLayer { weights: vec![], bias, mult })
                }
            }
        };
        let constants = self.positions(class_token, positions, shape.tokens() * width);
        let name = self.name(output);
        let constants = constants.map(|values| {
            let steps = values.into_iter().map(|v| {
                let q = to_i32(&name, "a position", v / stream)?;
                i16::try_from(q)
                    .map_err(|_| CompileError::Range { node: name.clone(), what: "a position" })
            });
            steps.collect::<Result<Vec<_>, _>>()
        });
        let constants = constants.transpose()?;
        let channels = vec![Affine::symmetric(stream); width];
        self.site(index, Site::Output, output, channels, RAILS16);
        if let (true, Some(site)) = (output == map, self.sites.last_mut()) {
            site.name.push_str(" (int16)");
        }
        Ok(QOp::Embed { record, linear: layer, positions: constants })
    }

    /// What is added to the tokens; its first row is the class token's whole value.
    pub(super) fn positions(
        &self,
        class_token: Option<NodeId>,
        positions: Option<NodeId>,
        length: usize,
    ) -> Option<Vec<f64>> {
        let mut values = match positions.map(|id| &self.graph.nodes[id].op) {
            Some(Op::AddConstant(values)) => values.iter().copied().map(f64::from).collect(),
            _ => vec![0.0; length],
        };
        if let Some(Op::ClassToken(token)) = class_token.map(|id| &self.graph.nodes[id].op) {
            values.iter_mut().zip(token).for_each(|(v, &t)| *v += f64::from(t));
        }
        (class_token.is_some() || positions.is_some()).then_some(values)
    }

    /// `single` says that what follows sees single pixels, whose channels may then have scales of
    /// their own.
    pub(super) fn fold(
        &mut self,
        index: usize,
        norm: NodeId,
        fold: NodeId,
        stream: f64,
        single: bool,
    ) -> Result<QOp, CompileError> {
        let shape = self.graph.nodes[fold].shape;
        let Op::Fold { patch, .. } = self.graph.nodes[fold].op else {
            unreachable!("fusion gave a folding")
        };
        let channels = if single { self.norm_channels(norm) } else { self.norm_tensor(norm) };
        let norm8 = self.norm8(norm, stream, &channels)?;
        let record = FoldRecord {
            height: self.size(fold, "the height", shape.height)?,
            columns: self.size(fold, "the width of the map", shape.width)?,
            width: self.size(fold, "the width", shape.channels)?,
            patch: self.size(fold, "the patch", patch)?,
            ..Default::default()
        };
        let quant = self.input(fold, channels.clone());
        self.maps.insert(fold, quant);
        self.site(index, Site::Output, fold, channels, RAILS8);
        Ok(QOp::Fold { record, norm: norm8 })
    }
}
