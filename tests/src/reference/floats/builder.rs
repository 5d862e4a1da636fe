use bytemuck::Pod;
use half::f16;
use picovit::format::float as format;

use super::super::builder::{Builder, head};
use super::{
    Convert, FloatAttention, FloatConv, FloatEmbed, FloatFold, FloatInvertedResidual, FloatLayer,
    FloatMlp, FloatNorm, FloatOp, FloatSeqPool,
};

impl Builder {
    fn halves(&mut self, values: &[f16]) -> u32 {
        let bits: Vec<u16> = values.iter().map(|v| v.to_bits()).collect();
        self.put(&bits)
    }

    /// Weights and bias.
    fn float_layer(&mut self, layer: &FloatLayer) -> [u32; 2] {
        [self.halves(layer.weights.data()), self.put(&layer.bias)]
    }

    fn float_norm(&mut self, norm: &FloatNorm) -> format::FloatNormRecord {
        format::FloatNormRecord {
            epsilon: norm.epsilon,
            gamma: self.put(&norm.gamma),
            beta: self.put(&norm.beta),
        }
    }

    fn convert(&mut self, op: &Convert, input: u32) -> (format::ConvertRecord, u32) {
        use format::Conversion::{MapToInt, PooledToInt, TokensToInt};
        let bytes = match op.conversion {
            MapToInt => 1,
            TokensToInt | PooledToInt => 2,
            _ => 4,
        };
        let output = self.buffer(bytes * op.height * op.columns * op.scale.len());
        let record = format::ConvertRecord {
            head: head(17, input, output, 0),
            height: op.height as u16,
            columns: op.columns as u16,
            width: op.scale.len() as u16,
            conversion: op.conversion as u16,
            scale: self.put(&op.scale),
            zero: self.put(&op.zero),
            ..Default::default()
        };
        (record, output)
    }

    fn float_conv(
        &mut self,
        op: &FloatConv,
        input: u32,
        input2: u32,
    ) -> (format::FloatConvRecord, u32) {
        let [weights, bias] = self.float_layer(&op.layer);
        let mut record = format::FloatConvRecord {
            in_height: op.in_height as u16,
            in_width: op.in_width as u16,
            in_channels: op.in_channels as u16,
            out_channels: op.out_channels() as u16,
            kernel: op.kernel as u8,
            stride: op.stride as u8,
            padding: op.padding as u8,
            activation: op.activation as u8,
            in_channels2: op.second.map_or(0, |second| second.channels as u16),
            input2,
            weights,
            bias,
            ..Default::default()
        };
        if let Some(pool) = op.pool {
            record.pool_kernel = pool.kernel as u8;
            record.pool_stride = pool.stride as u8;
            record.pool_padding = pool.border.0 as u8;
            record.pool_padding_after = pool.border.1 as u8;
        }
        if let Some((scale, offset)) = &op.int8 {
            (record.scale, record.offset) = (self.put(scale), self.put(offset));
        }
        let scratch = self.buffer(format::scratch_bytes_conv(&record));
        let (height, width) = op.out_size();
        let output = self.buffer(4 * height * width * op.out_channels());
        record.head = head(18, input, output, scratch);
        (record, output)
    }

    fn float_embed(&mut self, op: &FloatEmbed, input: u32) -> (format::FloatEmbedRecord, u32) {
        let output = self.buffer(4 * op.tokens * op.width);
        let [weights, bias] = op.linear.as_ref().map_or([0, 0], |layer| self.float_layer(layer));
        let record = format::FloatEmbedRecord {
            head: head(19, input, output, 0),
            tokens: op.tokens as u16,
            width: op.width as u16,
            in_channels: op.in_channels() as u16,
            columns: op.columns as u16,
            patch: op.patch as u8,
            class_token: op.class_token.into(),
            positions: op.positions.as_ref().map_or(0, |p| self.halves(p.data())),
            weights,
            bias,
            ..Default::default()
        };
        (record, output)
    }

    fn float_attention(&mut self, op: &FloatAttention, x: u32) -> format::FloatAttentionRecord {
        let [qkv_weights, qkv_bias] = self.float_layer(&op.qkv);
        let [proj_weights, proj_bias] = self.float_layer(&op.proj);
        let mut record = format::FloatAttentionRecord {
            tokens: op.tokens as u16,
            width: op.norm.gamma.len() as u16,
            heads: op.heads as u16,
            head_dim: op.head_dim as u16,
            groups: op.groups as u16,
            norm: self.float_norm(&op.norm),
            scale: op.scale,
            qkv_weights,
            qkv_bias,
            proj_weights,
            proj_bias,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_attention(&record));
        record.head = head(20, x, x, scratch);
        record
    }

    fn float_mlp(&mut self, op: &FloatMlp, x: u32) -> format::FloatMlpRecord {
        let [weights1, bias1] = self.float_layer(&op.first);
        let [weights2, bias2] = self.float_layer(&op.second);
        let mut record = format::FloatMlpRecord {
            tokens: op.tokens as u16,
            width: op.norm.gamma.len() as u16,
            hidden: op.first.bias.len() as u16,
            activation1: op.activations[0] as u8,
            activation2: op.activations[1] as u8,
            replaces: op.replaces.into(),
            norm: self.float_norm(&op.norm),
            weights1,
            bias1,
            weights2,
            bias2,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_mlp(&record));
        record.head = head(21, x, x, scratch);
        record
    }

    fn float_seq_pool(
        &mut self,
        op: &FloatSeqPool,
        input: u32,
    ) -> (format::FloatSeqPoolRecord, u32) {
        let mut record = format::FloatSeqPoolRecord {
            tokens: op.tokens as u16,
            width: op.weights.len() as u16,
            norm: self.float_norm(&op.norm),
            weights: self.halves(&op.weights),
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_seq_pool(&record));
        let output = self.buffer(4 * op.weights.len());
        record.head = head(22, input, output, scratch);
        (record, output)
    }

    fn float_inverted_residual(
        &mut self,
        op: &FloatInvertedResidual,
        input: u32,
    ) -> (format::FloatInvertedResidualRecord, u32) {
        let [weights1, bias1] = self.float_layer(&op.expansion);
        let [weights2, bias2] = self.float_layer(&op.depthwise);
        let [weights3, bias3] = self.float_layer(&op.projection);
        let mut record = format::FloatInvertedResidualRecord {
            in_height: op.in_height as u16,
            in_width: op.in_width as u16,
            in_channels: op.expansion.weights.columns() as u16,
            hidden: op.expansion.bias.len() as u16,
            out_channels: op.out_channels() as u16,
            kernel: op.kernel as u8,
            stride: op.stride as u8,
            padding: op.padding as u8,
            residual: op.residual.into(),
            activation1: op.activations[0] as u8,
            activation2: op.activations[1] as u8,
            weights1,
            bias1,
            weights2,
            bias2,
            weights3,
            bias3,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_inverted_residual(&record));
        let (height, width) = op.out_size();
        let output =
            if op.residual { input } else { self.buffer(4 * height * width * op.out_channels()) };
        record.head = head(24, input, output, scratch);
        (record, output)
    }

    fn float_fold(&mut self, op: &FloatFold, input: u32) -> (format::FloatFoldRecord, u32) {
        let width = op.norm.gamma.len();
        let output = self.buffer(4 * op.height * op.columns * width);
        let record = format::FloatFoldRecord {
            head: head(25, input, output, 0),
            height: op.height as u16,
            columns: op.columns as u16,
            width: width as u16,
            patch: op.patch as u16,
            norm: self.float_norm(&op.norm),
            ..Default::default()
        };
        (record, output)
    }

    /// The bytes of an operation's record, and where its output is.
    pub(in super::super) fn float_op(
        &mut self,
        op: &FloatOp,
        input: u32,
        second: u32,
    ) -> (Vec<u8>, u32) {
        fn bytes<R: Pod>((record, output): (R, u32)) -> (Vec<u8>, u32) {
            (bytemuck::bytes_of(&record).to_vec(), output)
        }
        match op {
            FloatOp::Convert(op) => bytes(self.convert(op, input)),
            FloatOp::Conv(op) => bytes(self.float_conv(op, input, second)),
            FloatOp::Embed(op) => bytes(self.float_embed(op, input)),
            FloatOp::Attention(op) => bytes((self.float_attention(op, input), input)),
            FloatOp::Mlp(op) => bytes((self.float_mlp(op, input), input)),
            FloatOp::SeqPool(op) => bytes(self.float_seq_pool(op, input)),
            FloatOp::InvertedResidual(op) => bytes(self.float_inverted_residual(op, input)),
            FloatOp::Fold(op) => bytes(self.float_fold(op, input)),
            FloatOp::Head(op) => {
                let [weights, bias] = self.float_layer(&op.layer);
                let output = self.buffer(2 * op.layer.bias.len());
                let record = format::FloatHeadRecord {
                    head: head(23, input, output, 0),
                    width: op.layer.weights.columns() as u16,
                    classes: op.layer.bias.len() as u16,
                    steps: op.steps,
                    weights,
                    bias,
                    ..Default::default()
                };
                bytes((record, output))
            }
            FloatOp::ClassPool(op) => {
                let output = self.buffer(4 * op.norm.gamma.len());
                let record = format::FloatClassPoolRecord {
                    head: head(26, input, output, 0),
                    tokens: op.tokens as u16,
                    width: op.norm.gamma.len() as u16,
                    norm: self.float_norm(&op.norm),
                    ..Default::default()
                };
                bytes((record, output))
            }
            FloatOp::AvgPool(op) => {
                let output = self.buffer(4 * op.width);
                let record = format::FloatAvgPoolRecord {
                    head: head(27, input, output, 0),
                    tokens: op.tokens as u16,
                    width: op.width as u16,
                    ..Default::default()
                };
                bytes((record, output))
            }
        }
    }
}
