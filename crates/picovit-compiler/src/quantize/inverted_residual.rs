//! Inverted residuals.

use picovit::Site;
use picovit::format::InvertedResidualRecord;

use super::scale::{Affine, InputQuant, multiplier, quantize_weights};
use super::{Context, QOp, RAILS8, Rounding};
use crate::error::CompileError;
use crate::fuse::FusedOp;

impl Context<'_> {
    pub(super) fn inverted_residual(
        &mut self,
        index: usize,
        op: FusedOp,
    ) -> Result<QOp, CompileError> {
        let FusedOp::InvertedResidual { expand, table1, filter, table2, project, add } = op else {
            unreachable!("called for an inverted residual")
        };
        let graph = self.graph;
        let input_node = graph.nodes[expand].inputs[0];
        let input = graph.nodes[input_node].shape;
        let hidden = graph.nodes[expand].shape.channels;
        let channels = graph.nodes[project].shape.channels;
        let names = [expand, filter, project].map(|id| self.name(id));

        let quant = self.map(input_node);
        let bias = graph.conv(expand).biases(hidden);
        let weights = quantize_weights(
            &names[0],
            &graph.conv(expand).weights,
            &bias,
            &quant,
            &self.rounding(expand, &quant),
        )?;
        let activation = graph.activation(table1);
        let between1 = weights.output(activation.input_range(self.calibration.range(expand)));
        let layer1 = weights.layer(&names[0], between1)?;
        let (lo, hi) = self.calibration.range(table1);
        let out1 = Affine::int8(lo, hi);
        let entries1 = activation.table(between1, out1);

        let conv = graph.conv(filter);
        let taps = InputQuant::at_zero(vec![out1; conv.kernel * conv.kernel]);
        let rounding = Rounding::nearest(taps.affine.len());
        let weights =
            quantize_weights(&names[1], &conv.weights, &conv.biases(hidden), &taps, &rounding)?;
        let activation = graph.activation(table2);
        let between2 = weights.output(activation.input_range(self.calibration.range(filter)));
        let layer2 = weights.layer(&names[1], between2)?;
        let (lo, hi) = self.calibration.range(table2);
        let out2 = Affine::int8(lo, hi);
        let entries2 = activation.table(between2, out2);

        let quant = self.input(table2, vec![out2; hidden]);
        let bias = graph.conv(project).biases(channels);
        let weights = quantize_weights(
            &names[2],
            &graph.conv(project).weights,
            &bias,
            &quant,
            &self.rounding(project, &quant),
        )?;
        let output = add.unwrap_or(project);
        let out = weights.output(self.calibration.range(output));
        let layer3 = weights.layer(&names[2], out)?;

        let residual = match add {
            Some(add) => {
                let map = &self.maps[&input_node].affine;
                if map.iter().any(|affine| *affine != map[0]) {
                    return Err(CompileError::Unsupported {
                        node: self.name(add),
                        reason: "its channels have scales of their own".into(),
                    });
                }
                let mult = multiplier(&self.name(add), map[0].scale / out.scale, 16)?;
                Some((map[0].zero as i8, mult))
            }
            None => None,
        };
        let [kernel, stride, padding] = self.window(filter)?;
        let record = InvertedResidualRecord {
            in_height: self.size(expand, "the input height", input.height)?,
            in_width: self.size(expand, "the input width", input.width)?,
            in_channels: self.size(expand, "the input channels", input.channels)?,
            hidden: self.size(expand, "the expanded channels", hidden)?,
            out_channels: self.size(project, "the output channels", channels)?,
            kernel,
            stride,
            padding,
            residual: u8::from(residual.is_some()),
            zero1: between1.zero as i8,
            border: out1.zero as i8,
            zero2: between2.zero as i8,
            zero_out: out.zero as i8,
            zero_in: residual.map_or(0, |(zero, _)| zero),
            residual_mult: residual.map_or(0, |(_, mult)| mult),
            ..Default::default()
        };
        let rails = (None, RAILS8.1);
        self.site_before(index, Site::Hidden, expand, vec![between1; hidden]);
        self.site(index, Site::Activation, table1, vec![out1; hidden], rails);
        self.site_before(index, Site::Depthwise, filter, vec![between2; hidden]);
        self.site(index, Site::DepthwiseActivation, table2, vec![out2; hidden], rails);
        self.site(index, Site::Output, output, vec![out; channels], RAILS8);
        self.keep_map(output, out);
        let layers = [layer1, layer2, layer3];
        Ok(QOp::InvertedResidual { record, layers, tables: [entries1, entries2] })
    }
}
