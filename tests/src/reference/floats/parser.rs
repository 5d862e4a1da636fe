use half::f16;
use picovit::format::float as format;
use picovit::format::float::{Activation, Conversion};

use super::super::parser::File;
use super::super::{Matrix, Second};
use super::{
    Convert, FloatAttention, FloatAvgPool, FloatClassPool, FloatConv, FloatEmbed, FloatFold,
    FloatHead, FloatInvertedResidual, FloatLayer, FloatMlp, FloatNorm, FloatOp, FloatPool,
    FloatSeqPool,
};

fn activation(number: u8) -> Activation {
    Activation::from_u8(number).expect("an activation")
}

impl File<'_> {
    fn f32s(&self, offset: u32, count: usize) -> Vec<f32> {
        let bytes = self.bytes(offset, 4 * count);
        bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn halves(&self, offset: u32, count: usize) -> Vec<f16> {
        let bytes = self.bytes(offset, 2 * count);
        bytes.chunks(2).map(|b| f16::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn float_layer(&self, weights: u32, bias: u32, rows: usize, columns: usize) -> FloatLayer {
        FloatLayer {
            weights: Matrix::new(rows, columns, self.halves(weights, rows * columns)),
            bias: self.f32s(bias, rows),
        }
    }

    fn float_norm(&self, record: &format::FloatNormRecord, width: u16) -> FloatNorm {
        FloatNorm {
            epsilon: record.epsilon,
            gamma: self.f32s(record.gamma, width.into()),
            beta: self.f32s(record.beta, width.into()),
        }
    }

    /// The operation of a record. `places` are the arena offsets of the image and of the outputs so
    /// far.
    pub(in super::super) fn float_op(&self, kind: u16, offset: usize, places: &[u32]) -> FloatOp {
        match kind {
            17 => FloatOp::Convert(self.convert(&self.record(offset))),
            18 => FloatOp::Conv(self.float_conv(&self.record(offset), places)),
            19 => FloatOp::Embed(self.float_embed(&self.record(offset))),
            20 => FloatOp::Attention(self.float_attention(&self.record(offset))),
            21 => FloatOp::Mlp(self.float_mlp(&self.record(offset))),
            22 => {
                let r: format::FloatSeqPoolRecord = self.record(offset);
                FloatOp::SeqPool(FloatSeqPool {
                    tokens: r.tokens.into(),
                    norm: self.float_norm(&r.norm, r.width),
                    weights: self.halves(r.weights, r.width.into()),
                })
            }
            23 => {
                let r: format::FloatHeadRecord = self.record(offset);
                let (classes, width) = (r.classes.into(), r.width.into());
                let layer = self.float_layer(r.weights, r.bias, classes, width);
                FloatOp::Head(FloatHead { layer, steps: r.steps })
            }
            24 => FloatOp::InvertedResidual(self.float_inverted_residual(&self.record(offset))),
            25 => {
                let r: format::FloatFoldRecord = self.record(offset);
                FloatOp::Fold(FloatFold {
                    height: r.height.into(),
                    columns: r.columns.into(),
                    patch: r.patch.into(),
                    norm: self.float_norm(&r.norm, r.width),
                })
            }
            26 => {
                let r: format::FloatClassPoolRecord = self.record(offset);
                let norm = self.float_norm(&r.norm, r.width);
                FloatOp::ClassPool(FloatClassPool { tokens: r.tokens.into(), norm })
            }
            27 => {
                let r: format::FloatAvgPoolRecord = self.record(offset);
                let (tokens, width) = (r.tokens.into(), r.width.into());
                FloatOp::AvgPool(FloatAvgPool { tokens, width })
            }
            _ => panic!("operation {kind}"),
        }
    }

    fn convert(&self, r: &format::ConvertRecord) -> Convert {
        Convert {
            conversion: Conversion::from_u16(r.conversion).expect("a conversion"),
            height: r.height.into(),
            columns: r.columns.into(),
            scale: self.f32s(r.scale, r.width.into()),
            zero: self.f32s(r.zero, r.width.into()),
        }
    }

    fn float_conv(&self, r: &format::FloatConvRecord, places: &[u32]) -> FloatConv {
        let kernel = usize::from(r.kernel);
        let inputs = usize::from(r.in_channels) + usize::from(r.in_channels2);
        let columns = kernel * kernel * inputs;
        let channels = r.in_channels.into();
        FloatConv {
            in_height: r.in_height.into(),
            in_width: r.in_width.into(),
            in_channels: channels,
            kernel,
            stride: r.stride.into(),
            padding: r.padding.into(),
            layer: self.float_layer(r.weights, r.bias, r.out_channels.into(), columns),
            activation: activation(r.activation),
            pool: (r.pool_kernel != 0).then(|| FloatPool {
                kernel: r.pool_kernel.into(),
                stride: r.pool_stride.into(),
                border: (r.pool_padding.into(), r.pool_padding_after.into()),
            }),
            int8: (r.scale != 0)
                .then(|| (self.f32s(r.scale, channels), self.f32s(r.offset, channels))),
            second: (r.in_channels2 != 0).then(|| Second {
                channels: r.in_channels2.into(),
                // The newest value at that place.
                of: places
                    .iter()
                    .rposition(|&p| p == r.input2)
                    .expect("a second input")
                    .checked_sub(1),
            }),
        }
    }

    fn float_embed(&self, r: &format::FloatEmbedRecord) -> FloatEmbed {
        let (tokens, width) = (usize::from(r.tokens), usize::from(r.width));
        FloatEmbed {
            tokens,
            width,
            linear: (r.weights != 0)
                .then(|| self.float_layer(r.weights, r.bias, width, r.in_channels.into())),
            patch: r.patch.into(),
            columns: r.columns.into(),
            class_token: r.class_token != 0,
            positions: (r.positions != 0)
                .then(|| Matrix::new(tokens, width, self.halves(r.positions, tokens * width))),
        }
    }

    fn float_attention(&self, r: &format::FloatAttentionRecord) -> FloatAttention {
        let (heads, head_dim) = (usize::from(r.heads), usize::from(r.head_dim));
        let (width, inner) = (usize::from(r.width), heads * head_dim);
        FloatAttention {
            tokens: r.tokens.into(),
            heads,
            head_dim,
            groups: r.groups.into(),
            norm: self.float_norm(&r.norm, r.width),
            scale: r.scale,
            qkv: self.float_layer(r.qkv_weights, r.qkv_bias, 3 * inner, width),
            proj: self.float_layer(r.proj_weights, r.proj_bias, width, inner),
        }
    }

    fn float_mlp(&self, r: &format::FloatMlpRecord) -> FloatMlp {
        let (width, hidden) = (r.width.into(), r.hidden.into());
        FloatMlp {
            tokens: r.tokens.into(),
            activations: [activation(r.activation1), activation(r.activation2)],
            replaces: r.replaces != 0,
            norm: self.float_norm(&r.norm, r.width),
            first: self.float_layer(r.weights1, r.bias1, hidden, width),
            second: self.float_layer(r.weights2, r.bias2, width, hidden),
        }
    }

    fn float_inverted_residual(
        &self,
        r: &format::FloatInvertedResidualRecord,
    ) -> FloatInvertedResidual {
        let (hidden, kernel) = (usize::from(r.hidden), usize::from(r.kernel));
        FloatInvertedResidual {
            in_height: r.in_height.into(),
            in_width: r.in_width.into(),
            kernel,
            stride: r.stride.into(),
            padding: r.padding.into(),
            residual: r.residual != 0,
            activations: [activation(r.activation1), activation(r.activation2)],
            expansion: self.float_layer(r.weights1, r.bias1, hidden, r.in_channels.into()),
            depthwise: self.float_layer(r.weights2, r.bias2, hidden, kernel * kernel),
            projection: self.float_layer(r.weights3, r.bias3, r.out_channels.into(), hidden),
        }
    }
}
