//! From ranges to integers: every constant of an int8 artifact, per `docs/arithmetic.md`.
//!
//! Beyond plain min-max quantization the compiler uses what costs the chip nothing:
//! scales per channel behind a layer norm, between queries and keys, and for values, all folded
//! into neighbouring weights; keys and values centred (a shift of all keys cancels in the softmax,
//! a shift of all values passes through it); biases that compensate weight rounding at the
//! calibrated mean.

mod attention;
mod conv;
mod embed;
mod head;
mod inverted_residual;
mod mlp;
mod norm;
mod pool;
pub mod scale;

pub use norm::QNorm;

use std::collections::HashMap;

use picovit::Site;
use picovit::format::{
    AttentionRecord, AvgPoolRecord, ClassPoolRecord, ConvRecord, EmbedRecord, FoldRecord,
    HeadRecord, InvertedResidualRecord, MlpRecord, SeqPoolRecord,
};

use crate::calibrate::Calibration;
use crate::error::CompileError;
use crate::fuse::{FusedOp, fuse};
use crate::graph::{Graph, NodeId};
use scale::{Affine, InputQuant, multiplier, shift_for};

/// int16 values keep this much room above the calibrated range: one bit of sixteen buys safety
/// from saturation on images that calibration has not seen.
const HEADROOM: f64 = 1.5;

/// Where a quantized value of the engine corresponds to a float value of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteInfo {
    /// Name for reports.
    pub name: String,
    /// Operation index.
    pub op: usize,
    /// Site in the operation.
    pub site: Site,
    /// Graph node that holds the float value.
    pub node: NodeId,
    /// First channel within the node.
    pub column: usize,
    /// Quantization of each channel.
    pub channels: Vec<Affine>,
    /// Smallest and largest quantized values that count as saturated; `None` where the end of the
    /// range is meant to be reached (zero after a ReLU).
    pub rails: (Option<i32>, i32),
}

/// An engine operation with its constants; buffer and constant offsets are still open.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "fields are named after those of the records")]
pub enum QOp {
    /// Convolution.
    Conv {
        record: ConvRecord,
        zero_in: Vec<i8>,
        layer: QLayer,
        table: Option<Vec<i8>>,
        /// Node whose value is the second input.
        second: Option<NodeId>,
    },
    /// Expansion, depthwise convolution, projection.
    InvertedResidual { record: InvertedResidualRecord, layers: [QLayer; 3], tables: [Vec<i8>; 2] },
    /// Start of a residual stream.
    Embed { record: EmbedRecord, linear: Option<QLayer>, positions: Option<Vec<i16>> },
    /// Layer norm back into a map.
    Fold { record: FoldRecord, norm: QNorm },
    /// Layer norm of the class token.
    ClassPool { record: ClassPoolRecord, epsilon: u64, gain: Vec<i32>, offset: Vec<i32> },
    /// Mean over all pixels.
    AvgPool { record: AvgPoolRecord },
    /// Attention sub-block.
    Attention {
        record: AttentionRecord,
        norm: QNorm,
        qkv_weights: Vec<i8>,
        qkv_bias: Vec<i32>,
        qkv_mult: Vec<i32>,
        exp_mult: Vec<i32>,
        out_mult: Vec<u64>,
        proj_weights: Vec<i8>,
        proj_bias: Vec<i32>,
        proj_mult: Vec<i32>,
    },
    /// MLP sub-block.
    Mlp {
        record: MlpRecord,
        norm: QNorm,
        residual: Option<(Vec<i32>, Vec<i32>)>,
        weights1: Vec<i8>,
        bias1: Vec<i32>,
        mult1: Vec<i32>,
        table: Vec<i8>,
        weights2: Vec<i8>,
        bias2: Vec<i32>,
        mult2: Vec<i32>,
        table2: Option<Vec<i16>>,
    },
    /// Sequence pooling.
    SeqPool { record: SeqPoolRecord, norm: QNorm, weights: Vec<i8> },
    /// Classifier.
    Head { record: HeadRecord, weights: Vec<i8>, bias: Vec<i32>, mult: Vec<i32> },
}

/// Integer constants of a linear layer or convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct QLayer {
    /// Row-major, one row an output channel.
    pub weights: Vec<i8>,
    /// In accumulator steps.
    pub bias: Vec<i32>,
    /// To output steps.
    pub mult: Vec<i32>,
}

/// A quantized network.
#[derive(Clone, Debug, PartialEq)]
pub struct QGraph {
    /// Operations in order.
    pub ops: Vec<QOp>,
    /// Name of each operation.
    pub names: Vec<String>,
    /// Graph node whose value each operation gives.
    pub outputs: Vec<NodeId>,
    /// What to compare with what.
    pub sites: Vec<SiteInfo>,
    /// Real value of one logit step.
    pub logit_scale: f64,
    /// Multiplier and shift of the class probabilities.
    pub logit_exp: (i32, u32),
}

/// Quantizes a graph to int8.
///
/// # Errors
/// [`CompileError`] names the node that cannot be represented.
pub fn quantize(graph: &Graph, calibration: &Calibration) -> Result<QGraph, CompileError> {
    if calibration.images() == 0 {
        return Err(CompileError::NoCalibration);
    }
    for (id, node) in graph.nodes.iter().enumerate() {
        let stats = calibration.node(id);
        if stats.iter().any(|s| !(s.min.is_finite() && s.max.is_finite() && s.mean.is_finite())) {
            return Err(CompileError::NotFinite { node: node.name.clone() });
        }
    }
    let fused = fuse(graph)?;
    let streams = stream_scales(&fused, calibration);
    let maps = HashMap::from([(0, input_quant(graph))]);
    let mut context = Context { graph, calibration, sites: vec![], maps };
    let mut ops = Vec::new();
    let mut names = Vec::new();
    let mut pooled = 0.0;
    let mut logit_scale = 0.0;
    for (index, op) in fused.iter().enumerate() {
        // Scale of the residual stream before and after the operation.
        let (before, after) = (streams[index.saturating_sub(1)], streams[index]);
        let (name, op) = match *op {
            FusedOp::Conv { conv, .. } => (context.name(conv), context.conv(index, *op)?),
            FusedOp::InvertedResidual { expand, .. } => {
                let name = context.name(expand);
                let name = name.rsplit_once('.').map_or(name.as_str(), |(block, _)| block);
                (name.into(), context.inverted_residual(index, *op)?)
            }
            FusedOp::Embed { .. } => {
                let name = context.name(op.output());
                let name = name.rsplit_once('.').map(|(block, _)| format!("{block}.embed"));
                (name.unwrap_or_else(|| "embed".into()), context.embed(index, *op, after)?)
            }
            FusedOp::Fold { norm, fold } => {
                let single = matches!(
                    fused.get(index + 1),
                    Some(&FusedOp::Conv { conv, .. }) if graph.conv(conv).padding == 0
                );
                (context.name(norm), context.fold(index, norm, fold, before, single)?)
            }
            FusedOp::ClassPool { norm, token } => {
                let (op, scale) = context.class_pool(index, norm, token, before)?;
                pooled = scale;
                (context.name(norm), op)
            }
            FusedOp::AvgPool { pool } => {
                let (op, scale) = context.avg_pool(index, pool)?;
                pooled = scale;
                (context.name(pool), op)
            }
            FusedOp::Attention { attention, .. } => {
                (context.name(attention), context.attention(index, *op, before)?)
            }
            FusedOp::Mlp { linear1, .. } => {
                let name = context.name(linear1).replace("linear1", "mlp");
                (name, context.mlp(index, *op, before, after)?)
            }
            FusedOp::SeqPool { norm, pool } => {
                let (op, scale) = context.seq_pool(index, norm, pool, before)?;
                pooled = scale;
                (context.name(pool), op)
            }
            FusedOp::Head { linear } => {
                let (op, scale) = context.head(index, linear, pooled)?;
                logit_scale = scale;
                (context.name(linear), op)
            }
        };
        names.push(name);
        ops.push(op);
    }
    let ratio = logit_scale * f64::from(picovit::format::EXP_STEPS);
    let shift = shift_for(ratio);
    let logit_exp = (multiplier("logits", ratio, shift)?, shift);
    let outputs = fused.iter().map(FusedOp::output).collect();
    Ok(QGraph { ops, names, outputs, sites: context.sites, logit_scale, logit_exp })
}

/// Scale of the residual stream after each operation. It is one for all additions of a stream until
/// a norm replaces it, so that adding needs no rescaling.
fn stream_scales(fused: &[FusedOp], calibration: &Calibration) -> Vec<f64> {
    let mut segment = 0;
    let mut largest = vec![0.0f32];
    let mut segments = Vec::new();
    for op in fused {
        match *op {
            FusedOp::Mlp { norm, replaces: true, .. } => {
                segment += 1;
                largest.push(calibration.magnitude(norm));
            }
            FusedOp::Embed { map, linear, .. } => {
                segment += 1;
                largest.push(calibration.magnitude(linear.unwrap_or(map)));
            }
            _ => {}
        }
        if matches!(op, FusedOp::Embed { .. } | FusedOp::Attention { .. } | FusedOp::Mlp { .. }) {
            largest[segment] = largest[segment].max(calibration.magnitude(op.output()));
        }
        segments.push(segment);
    }
    segments.into_iter().map(|segment| int16_scale(largest[segment])).collect()
}

/// Scale of symmetric int16 values up to `magnitude`.
fn int16_scale(magnitude: f32) -> f64 {
    (f64::from(magnitude) * HEADROOM / 32767.0).max(1e-9)
}

/// Pixels enter as `p - 128`, exactly.
fn input_quant(graph: &Graph) -> InputQuant {
    let channels = graph.image.mean.iter().zip(&graph.image.std).map(|(&mean, &std)| Affine {
        scale: 1.0 / (255.0 * f64::from(std)),
        zero: 255.0 * f64::from(mean) - 128.0,
    });
    InputQuant::at_zero(channels.collect())
}

/// State shared by the operations' quantizers.
struct Context<'g> {
    graph: &'g Graph,
    calibration: &'g Calibration,
    sites: Vec<SiteInfo>,
    /// Quantization of every int8 map so far, by the node it is the value of.
    maps: HashMap<NodeId, InputQuant>,
}

impl Context<'_> {
    fn name(&self, id: NodeId) -> String {
        self.graph.nodes[id].name.clone()
    }

    /// A size as the record's field.
    fn size(&self, id: NodeId, what: &'static str, value: usize) -> Result<u16, CompileError> {
        u16::try_from(value).map_err(|_| CompileError::TooLarge {
            node: self.name(id),
            what,
            value,
            limit: usize::from(u16::MAX),
        })
    }

    /// Records a whole node as the value at a site.
    fn site(
        &mut self,
        op: usize,
        site: Site,
        node: NodeId,
        channels: Vec<Affine>,
        rails: (Option<i32>, i32),
    ) {
        let name = self.name(node);
        self.sites.push(SiteInfo { name, op, site, node, column: 0, channels, rails });
    }

    /// Quantized mean of each channel of a node.
    fn input(&self, node: NodeId, affine: Vec<Affine>) -> InputQuant {
        let stats = self.calibration.node(node);
        let mean = affine.iter().zip(stats).map(|(a, s)| a.quantized(s.mean)).collect();
        InputQuant { affine, mean }
    }
}

/// Rails of full-range int8 and int16 values.
const RAILS8: (Option<i32>, i32) = (Some(-128), 127);
const RAILS16: (Option<i32>, i32) = (Some(-32768), 32767);
