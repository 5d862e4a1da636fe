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
mod float;
mod head;
mod inverted_residual;
mod mlp;
mod norm;
mod pool;
mod rounding;
pub mod scale;

pub use float::{FloatLayer, FloatOp, FloatParameters};
pub use norm::QNorm;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use picovit::Site;
use picovit::format::float::Conversion;
use picovit::format::{
    AttentionRecord, AvgPoolRecord, ClassPoolRecord, ConvRecord, EmbedRecord, FoldRecord,
    HeadRecord, InvertedResidualRecord, MlpRecord, SeqPoolRecord,
};

use crate::calibrate::Calibration;
use crate::error::CompileError;
use crate::fuse::{Concat, FusedOp, fuse};
use crate::graph::{Graph, NodeId};
use conv::Channels;
pub(crate) use rounding::Rounding;
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
    /// Real values below this count as this: where an activation follows, the range may end there.
    pub least: f32,
}

impl SiteInfo {
    /// Whether the gradient of quantization is zero at a quantized value: it lies at an end of the
    /// range that cuts values off.
    #[must_use]
    pub fn is_saturated(&self, q: i32) -> bool {
        let (low, high) = self.rails;
        // In front of an activation the range may end where the activation hardly moves.
        let low = low.or(self.least.is_finite().then_some(-128));
        q >= high || low.is_some_and(|low| q <= low)
    }
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
    /// An operation on floats.
    Float(FloatOp),
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

/// Which operations compute with integers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// All.
    #[default]
    Int8,
    /// None: f16 weights, f32 activations.
    F16,
    /// All but those of these names, which stay on floats.
    Mixed(BTreeSet<String>),
}

impl Format {
    /// Name for reports: `int8`, `f16` or `mixed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::F16 => "f16",
            Self::Mixed(_) => "mixed",
        }
    }

    fn is_float(&self, name: &str) -> bool {
        match self {
            Self::Int8 => false,
            Self::F16 => true,
            Self::Mixed(floats) => floats.contains(name),
        }
    }
}

/// Name of an operation, for reports and for [`Format::Mixed`].
#[must_use]
pub fn op_name(graph: &Graph, op: &FusedOp) -> String {
    let name = |id: NodeId| graph.nodes[id].name.clone();
    match *op {
        FusedOp::Conv { conv, .. } => name(conv),
        FusedOp::InvertedResidual { expand, .. } => {
            let name = name(expand);
            name.rsplit_once('.').map_or(name.as_str(), |(block, _)| block).into()
        }
        FusedOp::Embed { .. } => {
            let name = name(op.output());
            let name = name.rsplit_once('.').map(|(block, _)| format!("{block}.embed"));
            name.unwrap_or_else(|| "embed".into())
        }
        FusedOp::Attention { attention, .. } => name(attention),
        FusedOp::Mlp { linear1, .. } => name(linear1).replace("linear1", "mlp"),
        FusedOp::Fold { norm, .. } | FusedOp::ClassPool { norm, .. } => name(norm),
        FusedOp::SeqPool { pool, .. } | FusedOp::AvgPool { pool } => name(pool),
        FusedOp::Head { linear } => name(linear),
    }
}

/// Quantizes a graph.
///
/// # Errors
/// [`CompileError`] names the node that cannot be represented.
pub fn quantize(
    graph: &Graph,
    calibration: &Calibration,
    format: &Format,
) -> Result<QGraph, CompileError> {
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
    let known: Vec<String> = fused.iter().map(|op| op_name(graph, op)).collect();
    if let Format::Mixed(floats) = format
        && let Some(name) = floats.iter().find(|name| !known.contains(name))
    {
        return Err(CompileError::UnknownLayer { name: name.clone(), known });
    }
    let mut context = Context { graph, calibration, sites: vec![], maps: HashMap::new() };
    let streams = stream_scales(&fused, &context);
    let pixels = context.input(0, input_quant(graph).affine);
    context.maps.insert(0, pixels);
    let mut builder = Builder {
        context,
        ops: vec![],
        names: vec![],
        outputs: vec![],
        floats: BTreeSet::new(),
        pooled: 0.0,
        logits: 0.0,
    };
    let mut on_floats = false;
    for (position, (op, name)) in fused.iter().zip(known).enumerate() {
        // Scale of the residual stream before and after the operation.
        let scales = (streams[position.saturating_sub(1)], streams[position]);
        let float = format.is_float(&name);
        builder.agree(op, float, on_floats, scales.0)?;
        let index = builder.ops.len();
        let quantized = if float {
            if let FusedOp::Head { linear } = *op {
                builder.logits = builder.context.logit_scale(linear);
            }
            QOp::Float(builder.context.float(index, *op)?)
        } else {
            let next = fused.get(position + 1);
            let next_is_float = next.is_some_and(|next| format.is_float(&op_name(graph, next)));
            builder.integer(index, *op, scales, next, next_is_float)?
        };
        if float {
            builder.floats.insert(op.output());
        }
        builder.push(name, op.output(), quantized);
        on_floats = float;
    }
    let Builder { context, ops, names, outputs, logits, .. } = builder;
    let ratio = logits * f64::from(picovit::format::EXP_STEPS);
    let logit_exp = logit_exp(ratio)?;
    Ok(QGraph { ops, names, outputs, sites: context.sites, logit_scale: logits, logit_exp })
}

/// Multiplier and left shift from a difference of logits to an index into the table of exponentials.
fn logit_exp(ratio: f64) -> Result<(i32, u32), CompileError> {
    let shift = shift_for(ratio);
    // A difference of logits is at most the span of int16.
    if (i64::from(u16::MAX) << shift) > i64::from(i32::MAX) {
        return Err(CompileError::Range { node: "logits".into(), what: "a difference" });
    }
    Ok((multiplier("logits", ratio, shift)?, shift))
}

/// The operations so far.
struct Builder<'g> {
    context: Context<'g>,
    ops: Vec<QOp>,
    names: Vec<String>,
    outputs: Vec<NodeId>,
    /// Nodes whose values are floats.
    floats: BTreeSet<NodeId>,
    /// Scale of the pooled token.
    pooled: f64,
    /// Scale of the logits.
    logits: f64,
}

impl Builder<'_> {
    fn push(&mut self, name: String, output: NodeId, op: QOp) {
        self.ops.push(op);
        self.names.push(name);
        self.outputs.push(output);
    }

    /// Converts the operation's input where the one before it computes with other numbers.
    fn agree(
        &mut self,
        op: &FusedOp,
        float: bool,
        on_floats: bool,
        stream: f64,
    ) -> Result<(), CompileError> {
        let node = self.outputs.last().copied().unwrap_or(0);
        let graph = self.context.graph;
        if let FusedOp::Conv { concat: Some(Concat { saved, .. }), conv, .. } = *op
            && self.floats.contains(&saved) != float
        {
            return Err(CompileError::Unsupported {
                node: graph.nodes[conv].name.clone(),
                reason: format!(
                    "it joins `{}`, which computes with other numbers; keep both or neither in f16",
                    graph.nodes[saved].name
                ),
            });
        }
        // The first operation converts the image itself, and so does a float convolution.
        let converts = matches!(op, FusedOp::Conv { concat: None, .. }) && float;
        if float == on_floats || self.ops.is_empty() || converts {
            return Ok(());
        }
        let width = graph.nodes[node].shape.channels;
        let (conversion, channels) = match op {
            FusedOp::Conv { .. }
            | FusedOp::InvertedResidual { .. }
            | FusedOp::Embed { .. }
            | FusedOp::AvgPool { .. } => {
                if float {
                    (Conversion::MapToFloat, self.context.maps[&node].affine.clone())
                } else {
                    let (lo, hi) = self.context.calibration.range(node);
                    self.context.keep_map(node, Affine::int8(lo, hi));
                    (Conversion::MapToInt, self.context.maps[&node].affine.clone())
                }
            }
            FusedOp::Head { .. } => {
                if !float {
                    self.pooled = int16_scale(self.context.calibration.magnitude(node));
                }
                let channels = vec![Affine::symmetric(self.pooled); width];
                (if float { Conversion::PooledToFloat } else { Conversion::PooledToInt }, channels)
            }
            _ => {
                let channels = vec![Affine::symmetric(stream); width];
                (if float { Conversion::TokensToFloat } else { Conversion::TokensToInt }, channels)
            }
        };
        let index = self.ops.len();
        let convert = self.context.convert(index, node, conversion, channels)?;
        let name = format!("{} (convert)", graph.nodes[node].name);
        self.push(name, node, QOp::Float(convert));
        Ok(())
    }

    /// An integer operation.
    fn integer(
        &mut self,
        index: usize,
        op: FusedOp,
        (before, after): (f64, f64),
        next: Option<&FusedOp>,
        next_is_float: bool,
    ) -> Result<QOp, CompileError> {
        let context = &mut self.context;
        match op {
            FusedOp::Conv { .. } => {
                let channels = match next {
                    Some(FusedOp::Conv { .. }) => Channels::OfRelu,
                    Some(FusedOp::Embed { linear: None, .. }) if !next_is_float => Channels::Each,
                    _ => Channels::Alike,
                };
                context.conv(index, op, channels)
            }
            FusedOp::InvertedResidual { .. } => context.inverted_residual(index, op),
            FusedOp::Embed { .. } => context.embed(index, op, after),
            FusedOp::Fold { norm, fold } => {
                let single = matches!(
                    next,
                    Some(&FusedOp::Conv { conv, concat: None, .. })
                        if context.graph.conv(conv).padding == 0
                );
                context.fold(index, norm, fold, before, single)
            }
            FusedOp::ClassPool { norm, token } => {
                let (op, scale) = context.class_pool(index, norm, token, before)?;
                self.pooled = scale;
                Ok(op)
            }
            FusedOp::AvgPool { pool } => {
                let (op, scale) = context.avg_pool(index, pool)?;
                self.pooled = scale;
                Ok(op)
            }
            FusedOp::SeqPool { norm, pool } => {
                let (op, scale) = context.seq_pool(index, norm, pool, before)?;
                self.pooled = scale;
                Ok(op)
            }
            FusedOp::Attention { .. } => context.attention(index, op, before),
            FusedOp::Mlp { .. } => context.mlp(index, op, before, after),
            FusedOp::Head { linear } => {
                let (op, scale) = context.head(index, linear, self.pooled)?;
                self.logits = scale;
                Ok(op)
            }
        }
    }
}

/// Scale of the residual stream after each operation. It is one for all additions of a stream until
/// a norm replaces it, so that adding needs no rescaling.
fn stream_scales(fused: &[FusedOp], context: &Context) -> Vec<f64> {
    let calibration = context.calibration;
    let mut segment = 0;
    let mut scales = vec![0.0f64];
    let mut segments = Vec::new();
    for op in fused {
        match *op {
            FusedOp::Mlp { norm, replaces: true, .. } => {
                segment += 1;
                scales.push(int16_scale(calibration.magnitude(norm)));
            }
            FusedOp::Embed { map, linear, class_token, positions, .. } => {
                segment += 1;
                let scale = int16_scale(calibration.magnitude(linear.unwrap_or(map)));
                // Positions are int16, too, and may be larger than what they are added to leaves.
                let width = context.graph.nodes[op.output()].shape.channels;
                let constants = context.positions(class_token, positions, width);
                let most = constants.iter().flatten().fold(0.0f64, |most, v| most.max(v.abs()));
                scales.push(scale.max(most / 32767.0));
            }
            _ => {}
        }
        if matches!(op, FusedOp::Embed { .. } | FusedOp::Attention { .. } | FusedOp::Mlp { .. }) {
            let scale = int16_scale(calibration.magnitude(op.output()));
            scales[segment] = scales[segment].max(scale);
        }
        segments.push(segment);
    }
    segments.into_iter().map(|segment| scales[segment].max(1e-9)).collect()
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
        let least = f32::NEG_INFINITY;
        self.sites.push(SiteInfo { name, op, site, node, column: 0, channels, rails, least });
    }

    /// Records a whole node as the value in front of an activation. Its range was cut below where
    /// the activation hardly moves; the error of that is measured behind the activation.
    fn site_before(&mut self, op: usize, site: Site, node: NodeId, channels: Vec<Affine>) {
        let least = channels.first().map_or(f32::NEG_INFINITY, |a| a.real(-128) as f32);
        self.site(op, site, node, channels, (None, RAILS8.1));
        if let Some(site) = self.sites.last_mut() {
            site.least = least;
        }
    }

    /// How to round the weights of a layer: to the nearest, or so that errors compensate each other where
    /// it is known how its inputs vary together.
    fn rounding(&self, layer: NodeId, input: &InputQuant) -> Arc<Rounding> {
        self.rounding_of(layer, input, Cow::Borrowed)
    }

    /// The same for inputs in another order than the covariance's.
    fn rounding_of<'a>(
        &'a self,
        layer: NodeId,
        input: &InputQuant,
        in_order: impl FnOnce(&'a [f64]) -> Cow<'a, [f64]>,
    ) -> Arc<Rounding> {
        let Some(covariance) = self.calibration.covariance(layer) else {
            return Arc::new(Rounding::nearest(input.affine.len()));
        };
        let make = || Rounding::compensating(&in_order(covariance), &input.affine);
        self.calibration.kept_rounding(layer, &input.affine, make)
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
