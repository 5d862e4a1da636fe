//! The MLP sub-block.

use picovit::Site;
use picovit::format::MlpRecord;

use super::scale::Affine;
use super::{Context, QOp, RAILS8, RAILS16};
use crate::error::CompileError;
use crate::fuse::FusedOp;

impl Context<'_> {
    pub(super) fn mlp(
        &mut self,
        index: usize,
        op: FusedOp,
        before: f64,
        after: f64,
    ) -> Result<QOp, CompileError> {
        let FusedOp::Mlp { norm, linear1, table, linear2, table2, add, replaces } = op else {
            unreachable!("called for an MLP")
        };
        let activation = self.graph.activation(table);
        let shape = self.graph.nodes[norm].shape;
        let hidden = self.graph.nodes[linear1].shape.channels;

        let norm_channels = self.norm_channels(norm);
        let norm8 = self.norm8(norm, before, &norm_channels)?;
        let residual = replaces.then(|| self.norm16(norm, after)).transpose()?;
        let input = self.input(norm, norm_channels.clone());
        let weights1 = self.quantized_linear(linear1, &input)?;
        let between = weights1.output(activation.input_range(self.calibration.range(linear1)));
        let first = weights1.layer(&self.name(linear1), between)?;

        let (lo, hi) = self.calibration.range(table);
        let out = Affine::int8(lo, hi);
        let entries = activation.table(between, out);
        let input = self.input(table, vec![out; hidden]);
        let mut weights2 = self.quantized_linear(linear2, &input)?;
        // Behind a second activation, int8 between the two, else straight to the stream.
        let second = table2.map(|table2| {
            let activation = self.graph.activation(table2);
            let range = activation.input_range(self.calibration.range(linear2));
            let between = weights2.output(range);
            let entries = (-128..=127).map(|q| {
                let y = f64::from(activation.apply(between.real(q) as f32));
                (y / after).round().clamp(-32768.0, 32767.0) as i16
            });
            (between, entries.collect::<Vec<i16>>())
        });
        let target = second.as_ref().map_or(after, |(between, _)| between.scale);
        let targets = vec![target; shape.channels];
        let (mult2, shift) = weights2.multipliers(&self.name(linear2), &targets, 128)?;

        let record = MlpRecord {
            tokens: self.size(norm, "the number of tokens", shape.tokens())?,
            width: self.size(norm, "the width", shape.channels)?,
            hidden: self.size(linear1, "the hidden width", hidden)?,
            shift: shift as u16,
            zero1: between.zero as i32,
            zero2: second.as_ref().map_or(0, |(between, _)| between.zero as i32),
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
        self.site_before(index, Site::Hidden, linear1, vec![between; hidden]);
        self.site(index, Site::Activation, table, vec![out; hidden], (None, 127));
        if let Some((between, _)) = &second {
            let channels = vec![*between; shape.channels];
            self.site_before(index, Site::Second, linear2, channels);
        }
        self.site(index, Site::Output, add, streams, RAILS16);
        Ok(QOp::Mlp {
            record,
            norm: norm8,
            residual,
            weights1: first.weights,
            bias1: first.bias,
            mult1: first.mult,
            table: entries,
            weights2: weights2.weights,
            bias2: weights2.bias,
            mult2,
            table2: second.map(|(_, entries)| entries),
        })
    }
}
