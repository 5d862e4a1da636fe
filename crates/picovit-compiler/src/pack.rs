//! Writing the artifact: records, constants, labels and description into one flat file.

mod float;

use std::collections::HashMap;
use std::mem::size_of;

use bytemuck::{Pod, Zeroable, bytes_of, cast_slice};
use picovit::format::{
    EXP_ENTRIES, EXP_STEPS, FORMAT_F16, FORMAT_INT8, FORMAT_MIXED, Header, MAGIC, NormRecord,
    OpKind, Packing, RECORD_BYTES, RecordHead, VERSION, align_up, pack_winograd, pack_winograd4,
    pack_winograd4_tiles, scratch_bytes_attention, scratch_bytes_avg_pool, scratch_bytes_conv,
    scratch_bytes_embed, scratch_bytes_inverted_residual, scratch_bytes_mlp,
    scratch_bytes_seq_pool, winograd_weights, winograd4_weights,
};
use serde::{Deserialize, Serialize};

use crate::error::CompileError;
use crate::graph::Graph;
use crate::plan::{Buffer, Plan, plan};
use crate::quantize::{FloatOp, Format, QGraph, QLayer, QNorm, QOp};

/// The description inside an artifact, for host tools; the engine does not read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Model name (`cct_2_3x2`).
    pub model: String,
    /// Number format (`int8`).
    pub format: String,
    /// Weight packing (`portable`).
    pub target: String,
    /// What wrote the artifact.
    pub generator: String,
    /// Dataset the model was trained on, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Parameters of the float model.
    pub parameters: u64,
    /// Images the ranges were measured on.
    pub calibration_images: usize,
    /// Name of each operation.
    pub ops: Vec<String>,
}

/// A packed artifact and how it is laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The file.
    pub bytes: Vec<u8>,
    /// Bytes of weights, biases, multipliers and tables.
    pub weight_bytes: usize,
    /// The arena.
    pub plan: Plan,
}

/// Index of each operation's buffers in the plan.
struct Buffers {
    input: usize,
    output: usize,
    scratch: Option<usize>,
    second: Option<usize>,
}

/// Lists the buffers of a network: values and scratch memory with their lives.
fn buffers(graph: &Graph, q: &QGraph, packing: Packing) -> (Vec<Buffer>, Vec<Buffers>) {
    let last_op = q.ops.len() - 1;
    let shape = graph.nodes[0].shape;
    let mut list = vec![Buffer { name: "input".into(), bytes: shape.len(), first: 0, last: 0 }];
    let mut ops = Vec::new();
    let mut current = 0;
    // Buffer that holds the value of a node.
    let mut holders = HashMap::from([(0, 0)]);
    for (index, (op, name)) in q.ops.iter().zip(&q.names).enumerate() {
        let (output, scratch) = match op {
            QOp::Conv { record, .. } => {
                let (h, w) = record.out_size();
                (Some(h * w * record.out_channels as usize), scratch_bytes_conv(record, packing))
            }
            QOp::InvertedResidual { record, .. } => {
                let (h, w) = record.out_size();
                let output = h * w * record.out_channels as usize;
                let scratch = scratch_bytes_inverted_residual(record, packing);
                ((record.residual == 0).then_some(output), scratch)
            }
            QOp::Fold { record, .. } => {
                let tokens = record.height as usize * record.columns as usize;
                (Some(tokens * record.width as usize), 0)
            }
            QOp::ClassPool { record, .. } => (Some(2 * record.width as usize), 0),
            QOp::AvgPool { record } => {
                (Some(2 * record.width as usize), scratch_bytes_avg_pool(record))
            }
            QOp::Embed { record, linear, .. } => {
                let mut sized = *record;
                let weights = linear.as_ref().is_some_and(|layer| !layer.weights.is_empty());
                sized.weights = u32::from(weights);
                let tokens = record.tokens as usize * record.width as usize;
                (Some(2 * tokens), scratch_bytes_embed(&sized, packing))
            }
            QOp::Attention { record, .. } => (None, scratch_bytes_attention(record, packing)),
            QOp::Mlp { record, .. } => (None, scratch_bytes_mlp(record, packing)),
            QOp::SeqPool { record, .. } => {
                (Some(2 * record.width as usize), scratch_bytes_seq_pool(record))
            }
            QOp::Head { record, .. } => (Some(2 * record.classes as usize), 0),
            QOp::Float(op) => float::buffers(op),
        };
        let input = current;
        list[input].last = index;
        let second = match op {
            QOp::Conv { second: Some(node), .. }
            | QOp::Float(FloatOp::Conv { second: Some(node), .. }) => Some(holders[node]),
            _ => None,
        };
        if let Some(second) = second {
            list[second].last = index;
        }
        if let Some(bytes) = output {
            list.push(Buffer { name: name.clone(), bytes, first: index, last: index });
            current = list.len() - 1;
        }
        let scratch = (scratch > 0).then(|| {
            let name = format!("{name} (scratch)");
            list.push(Buffer { name, bytes: scratch, first: index, last: index });
            list.len() - 1
        });
        if !matches!(op, QOp::Float(FloatOp::Convert { .. })) {
            holders.insert(q.outputs[index], current);
        }
        ops.push(Buffers { input, output: current, scratch, second });
    }
    list[current].last = last_op;
    (list, ops)
}

/// Where the buffers of a network would lie.
pub(crate) fn planned(graph: &Graph, q: &QGraph, packing: Packing) -> Plan {
    plan(buffers(graph, q, packing).0)
}

/// Packs a quantized graph.
///
/// # Errors
/// [`CompileError::Plan`] if the buffers' places are wrong, [`CompileError::Refused`] if the engine
/// does not accept the result; both are defects.
pub fn pack(
    graph: &Graph,
    q: &QGraph,
    info: &Info,
    format: &Format,
    packing: Packing,
) -> Result<Packed, CompileError> {
    let (list, ops) = buffers(graph, q, packing);
    let plan = plan(list);
    let mut file = Writer { packing, bytes: vec![0; size_of::<Header>()] };
    let records = file.bytes.len();
    file.bytes.resize(records + q.ops.len() * RECORD_BYTES, 0);
    let constants = file.bytes.len();
    let exp_table: Vec<u8> = (0..EXP_ENTRIES)
        .map(|i| (255.0 * (-(i as f64) / f64::from(EXP_STEPS)).exp()).round() as u8)
        .collect();
    let exp_table = file.constant(&exp_table);
    for (index, (op, buffers)) in q.ops.iter().zip(&ops).enumerate() {
        let offset = |id: usize| plan.offsets[id] as u32;
        let head = RecordHead {
            kind: kind(op) as u16,
            reserved: 0,
            input: offset(buffers.input),
            output: offset(buffers.output),
            scratch: buffers.scratch.map_or(0, offset),
        };
        let second = buffers.second.map_or(0, offset);
        let record = file.op(op, head, second);
        let start = records + index * RECORD_BYTES;
        file.bytes[start..start + RECORD_BYTES].copy_from_slice(&record);
    }
    let weight_bytes = file.bytes.len() - constants;
    let labels = graph.labels.join("\n");
    let labels_offset = file.constant(labels.as_bytes());
    let info = serde_json::to_string(info).expect("plain strings and numbers");
    let info_offset = file.constant(info.as_bytes());
    let last = ops.last().expect("a network has operations");
    let three = |values: &[f32]| std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0));
    let shape = graph.nodes[0].shape;
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        format: match format {
            Format::Int8 => FORMAT_INT8,
            Format::F16 => FORMAT_F16,
            Format::Mixed(_) => FORMAT_MIXED,
        },
        packing: packing as u8,
        file_bytes: file.bytes.len() as u32,
        arena_bytes: plan.arena_bytes as u32,
        ops: records as u32,
        op_count: q.ops.len() as u16,
        classes: graph.nodes.last().map_or(0, |n| n.shape.channels) as u16,
        height: shape.height as u16,
        width: shape.width as u16,
        channels: shape.channels as u16,
        input: plan.offsets[0] as u32,
        logits: plan.offsets[last.output] as u32,
        exp_table,
        logit_exp_mult: q.logit_exp.0,
        logit_shift: q.logit_exp.1,
        logit_scale: q.logit_scale as f32,
        mean: three(&graph.image.mean),
        std: three(&graph.image.std),
        labels: labels_offset,
        labels_bytes: labels.len() as u32,
        info: info_offset,
        info_bytes: info.len() as u32,
        macs: graph.macs(),
        ..Header::zeroed()
    };
    let mut bytes = file.bytes;
    bytes[..size_of::<Header>()].copy_from_slice(bytes_of(&header));
    header.checksum = picovit::model::checksum(&bytes);
    bytes[..size_of::<Header>()].copy_from_slice(bytes_of(&header));
    crate::verify::verify(graph, &bytes)?;
    let aligned = crate::artifact::AlignedBytes::new(&bytes);
    picovit::Model::parse(&aligned).map_err(CompileError::Refused)?;
    Ok(Packed { bytes, weight_bytes, plan })
}

fn kind(op: &QOp) -> OpKind {
    match op {
        QOp::Conv { .. } => OpKind::Conv,
        QOp::Embed { .. } => OpKind::Embed,
        QOp::Attention { .. } => OpKind::Attention,
        QOp::Mlp { .. } => OpKind::Mlp,
        QOp::SeqPool { .. } => OpKind::SeqPool,
        QOp::Head { .. } => OpKind::Head,
        QOp::InvertedResidual { .. } => OpKind::InvertedResidual,
        QOp::Fold { .. } => OpKind::Fold,
        QOp::ClassPool { .. } => OpKind::ClassPool,
        QOp::AvgPool { .. } => OpKind::AvgPool,
        QOp::Float(op) => float::kind(op),
    }
}

/// The file under construction.
struct Writer {
    packing: Packing,
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends values at the next aligned offset, which it returns.
    fn constant<T: Pod>(&mut self, values: &[T]) -> u32 {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(cast_slice(values));
        self.bytes.resize(align_up(self.bytes.len()), 0);
        offset as u32
    }

    /// A matrix of rows and columns, column by column.
    fn transposed(&mut self, weights: &[i8], (rows, columns): (usize, usize)) -> u32 {
        let place = |i: usize| weights[i % rows * columns + i / rows];
        self.constant(&(0..rows * columns).map(place).collect::<Vec<_>>())
    }

    fn norm(&mut self, norm: &QNorm) -> NormRecord {
        NormRecord {
            epsilon_low: norm.epsilon as u32,
            epsilon_high: (norm.epsilon >> 32) as u32,
            gain8: self.constant(&norm.gain),
            offset8: self.constant(&norm.offset),
        }
    }

    /// The offset of row-major matrices of so many rows each, packed one after the other.
    fn matrices(&mut self, weights: &[i8], rows: usize, inputs: usize) -> u32 {
        let bytes = self.packing.matrix_bytes(rows, inputs);
        let mut packed = Vec::new();
        for matrix in weights.chunks_exact(rows * inputs) {
            let start = packed.len();
            packed.resize(start + bytes, 0);
            self.packing.pack(matrix, inputs, &mut packed[start..]);
        }
        self.constant(&packed)
    }

    /// Offsets of a layer's weights, biases and multipliers.
    fn layer(&mut self, layer: &QLayer) -> [u32; 3] {
        let QLayer { weights, bias, mult } = layer;
        let inputs = weights.len() / bias.len();
        let weights = self.matrices(weights, bias.len(), inputs);
        [weights, self.constant(bias), self.constant(mult)]
    }

    /// As [`Self::layer`] for a convolution of so many inputs, its weights transformed.
    fn winograd(&mut self, layer: &QLayer, inputs: usize, form: u8) -> [u32; 3] {
        let QLayer { weights, bias, mult } = layer;
        let mut packed = vec![];
        if form == 1 {
            packed.resize(winograd_weights(bias.len(), inputs), 0i16);
            pack_winograd(weights, inputs, &mut packed);
        } else {
            packed.resize(winograd4_weights(bias.len(), inputs), 0i16);
            let pack = if form == 2 { pack_winograd4 } else { pack_winograd4_tiles };
            pack(weights, inputs, &mut packed);
        }
        [self.constant(&packed), self.constant(bias), self.constant(mult)]
    }

    /// Appends an operation's constants and returns its record.
    fn op(&mut self, op: &QOp, head: RecordHead, second: u32) -> [u8; RECORD_BYTES] {
        match op {
            QOp::Conv { record, zero_in, layer, table, .. } => {
                let mut record = *record;
                record.head = head;
                record.input2 = second;
                record.zero_in = self.constant(zero_in);
                [record.weights, record.bias, record.mult] = match record.winograd {
                    0 => self.layer(layer),
                    form => self.winograd(layer, record.all_channels(), form),
                };
                record.table = table.as_ref().map_or(0, |table| self.constant(table));
                bytemuck::cast(record)
            }
            QOp::InvertedResidual { record, layers, tables } => {
                let mut record = *record;
                record.head = head;
                [record.weights1, record.bias1, record.mult1] = self.layer(&layers[0]);
                record.table1 = self.constant(&tables[0]);
                let (hidden, taps) = (layers[1].bias.len(), record.kernel as usize);
                record.weights2 = self.transposed(&layers[1].weights, (hidden, taps * taps));
                record.bias2 = self.constant(&layers[1].bias);
                record.mult2 = self.constant(&layers[1].mult);
                record.table2 = self.constant(&tables[1]);
                [record.weights3, record.bias3, record.mult3] = self.layer(&layers[2]);
                bytemuck::cast(record)
            }
            QOp::Fold { record, norm } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.norm(norm);
                bytemuck::cast(record)
            }
            QOp::ClassPool { record, epsilon, gain, offset } => {
                let mut record = *record;
                record.head = head;
                (record.epsilon_low, record.epsilon_high) =
                    (*epsilon as u32, (*epsilon >> 32) as u32);
                record.gain16 = self.constant(gain);
                record.offset16 = self.constant(offset);
                bytemuck::cast(record)
            }
            QOp::AvgPool { record } => {
                let mut record = *record;
                record.head = head;
                bytemuck::cast(record)
            }
            QOp::Float(op) => self.float_op(op, head, second),
            QOp::Embed { record, linear, positions } => {
                let mut record = *record;
                record.head = head;
                match linear {
                    Some(QLayer { weights, bias, mult }) if weights.is_empty() => {
                        record.bias = self.constant(bias);
                        record.mults = self.constant(mult);
                    }
                    Some(layer) => {
                        [record.weights, record.bias, record.mults] = self.layer(layer);
                    }
                    None => {}
                }
                record.positions = positions.as_ref().map_or(0, |p| self.constant(p));
                bytemuck::cast(record)
            }
            QOp::Attention {
                record,
                norm,
                qkv_weights,
                qkv_bias,
                qkv_mult,
                exp_mult,
                out_mult,
                proj_weights,
                proj_bias,
                proj_mult,
            } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.norm(norm);
                let [width, head_dim] = [record.width, record.head_dim].map(usize::from);
                record.qkv_weights = self.matrices(qkv_weights, head_dim, width);
                record.qkv_bias = self.constant(qkv_bias);
                record.qkv_mult = self.constant(qkv_mult);
                record.exp_mult = self.constant(exp_mult);
                record.out_mult = self.constant(out_mult);
                record.proj_weights =
                    self.matrices(proj_weights, width, proj_weights.len() / width);
                record.proj_bias = self.constant(proj_bias);
                record.proj_mult = self.constant(proj_mult);
                bytemuck::cast(record)
            }
            QOp::Mlp {
                record,
                norm,
                residual,
                weights1,
                bias1,
                mult1,
                table,
                weights2,
                bias2,
                mult2,
                table2,
            } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.norm(norm);
                if let Some((gain, offset)) = residual {
                    record.gain16 = self.constant(gain);
                    record.offset16 = self.constant(offset);
                }
                let [width, hidden] = [record.width, record.hidden].map(usize::from);
                record.weights1 = self.matrices(weights1, hidden, width);
                record.bias1 = self.constant(bias1);
                record.mult1 = self.constant(mult1);
                record.table = self.constant(table);
                record.weights2 = self.matrices(weights2, width, hidden);
                record.bias2 = self.constant(bias2);
                record.mult2 = self.constant(mult2);
                record.table2 = table2.as_ref().map_or(0, |table| self.constant(table));
                bytemuck::cast(record)
            }
            QOp::SeqPool { record, norm, weights } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.norm(norm);
                record.weights = self.constant(weights);
                bytemuck::cast(record)
            }
            QOp::Head { record, weights, bias, mult } => {
                let mut record = *record;
                record.head = head;
                record.weights = self.constant(weights);
                record.bias = self.constant(bias);
                record.mult = self.constant(mult);
                bytemuck::cast(record)
            }
        }
    }
}
