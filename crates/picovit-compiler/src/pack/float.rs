//! Records and constants of the operations on floats.

use picovit::format::float::{
    Conversion, FloatNormRecord, scratch_bytes_attention, scratch_bytes_conv,
    scratch_bytes_inverted_residual, scratch_bytes_mlp, scratch_bytes_seq_pool,
};
use picovit::format::{OpKind, RECORD_BYTES, RecordHead};

use super::Writer;
use crate::quantize::{FloatLayer, FloatOp, FloatParameters};

/// Bytes of an output of its own, and of scratch memory.
pub(super) fn buffers(op: &FloatOp) -> (Option<usize>, usize) {
    match op {
        FloatOp::Convert { record, .. } => {
            let values = record.height as usize * record.columns as usize * record.width as usize;
            let bytes = match Conversion::from_u16(record.conversion) {
                Some(Conversion::MapToInt) => 1,
                Some(Conversion::TokensToInt | Conversion::PooledToInt) => 2,
                _ => 4,
            };
            (Some(bytes * values), 0)
        }
        FloatOp::Conv { record, .. } => {
            let (height, width) = record.out_size();
            let values = height * width * record.out_channels as usize;
            (Some(4 * values), scratch_bytes_conv(record))
        }
        FloatOp::InvertedResidual { record, .. } => {
            let (height, width) = record.out_size();
            let values = height * width * record.out_channels as usize;
            let output = (record.residual == 0).then_some(4 * values);
            (output, scratch_bytes_inverted_residual(record))
        }
        FloatOp::Embed { record, .. } => {
            (Some(4 * record.tokens as usize * record.width as usize), 0)
        }
        FloatOp::Attention { record, .. } => (None, scratch_bytes_attention(record)),
        FloatOp::Mlp { record, .. } => (None, scratch_bytes_mlp(record)),
        FloatOp::Fold { record, .. } => {
            let tokens = record.height as usize * record.columns as usize;
            (Some(4 * tokens * record.width as usize), 0)
        }
        FloatOp::SeqPool { record, .. } => {
            (Some(4 * record.width as usize), scratch_bytes_seq_pool(record))
        }
        FloatOp::ClassPool { record, .. } => (Some(4 * record.width as usize), 0),
        FloatOp::AvgPool { record } => (Some(4 * record.width as usize), 0),
        FloatOp::Head { record, .. } => (Some(2 * record.classes as usize), 0),
    }
}

pub(super) fn kind(op: &FloatOp) -> OpKind {
    match op {
        FloatOp::Convert { .. } => OpKind::Convert,
        FloatOp::Conv { .. } => OpKind::FloatConv,
        FloatOp::InvertedResidual { .. } => OpKind::FloatInvertedResidual,
        FloatOp::Embed { .. } => OpKind::FloatEmbed,
        FloatOp::Attention { .. } => OpKind::FloatAttention,
        FloatOp::Mlp { .. } => OpKind::FloatMlp,
        FloatOp::Fold { .. } => OpKind::FloatFold,
        FloatOp::SeqPool { .. } => OpKind::FloatSeqPool,
        FloatOp::ClassPool { .. } => OpKind::FloatClassPool,
        FloatOp::AvgPool { .. } => OpKind::FloatAvgPool,
        FloatOp::Head { .. } => OpKind::FloatHead,
    }
}

impl Writer {
    /// Offsets of a layer's weights and biases.
    fn float_layer(&mut self, layer: &FloatLayer) -> [u32; 2] {
        [self.constant(&layer.weights), self.constant(&layer.bias)]
    }

    fn float_norm(&mut self, norm: &FloatParameters) -> FloatNormRecord {
        FloatNormRecord {
            epsilon: norm.epsilon,
            gamma: self.constant(&norm.gamma),
            beta: self.constant(&norm.beta),
        }
    }

    /// Appends an operation's constants and returns its record.
    pub(super) fn float_op(
        &mut self,
        op: &FloatOp,
        head: RecordHead,
        second: u32,
    ) -> [u8; RECORD_BYTES] {
        match op {
            FloatOp::Convert { record, scale, zero } => {
                let mut record = *record;
                record.head = head;
                record.scale = self.constant(scale);
                record.zero = self.constant(zero);
                bytemuck::cast(record)
            }
            FloatOp::Conv { record, layer, affine, .. } => {
                let mut record = *record;
                record.head = head;
                record.input2 = second;
                [record.weights, record.bias] = self.float_layer(layer);
                if let Some([scale, offset]) = affine {
                    record.scale = self.constant(scale);
                    record.offset = self.constant(offset);
                }
                bytemuck::cast(record)
            }
            FloatOp::InvertedResidual { record, layers } => {
                let mut record = *record;
                record.head = head;
                [record.weights1, record.bias1] = self.float_layer(&layers[0]);
                [record.weights2, record.bias2] = self.float_layer(&layers[1]);
                [record.weights3, record.bias3] = self.float_layer(&layers[2]);
                bytemuck::cast(record)
            }
            FloatOp::Embed { record, linear, positions } => {
                let mut record = *record;
                record.head = head;
                if let Some(layer) = linear {
                    [record.weights, record.bias] = self.float_layer(layer);
                }
                record.positions = positions.as_ref().map_or(0, |p| self.constant(p));
                bytemuck::cast(record)
            }
            FloatOp::Attention { record, norm, qkv, proj } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.float_norm(norm);
                [record.qkv_weights, record.qkv_bias] = self.float_layer(qkv);
                [record.proj_weights, record.proj_bias] = self.float_layer(proj);
                bytemuck::cast(record)
            }
            FloatOp::Mlp { record, norm, layers } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.float_norm(norm);
                [record.weights1, record.bias1] = self.float_layer(&layers[0]);
                [record.weights2, record.bias2] = self.float_layer(&layers[1]);
                bytemuck::cast(record)
            }
            FloatOp::Fold { record, norm } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.float_norm(norm);
                bytemuck::cast(record)
            }
            FloatOp::SeqPool { record, norm, weights } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.float_norm(norm);
                record.weights = self.constant(weights);
                bytemuck::cast(record)
            }
            FloatOp::ClassPool { record, norm } => {
                let mut record = *record;
                record.head = head;
                record.norm = self.float_norm(norm);
                bytemuck::cast(record)
            }
            FloatOp::AvgPool { record } => {
                let mut record = *record;
                record.head = head;
                bytemuck::cast(record)
            }
            FloatOp::Head { record, layer } => {
                let mut record = *record;
                record.head = head;
                [record.weights, record.bias] = self.float_layer(layer);
                bytemuck::cast(record)
            }
        }
    }
}
