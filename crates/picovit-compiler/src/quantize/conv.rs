//! Convolutions.

use std::borrow::Cow;

use picovit::Site;
use picovit::format::ConvRecord;

use super::scale::{Affine, InputQuant, QWeights, quantize_weights, to_i32};
use super::{Context, QLayer, QOp, RAILS8};
use crate::error::CompileError;
use crate::fuse::{Concat, FusedOp};
use crate::graph::{Activation, Conv, NodeId};

/// Whether channels of a convolution's output may have scales of their own, because what follows
/// takes them into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    /// They share one.
    Alike,
    /// Those of a ReLU may, as all their zeros are -128.
    OfRelu,
    /// They may.
    Each,
}

impl Activation {
    /// Inputs below this give zero to within any int8 output, so the input range may stop here.
    fn negligible_below(self) -> f32 {
        match self {
            Self::Gelu => -4.0,
            Self::Silu => -8.0,
        }
    }

    /// Quantization of the activation's input.
    pub(super) fn input_range(self, (lo, hi): (f32, f32)) -> (f32, f32) {
        (lo.max(self.negligible_below()), hi)
    }

    /// The 256 entries of the activation's table.
    pub(super) fn table(self, input: Affine, output: Affine) -> Vec<i8> {
        let entries = (-128..=127).map(|q| {
            let y = self.apply(input.real(q) as f32);
            output.quantized(f64::from(y)).round().clamp(-128.0, 127.0) as i8
        });
        entries.collect()
    }
}

impl QWeights {
    /// The int8 quantization of outputs in `lo..=hi`, no finer than the accumulators resolve.
    pub(super) fn output(&self, (lo, hi): (f32, f32)) -> Affine {
        let steps = self.scale.iter().fold(0.0f64, |most, &scale| most.max(scale));
        Affine::int8_at_least(lo, hi, steps / 0.49)
    }

    /// Constants of a layer with this output.
    ///
    /// # Errors
    /// [`CompileError::Range`] where an accumulator or multiplier does not fit.
    pub(super) fn layer(self, name: &str, output: Affine) -> Result<QLayer, CompileError> {
        let outputs = vec![output; self.bias.len()];
        self.layer_of(name, &outputs, output.zero)
    }

    /// As [`Self::layer`], with an output of its own for every channel. The operation adds one zero
    /// point to all of them; the rest of their own goes into the bias.
    ///
    /// # Errors
    /// [`CompileError::Range`] where an accumulator or multiplier does not fit.
    pub(super) fn layer_of(
        mut self,
        name: &str,
        outputs: &[Affine],
        zero: f64,
    ) -> Result<QLayer, CompileError> {
        for (channel, output) in outputs.iter().enumerate() {
            let moved = |layer: &Self| {
                let own = (output.zero - zero) * output.scale;
                f64::from(layer.bias[channel]) + own / layer.scale[channel]
            };
            // A channel that hardly answers, of very short steps.
            let factor = moved(&self).abs() / f64::from(1 << 24);
            if factor > f64::from(1 << 6) {
                self.coarsen(channel, factor);
            }
            self.bias[channel] = to_i32(name, "a bias", moved(&self))?;
        }
        let scales: Vec<f64> = outputs.iter().map(|output| output.scale).collect();
        let (mult, shift) = self.multipliers(name, &scales, 128)?;
        if shift > 0 {
            return Err(CompileError::Range { node: name.into(), what: "a multiplier" });
        }
        Ok(QLayer { weights: self.weights, bias: self.bias, mult })
    }
}

impl Conv {
    /// The bias of every output channel.
    pub(super) fn biases(&self, channels: usize) -> Vec<f64> {
        self.bias.as_ref().map_or_else(
            || vec![0.0; channels],
            |bias| bias.iter().copied().map(f64::from).collect(),
        )
    }
}

/// A covariance of the taps of patches whose pixels have `channels` channels, the first `kept` of which
/// come last from now on.
fn rotated(covariance: &[f64], channels: usize, kept: usize) -> Vec<f64> {
    let inputs = covariance.len().isqrt();
    let mut order: Vec<usize> = (0..inputs).collect();
    order.chunks_exact_mut(channels).for_each(|pixel| pixel.rotate_left(kept));
    let rows = order.iter().map(|&i| &covariance[i * inputs..(i + 1) * inputs]);
    rows.flat_map(|row| order.iter().map(|&j| row[j])).collect()
}

impl Context<'_> {
    /// Quantization of a map. Weight rounding errors are compensated at its mean, for convolutions
    /// with a border too: nearly all pixels are inside, and a background's error would add up.
    pub(super) fn map(&self, node: NodeId) -> InputQuant {
        self.maps[&node].clone()
    }

    /// Keeps the quantization of a map all of whose channels share one.
    pub(super) fn keep_map(&mut self, node: NodeId, affine: Affine) {
        let channels = self.graph.nodes[node].shape.channels;
        let quant = self.input(node, vec![affine; channels]);
        self.maps.insert(node, quant);
    }

    /// A size as a field of one byte.
    pub(super) fn small(
        &self,
        id: NodeId,
        what: &'static str,
        value: usize,
    ) -> Result<u8, CompileError> {
        let limit = usize::from(u8::MAX);
        u8::try_from(value).map_err(|_| CompileError::TooLarge {
            node: self.name(id),
            what,
            value,
            limit,
        })
    }

    /// Edge, step and border of a convolution.
    pub(super) fn window(&self, id: NodeId) -> Result<[u8; 3], CompileError> {
        let conv = self.graph.conv(id);
        Ok([
            self.small(id, "the kernel", conv.kernel)?,
            self.small(id, "the stride", conv.stride)?,
            self.small(id, "the padding", conv.padding)?,
        ])
    }

    /// First input and weights of a convolution. The engine takes a kept map's channels behind the
    /// current one's, whatever their order in the graph.
    pub(super) fn reordered(&self, id: NodeId, concat: Option<Concat>) -> (NodeId, Vec<f32>) {
        let graph = self.graph;
        let before = graph.nodes[id].inputs[0];
        let mut weights = graph.conv(id).weights.clone();
        let Some(Concat { saved, saved_first }) = concat else { return (before, weights) };
        if saved_first {
            let kept = graph.nodes[saved].shape.channels;
            let channels = graph.nodes[before].shape.channels;
            weights.chunks_exact_mut(channels).for_each(|pixel| pixel.rotate_left(kept));
        }
        (graph.nodes[before].inputs[usize::from(saved_first)], weights)
    }

    /// int8 quantization of channels, each by its own range; with a ReLU all zeros are -128.
    fn channels(&self, id: NodeId, weights: &QWeights, relu: bool) -> Vec<Affine> {
        let stats = self.calibration.node(id).iter().zip(&weights.scale);
        let (low, high) = self.calibration.extremes(id);
        // A channel that hardly answers must not blow its successors' weights up.
        let least = low.abs().max(high) / 256.0;
        let channels = stats.map(|(s, step)| {
            let low = if relu { 0.0 } else { s.min };
            Affine::int8_at_least(low, s.max.max(least), step / 0.49)
        });
        channels.collect()
    }

    pub(super) fn conv(
        &mut self,
        index: usize,
        op: FusedOp,
        channels_of: Channels,
    ) -> Result<QOp, CompileError> {
        let FusedOp::Conv { conv: id, table, concat } = op else {
            unreachable!("called for a convolution")
        };
        let graph = self.graph;
        let (node, conv) = (&graph.nodes[id], graph.conv(id));
        let (first, weights) = self.reordered(id, concat);
        let input = graph.nodes[first].shape;
        let (name, channels) = (node.name.clone(), node.shape.channels);
        let mut quant = self.map(first);
        if let Some(Concat { saved, .. }) = concat {
            let second = self.map(saved);
            quant.affine.extend(second.affine);
            quant.mean.extend(second.mean);
        }
        let zero_in = quant.affine.iter().map(|a| a.zero.round().clamp(-128.0, 127.0) as i8);
        let zero_in = zero_in.collect();
        let taps = quant.repeat(conv.kernel * conv.kernel);
        let rounding = self.rounding_of(id, &taps, |covariance| match concat {
            Some(Concat { saved, saved_first: true }) => {
                let kept = graph.nodes[saved].shape.channels;
                Cow::Owned(rotated(covariance, quant.affine.len(), kept))
            }
            _ => Cow::Borrowed(covariance),
        });
        let biases = conv.biases(channels);
        let weights = quantize_weights(&name, &weights, &biases, &taps, &rounding)?;

        let (lo, hi) = self.calibration.range(id);
        let between = match table.map(|table| graph.activation(table)) {
            Some(activation) => weights.output(activation.input_range((lo, hi))),
            None => weights.output((if conv.relu { 0.0 } else { lo }, hi)),
        };
        let each = match channels_of {
            Channels::Alike => false,
            Channels::OfRelu => conv.relu,
            Channels::Each => true,
        };
        let (outputs, zero_out) = match each && table.is_none() {
            true if conv.relu => (self.channels(id, &weights, true), -128.0),
            true => (self.channels(id, &weights, false), 0.0),
            false => (vec![between; channels], between.zero),
        };
        let layer = weights.layer_of(&name, &outputs, zero_out)?;
        let table = table.map(|table| {
            let (lo, hi) = self.calibration.range(table);
            let out = Affine::int8(lo, hi);
            (table, out, graph.activation(table).table(between, out))
        });

        let pool = conv.pool;
        let pooling = |value: Option<usize>, what| self.small(id, what, value.unwrap_or(0));
        let [kernel, stride, padding] = self.window(id)?;
        let record = ConvRecord {
            in_height: self.size(id, "the input height", input.height)?,
            in_width: self.size(id, "the input width", input.width)?,
            in_channels: self.size(id, "the input channels", input.channels)?,
            out_channels: self.size(id, "the output channels", channels)?,
            kernel,
            stride,
            padding,
            pool_kernel: pooling(pool.map(|pool| pool.kernel), "the pooling kernel")?,
            pool_stride: pooling(pool.map(|pool| pool.stride), "the pooling stride")?,
            pool_padding: pooling(pool.map(|pool| pool.padding), "the pooling padding")?,
            pool_padding_after: pooling(
                pool.map(|pool| pool.padding_after),
                "the pooling padding",
            )?,
            zero_out: zero_out as i8,
            low: if conv.relu { zero_out as i8 } else { -128 },
            in_channels2: match concat {
                Some(Concat { saved, .. }) => {
                    let channels = graph.nodes[saved].shape.channels;
                    self.size(saved, "the channels", channels)?
                }
                None => 0,
            },
            ..Default::default()
        };
        let low = if conv.relu { None } else { Some(-128) };
        let table = match table {
            Some((node, out, entries)) => {
                self.site_before(index, Site::Hidden, id, outputs);
                self.site(index, Site::Output, node, vec![out; channels], (None, RAILS8.1));
                self.keep_map(node, out);
                Some(entries)
            }
            None => {
                let quant = self.input(id, outputs.clone());
                self.maps.insert(id, quant);
                self.site(index, Site::Output, id, outputs, (low, RAILS8.1));
                None
            }
        };
        let second = concat.map(|concat| concat.saved);
        Ok(QOp::Conv { record, zero_in, layer, table, second })
    }
}
