//! Operations that stay on floats, with weights of 16 bits, and the conversions around them.

use half::f16;
use picovit::Site;
use picovit::format::float::{
    Activation as Function, Conversion, ConvertRecord, FloatAttentionRecord, FloatAvgPoolRecord,
    FloatClassPoolRecord, FloatConvRecord, FloatEmbedRecord, FloatFoldRecord, FloatHeadRecord,
    FloatInvertedResidualRecord, FloatMlpRecord, FloatSeqPoolRecord,
};

use super::scale::Affine;
use super::{Context, RAILS8, RAILS16, SiteInfo, int16_scale};
use crate::error::CompileError;
use crate::fuse::FusedOp;
use crate::graph::{Activation, NodeId, Op};

/// Weights and bias of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatLayer {
    /// Half-precision bits, row-major, one row an output channel.
    pub weights: Vec<u16>,
    /// One an output channel.
    pub bias: Vec<f32>,
}

/// Constants of a layer norm.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatParameters {
    /// Added to the variance.
    pub epsilon: f32,
    /// Per-channel factor.
    pub gamma: Vec<f32>,
    /// Per-channel offset.
    pub beta: Vec<f32>,
}

/// An operation on floats with its constants; buffer and constant offsets are still open.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "fields are named after those of the records")]
pub enum FloatOp {
    /// Between integers and floats.
    Convert { record: ConvertRecord, scale: Vec<f32>, zero: Vec<f32> },
    /// Convolution.
    Conv {
        record: FloatConvRecord,
        layer: FloatLayer,
        /// Scale and offset of an int8 input.
        affine: Option<[Vec<f32>; 2]>,
        /// Node whose value is the second input.
        second: Option<NodeId>,
    },
    /// Expansion, depthwise convolution, projection.
    InvertedResidual { record: FloatInvertedResidualRecord, layers: [FloatLayer; 3] },
    /// Start of a residual stream.
    Embed { record: FloatEmbedRecord, linear: Option<FloatLayer>, positions: Option<Vec<u16>> },
    /// Attention sub-block.
    Attention {
        record: FloatAttentionRecord,
        norm: FloatParameters,
        qkv: FloatLayer,
        proj: FloatLayer,
    },
    /// MLP sub-block.
    Mlp { record: FloatMlpRecord, norm: FloatParameters, layers: [FloatLayer; 2] },
    /// Layer norm back into a map.
    Fold { record: FloatFoldRecord, norm: FloatParameters },
    /// Sequence pooling.
    SeqPool { record: FloatSeqPoolRecord, norm: FloatParameters, weights: Vec<u16> },
    /// Layer norm of the class token.
    ClassPool { record: FloatClassPoolRecord, norm: FloatParameters },
    /// Mean over all pixels.
    AvgPool { record: FloatAvgPoolRecord },
    /// Classifier.
    Head { record: FloatHeadRecord, layer: FloatLayer },
}

impl Activation {
    fn function(self) -> Function {
        match self {
            Self::Gelu => Function::Gelu,
            Self::Silu => Function::Silu,
        }
    }
}

/// Half-precision bits of weights.
fn halves(name: &str, values: &[f32]) -> Result<Vec<u16>, CompileError> {
    let bits = values.iter().map(|&value| {
        let half = f16::from_f32(value);
        let range = CompileError::Range { node: name.into(), what: "a half-precision weight" };
        if half.is_finite() { Ok(half.to_bits()) } else { Err(range) }
    });
    bits.collect()
}

impl Context<'_> {
    /// The constants of a float operation.
    pub(super) fn float(&mut self, index: usize, op: FusedOp) -> Result<FloatOp, CompileError> {
        match op {
            FusedOp::Conv { .. } => self.float_conv(index, op),
            FusedOp::InvertedResidual { .. } => self.float_inverted_residual(index, op),
            FusedOp::Embed { .. } => self.float_embed(index, op),
            FusedOp::Attention { .. } => self.float_attention(index, op),
            FusedOp::Mlp { .. } => self.float_mlp(index, op),
            FusedOp::Fold { .. }
            | FusedOp::SeqPool { .. }
            | FusedOp::ClassPool { .. }
            | FusedOp::AvgPool { .. } => self.float_pool(index, op),
            FusedOp::Head { linear } => self.float_head(index, linear),
        }
    }

    fn float_layer(&self, id: NodeId, weights: &[f32]) -> Result<FloatLayer, CompileError> {
        let node = &self.graph.nodes[id];
        let bias = match &node.op {
            Op::Conv(conv) => conv.bias.clone(),
            Op::Linear(linear) => linear.bias.clone(),
            op => unreachable!("fusion gave {op:?} as a layer"),
        };
        Ok(FloatLayer {
            weights: halves(&node.name, weights)?,
            bias: bias.unwrap_or_else(|| vec![0.0; node.shape.channels]),
        })
    }

    fn float_linear(&self, id: NodeId) -> Result<FloatLayer, CompileError> {
        let (linear, _) = self.linear(id);
        self.float_layer(id, &linear.weights)
    }

    fn float_convolution(&self, id: NodeId) -> Result<FloatLayer, CompileError> {
        self.float_layer(id, &self.graph.conv(id).weights)
    }

    fn float_norm(&self, id: NodeId) -> FloatParameters {
        let norm = self.layer_norm(id);
        FloatParameters {
            epsilon: norm.epsilon.max(f32::MIN_POSITIVE),
            gamma: norm.gamma.clone(),
            beta: norm.beta.clone(),
        }
    }

    fn function(&self, table: Option<NodeId>) -> u8 {
        table.map_or(Function::Identity, |id| self.graph.activation(id).function()) as u8
    }

    /// Records the float value at a site.
    fn float_site(&mut self, op: usize, site: Site, node: NodeId) {
        let channels = vec![Affine::symmetric(1.0); self.graph.nodes[node].shape.channels];
        self.site(op, site, node, channels, (None, i32::MAX));
    }

    fn float_conv(&mut self, index: usize, op: FusedOp) -> Result<FloatOp, CompileError> {
        let FusedOp::Conv { conv: id, table, concat } = op else {
            unreachable!("called for a convolution")
        };
        let graph = self.graph;
        let conv = graph.conv(id);
        let (first, weights) = self.reordered(id, concat);
        let input = graph.nodes[first].shape;
        let pool = conv.pool;
        let pooling = |value: Option<usize>| self.small(id, "the pooling", value.unwrap_or(0));
        let [kernel, stride, padding] = self.window(id)?;
        let second = concat.map(|concat| concat.saved);
        let others = second.map_or(0, |saved| graph.nodes[saved].shape.channels);
        let record = FloatConvRecord {
            in_height: self.size(id, "the input height", input.height)?,
            in_width: self.size(id, "the input width", input.width)?,
            in_channels: self.size(id, "the input channels", input.channels)?,
            out_channels: self.size(id, "the output channels", graph.nodes[id].shape.channels)?,
            kernel,
            stride,
            padding,
            pool_kernel: pooling(pool.map(|pool| pool.kernel))?,
            pool_stride: pooling(pool.map(|pool| pool.stride))?,
            pool_padding: pooling(pool.map(|pool| pool.padding))?,
            pool_padding_after: pooling(pool.map(|pool| pool.padding_after))?,
            activation: if conv.relu { Function::Relu as u8 } else { self.function(table) },
            in_channels2: self.size(id, "the input channels", others)?,
            ..Default::default()
        };
        let layer = self.float_layer(id, &weights)?;
        // An int8 input, as the image is, is converted pixel by pixel.
        let integers = self.maps.get(&first).filter(|_| concat.is_none());
        let affine = integers.map(|map| {
            let scale = map.affine.iter().map(|a| a.scale as f32);
            let offset = map.affine.iter().map(|a| (-a.scale * a.zero) as f32);
            [scale.collect(), offset.collect()]
        });
        self.float_site(index, Site::Output, op.output());
        Ok(FloatOp::Conv { record, layer, affine, second })
    }

    fn float_inverted_residual(
        &mut self,
        index: usize,
        op: FusedOp,
    ) -> Result<FloatOp, CompileError> {
        let FusedOp::InvertedResidual { expand, table1, filter, table2, project, add } = op else {
            unreachable!("called for an inverted residual")
        };
        let graph = self.graph;
        let input = graph.nodes[graph.nodes[expand].inputs[0]].shape;
        let channels = |id: NodeId| graph.nodes[id].shape.channels;
        let [kernel, stride, padding] = self.window(filter)?;
        let record = FloatInvertedResidualRecord {
            in_height: self.size(expand, "the input height", input.height)?,
            in_width: self.size(expand, "the input width", input.width)?,
            in_channels: self.size(expand, "the input channels", input.channels)?,
            hidden: self.size(expand, "the expanded channels", channels(expand))?,
            out_channels: self.size(project, "the output channels", channels(project))?,
            kernel,
            stride,
            padding,
            residual: u8::from(add.is_some()),
            activation1: self.function(Some(table1)),
            activation2: self.function(Some(table2)),
            ..Default::default()
        };
        let layers = [
            self.float_convolution(expand)?,
            self.float_convolution(filter)?,
            self.float_convolution(project)?,
        ];
        self.float_site(index, Site::Activation, table1);
        self.float_site(index, Site::DepthwiseActivation, table2);
        self.float_site(index, Site::Output, op.output());
        Ok(FloatOp::InvertedResidual { record, layers })
    }

    fn float_embed(&mut self, index: usize, op: FusedOp) -> Result<FloatOp, CompileError> {
        let FusedOp::Embed { map, linear, unfold, class_token, positions } = op else {
            unreachable!("called for the start of a stream")
        };
        let output = op.output();
        let shape = self.graph.nodes[output].shape;
        let input = self.graph.nodes[map].shape;
        let (patch, columns) = match unfold.map(|unfold| &self.graph.nodes[unfold].op) {
            Some(&Op::Unfold { patch }) => (patch, input.width),
            _ => (0, 0),
        };
        let record = FloatEmbedRecord {
            tokens: self.size(output, "the number of tokens", shape.tokens())?,
            width: self.size(output, "the width", shape.channels)?,
            in_channels: self.size(map, "the channels", input.channels)?,
            columns: self.size(map, "the width of the map", columns)?,
            patch: self.small(output, "the patch", patch)?,
            class_token: u8::from(class_token.is_some()),
            ..Default::default()
        };
        let values = self.positions(class_token, positions, shape.len());
        let values = values.map(|values| {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            halves(&self.graph.nodes[output].name, &values)
        });
        let linear = linear.map(|id| self.float_convolution(id)).transpose()?;
        self.float_site(index, Site::Output, output);
        if let (true, Some(site)) = (output == map, self.sites.last_mut()) {
            site.name.push_str(" (tokens)");
        }
        Ok(FloatOp::Embed { record, linear, positions: values.transpose()? })
    }

    fn float_attention(&mut self, index: usize, op: FusedOp) -> Result<FloatOp, CompileError> {
        let FusedOp::Attention { norm, qkv, attention, proj, add } = op else {
            unreachable!("called for attention")
        };
        let Op::Attention { heads, head_dim, groups } = self.graph.nodes[attention].op else {
            unreachable!("fusion gave attention")
        };
        let shape = self.graph.nodes[norm].shape;
        let record = FloatAttentionRecord {
            tokens: self.size(norm, "the number of tokens", shape.tokens())?,
            width: self.size(norm, "the width", shape.channels)?,
            heads: self.size(attention, "the number of heads", heads)?,
            head_dim: self.size(attention, "the head width", head_dim)?,
            groups: self.size(attention, "the number of groups", groups)?,
            scale: (head_dim as f64).powf(-0.5) as f32,
            ..Default::default()
        };
        let (qkv_layer, proj_layer) = (self.float_linear(qkv)?, self.float_linear(proj)?);
        self.float_site(index, Site::Norm, norm);
        let inner = heads * head_dim;
        let sites = [(Site::Query, "query"), (Site::Key, "key"), (Site::Value, "value")];
        for (part, (site, suffix)) in sites.into_iter().enumerate() {
            self.sites.push(SiteInfo {
                name: format!("{}.{suffix}", self.name(qkv)),
                op: index,
                site,
                node: qkv,
                column: part * inner,
                channels: vec![Affine::symmetric(1.0); inner],
                rails: (None, i32::MAX),
                least: f32::NEG_INFINITY,
            });
        }
        self.float_site(index, Site::Attention, attention);
        self.float_site(index, Site::Output, add);
        let norm = self.float_norm(norm);
        Ok(FloatOp::Attention { record, norm, qkv: qkv_layer, proj: proj_layer })
    }

    fn float_mlp(&mut self, index: usize, op: FusedOp) -> Result<FloatOp, CompileError> {
        let FusedOp::Mlp { norm, linear1, table, linear2, table2, add, replaces } = op else {
            unreachable!("called for an MLP")
        };
        let shape = self.graph.nodes[norm].shape;
        let hidden = self.graph.nodes[linear1].shape.channels;
        let record = FloatMlpRecord {
            tokens: self.size(norm, "the number of tokens", shape.tokens())?,
            width: self.size(norm, "the width", shape.channels)?,
            hidden: self.size(linear1, "the hidden width", hidden)?,
            activation1: self.function(Some(table)),
            activation2: self.function(table2),
            replaces: u32::from(replaces),
            ..Default::default()
        };
        let layers = [self.float_linear(linear1)?, self.float_linear(linear2)?];
        self.float_site(index, Site::Norm, norm);
        self.float_site(index, Site::Activation, table);
        self.float_site(index, Site::Output, add);
        Ok(FloatOp::Mlp { record, norm: self.float_norm(norm), layers })
    }

    fn float_pool(&mut self, index: usize, op: FusedOp) -> Result<FloatOp, CompileError> {
        let output = op.output();
        let input = match op {
            FusedOp::Fold { norm, .. }
            | FusedOp::SeqPool { norm, .. }
            | FusedOp::ClassPool { norm, .. } => norm,
            _ => self.graph.nodes[output].inputs[0],
        };
        let input = self.graph.nodes[input].shape;
        let tokens = self.size(output, "the number of tokens", input.tokens())?;
        let width = self.size(output, "the width", input.channels)?;
        let built = match op {
            FusedOp::Fold { norm, fold } => {
                let Op::Fold { patch, height, width: columns } = self.graph.nodes[fold].op else {
                    unreachable!("fusion gave a folding")
                };
                let record = FloatFoldRecord {
                    height: self.size(fold, "the height", height)?,
                    columns: self.size(fold, "the width of the map", columns)?,
                    width,
                    patch: self.size(fold, "the patch", patch)?,
                    ..Default::default()
                };
                FloatOp::Fold { record, norm: self.float_norm(norm) }
            }
            FusedOp::SeqPool { norm, pool } => {
                let Op::SeqPool { weights, .. } = &self.graph.nodes[pool].op else {
                    unreachable!("fusion gave sequence pooling")
                };
                let weights = halves(&self.graph.nodes[pool].name, weights)?;
                self.float_site(index, Site::Norm, norm);
                let record = FloatSeqPoolRecord { tokens, width, ..Default::default() };
                FloatOp::SeqPool { record, norm: self.float_norm(norm), weights }
            }
            FusedOp::ClassPool { norm, .. } => {
                let record = FloatClassPoolRecord { tokens, width, ..Default::default() };
                FloatOp::ClassPool { record, norm: self.float_norm(norm) }
            }
            _ => FloatOp::AvgPool {
                record: FloatAvgPoolRecord { tokens, width, ..Default::default() },
            },
        };
        self.float_site(index, Site::Output, output);
        Ok(built)
    }

    fn float_head(&mut self, index: usize, linear: NodeId) -> Result<FloatOp, CompileError> {
        let node = &self.graph.nodes[linear];
        let classes = node.shape.channels;
        let width = self.graph.nodes[node.inputs[0]].shape.channels;
        let scale = self.logit_scale(linear);
        let record = FloatHeadRecord {
            width: self.size(linear, "the width", width)?,
            classes: self.size(linear, "the number of classes", classes)?,
            steps: (1.0 / scale) as f32,
            ..Default::default()
        };
        let layer = self.float_linear(linear)?;
        self.site(index, Site::Output, linear, vec![Affine::symmetric(scale); classes], RAILS16);
        Ok(FloatOp::Head { record, layer })
    }

    /// Real value of one step of the logits.
    pub(super) fn logit_scale(&self, linear: NodeId) -> f64 {
        int16_scale(self.calibration.magnitude(linear))
    }

    /// Converts the value of a node between integers of this quantization and floats.
    pub(super) fn convert(
        &mut self,
        index: usize,
        node: NodeId,
        conversion: Conversion,
        channels: Vec<Affine>,
    ) -> Result<FloatOp, CompileError> {
        use Conversion::{MapToFloat, MapToInt, PooledToInt, TokensToFloat, TokensToInt};
        let shape = self.graph.nodes[node].shape;
        let (height, columns) = match conversion {
            MapToFloat | MapToInt => (shape.height, shape.width),
            TokensToFloat | TokensToInt => (shape.tokens(), 1),
            _ => (1, 1),
        };
        let record = ConvertRecord {
            height: self.size(node, "the height", height)?,
            columns: self.size(node, "the width of the map", columns)?,
            width: self.size(node, "the width", shape.channels)?,
            conversion: conversion as u16,
            ..Default::default()
        };
        let scale = channels.iter().map(|a| a.scale as f32).collect();
        let zero = channels.iter().map(|a| a.zero as f32).collect();
        match conversion {
            MapToInt => self.site(index, Site::Output, node, channels, RAILS8),
            TokensToInt | PooledToInt => {
                self.site(index, Site::Output, node, channels, RAILS16);
            }
            _ => self.float_site(index, Site::Output, node),
        }
        if let Some(site) = self.sites.last_mut() {
            site.name.push_str(" (converted)");
        }
        Ok(FloatOp::Convert { record, scale, zero })
    }
}
