//! The MLP sub-block.

use picovit::Site;
use picovit::format::MlpRecord;

use super::scale::{Affine, quantize_weights};
use super::{Context, QOp, RAILS8, RAILS16};
use crate::error::CompileError;
use crate::fuse::FusedOp;
use crate::graph::{Activation, Op};

impl Activation {
    /// Inputs below this give zero to within any int8 output, so the input range may stop here.
    fn negligible_below(self) -> f32 {
        match self {
            Self::Gelu => -4.0,
            Self::Silu => -8.0,
        }
    }
}

impl Context<'_> {
    pub(super) fn mlp(
        &mut self,
        index: usize,
        op: FusedOp,
        before: f64,
        after: f64,
    ) -> Result<QOp, CompileError> {
        let FusedOp::Mlp { norm, linear1, table, linear2, add, replaces } = op else {
            unreachable!("called for an MLP")
        };
        let Op::Table(activation) = self.graph.nodes[table].op else {
            unreachable!("fusion gave an activation")
        };
        let shape = self.graph.nodes[norm].shape;
        let hidden = self.graph.nodes[linear1].shape.channels;

        let norm_channels = self.norm_channels(norm);
        let norm8 = self.norm8(norm, before, &norm_channels)?;
        let residual = replaces.then(|| self.norm16(norm, after)).transpose()?;
        let input = self.input(norm, norm_channels.clone());
        let (linear, bias) = self.linear(linear1);
        let weights1 = quantize_weights(&self.name(linear1), &linear.weights, &bias, &input)?;
        let (lo, hi) = self.calibration.range(linear1);
        let between = Affine::int8(lo.max(activation.negligible_below()), hi);
        let (mult1, shift) =
            weights1.multipliers(&self.name(linear1), &vec![between.scale; hidden], 128)?;
        if shift > 0 {
            return Err(CompileError::Range { node: self.name(linear1), what: "a multiplier" });
        }

        let (lo, hi) = self.calibration.range(table);
        let out = Affine::int8(lo, hi);
        let entries = (-128..=127).map(|q| {
            let y = activation.apply(between.real(q) as f32);
            out.quantized(f64::from(y)).round().clamp(-128.0, 127.0) as i8
        });
        let entries = entries.collect();
        let input = self.input(table, vec![out; hidden]);
        let (linear, bias) = self.linear(linear2);
        let weights2 = quantize_weights(&self.name(linear2), &linear.weights, &bias, &input)?;
        let streams = vec![after; shape.channels];
        let (mult2, shift) = weights2.multipliers(&self.name(linear2), &streams, 128)?;

        let record = MlpRecord {
            tokens: self.size(norm, "the number of tokens", shape.tokens())?,
            width: self.size(norm, "the width", shape.channels)?,
            hidden: self.size(linear1, "the hidden width", hidden)?,
            shift: shift as u16,
            zero1: between.zero as i32,
            ..Default::default()
        };
        let streams = vec![Affine::symmetric(after); shape.channels];
        self.site(index, Site::Norm, norm, norm_channels, RAILS8);
        if replaces {
            self.site(index, Site::Residual, norm, streams.clone(), RAILS16);
            if let Some(site) = self.sites.last_mut() {
                site.name.push_str(" (int16)");
            }
        }
        self.site(index, Site::Hidden, linear1, vec![between; hidden], (None, 127));
        self.site(index, Site::Activation, table, vec![out; hidden], (None, 127));
        self.site(index, Site::Output, add, streams, RAILS16);
        Ok(QOp::Mlp {
            record,
            norm: norm8,
            residual,
            weights1: weights1.weights,
            bias1: weights1.bias,
            mult1,
            table: entries,
            weights2: weights2.weights,
            bias2: weights2.bias,
            mult2,
        })
    }
}
