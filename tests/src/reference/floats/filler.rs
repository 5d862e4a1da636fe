use half::f16;
use picovit::format::float::{Activation, Conversion};

use super::super::filler::{Extent, Filler, divisor, window};
use super::super::plan::{ConvPlan, InvertedResidualPlan, StreamPlan};
use super::super::{Matrix, Second};
use super::{
    Convert, FloatAttention, FloatAvgPool, FloatClassPool, FloatConv, FloatEmbed, FloatFold,
    FloatHead, FloatInvertedResidual, FloatLayer, FloatMlp, FloatNorm, FloatPool, FloatSeqPool,
};

/// Constants of moderate size, whatever the style.
impl Filler {
    fn real(&mut self, scale: f64) -> f32 {
        ((self.random.unit() * 2.0 - 1.0) * scale) as f32
    }

    fn reals(&mut self, count: usize, scale: f64) -> Vec<f32> {
        (0..count).map(|_| self.real(scale)).collect()
    }

    /// Most near `scale`, some zero or subnormal.
    fn half(&mut self, scale: f64) -> f16 {
        if self.random.one_in(16) {
            return f16::from_bits(self.random.bits() as u16 & 0x83ff);
        }
        f16::from_f32(self.real(scale))
    }

    fn float_layer(&mut self, outputs: usize, inputs: usize) -> FloatLayer {
        let scale = (3.0 / inputs as f64).sqrt();
        FloatLayer {
            weights: Matrix::from_fn(outputs, inputs, |_, _| self.half(scale)),
            bias: self.reals(outputs, 0.5),
        }
    }

    fn float_norm(&mut self, width: usize) -> FloatNorm {
        FloatNorm {
            epsilon: (1e-6 + self.random.unit() * 1e-3) as f32,
            gamma: (0..width).map(|_| 1.0 + self.real(0.7)).collect(),
            beta: self.reals(width, 0.4),
        }
    }

    fn curved(&mut self) -> Activation {
        if self.random.one_in(2) { Activation::Gelu } else { Activation::Silu }
    }

    fn straight(&mut self) -> Activation {
        if self.random.one_in(2) { Activation::Identity } else { Activation::Relu }
    }

    fn any_activation(&mut self) -> Activation {
        if self.random.one_in(2) { self.curved() } else { self.straight() }
    }

    /// A conversion of a typical int8 or int16 value.
    pub fn convert(&mut self, conversion: Conversion, (height, columns, width): Extent) -> Convert {
        let map = matches!(conversion, Conversion::MapToFloat | Conversion::MapToInt);
        let scale = if map { 0.02 } else { 0.0003 };
        Convert {
            conversion,
            height,
            columns,
            scale: (0..width).map(|_| (scale * (0.5 + self.random.unit())) as f32).collect(),
            zero: if map { self.reals(width, 60.0) } else { vec![0.0; width] },
        }
    }

    pub fn float_conv(
        &mut self,
        plan: &ConvPlan,
        (height, width, channels): Extent,
        int8: bool,
        second: Option<Second>,
    ) -> FloatConv {
        let all = channels + second.map_or(0, |second| second.channels);
        let (kernel, [padding, _]) = window(plan.kernel, [plan.padding; 2], height.min(width));
        let mut conv = FloatConv {
            in_height: height,
            in_width: width,
            in_channels: channels,
            kernel,
            stride: plan.stride,
            padding,
            layer: self.float_layer(plan.channels, kernel * kernel * all),
            activation: if plan.table { self.curved() } else { self.straight() },
            pool: None,
            int8: int8.then(|| {
                let scale = (0..channels).map(|_| (0.01 + 0.02 * self.random.unit()) as f32);
                (scale.collect(), self.reals(channels, 1.0))
            }),
            second,
        };
        if let Some(pool) = &plan.pool {
            let (height, width) = conv.map_size();
            let (kernel, border) =
                window(pool.kernel, [pool.padding, pool.padding_after], height.min(width));
            conv.pool = Some(FloatPool { kernel, stride: pool.stride, border: border.into() });
        }
        conv
    }

    pub fn float_inverted_residual(
        &mut self,
        plan: &InvertedResidualPlan,
        (height, width, channels): Extent,
    ) -> FloatInvertedResidual {
        let (kernel, [padding, _]) = window(plan.kernel, [plan.padding; 2], height.min(width));
        let mut op = FloatInvertedResidual {
            in_height: height,
            in_width: width,
            kernel,
            stride: plan.stride,
            padding,
            residual: false,
            activations: [self.any_activation(), self.any_activation()],
            expansion: self.float_layer(plan.hidden, channels),
            depthwise: self.float_layer(plan.hidden, kernel * kernel),
            projection: self.float_layer(plan.channels, plan.hidden),
        };
        if plan.residual && plan.stride == 1 && op.out_size() == (height, width) {
            op.projection = self.float_layer(channels, plan.hidden);
            op.residual = true;
        }
        op
    }

    pub fn float_embed(
        &mut self,
        plan: &StreamPlan,
        (height, columns, channels): Extent,
        class_token: bool,
    ) -> FloatEmbed {
        let tokens = height * columns + usize::from(class_token);
        let width = plan.linear.unwrap_or(channels);
        let patch = divisor(plan.patch, &[height, columns]);
        FloatEmbed {
            tokens,
            width,
            linear: plan.linear.map(|_| self.float_layer(width, channels)),
            patch,
            columns: if patch == 0 { 0 } else { columns },
            class_token,
            positions: (plan.positions || class_token)
                .then(|| Matrix::from_fn(tokens, width, |_, _| self.half(0.7))),
        }
    }

    /// Folds in the way the map was unfolded, now and then in raster order.
    pub fn float_fold(&mut self, patch: usize, (height, columns, width): Extent) -> FloatFold {
        let patch = if self.random.one_in(4) { 0 } else { patch };
        FloatFold { height, columns, patch, norm: self.float_norm(width) }
    }

    /// `groups` is cut down to a divisor of `tokens`.
    pub fn float_attention(
        &mut self,
        (tokens, width): (usize, usize),
        heads: usize,
        head_dim: usize,
        groups: usize,
    ) -> FloatAttention {
        let inner = heads * head_dim;
        FloatAttention {
            tokens,
            heads,
            head_dim,
            groups: divisor(groups, &[tokens]),
            norm: self.float_norm(width),
            scale: (1.0 + 3.0 * self.random.unit()) as f32 / (head_dim as f32).sqrt(),
            qkv: self.float_layer(3 * inner, width),
            proj: self.float_layer(width, inner),
        }
    }

    pub fn float_mlp(
        &mut self,
        (tokens, width): (usize, usize),
        hidden: usize,
        replaces: bool,
        twice: bool,
    ) -> FloatMlp {
        FloatMlp {
            tokens,
            activations: [
                self.any_activation(),
                if twice { self.any_activation() } else { Activation::Identity },
            ],
            replaces,
            norm: self.float_norm(width),
            first: self.float_layer(hidden, width),
            second: self.float_layer(width, hidden),
        }
    }

    pub fn float_seq_pool(&mut self, tokens: usize, width: usize) -> FloatSeqPool {
        let weights = (0..width).map(|_| self.half(1.0)).collect();
        FloatSeqPool { tokens, norm: self.float_norm(width), weights }
    }

    pub fn float_class_pool(&mut self, tokens: usize, width: usize) -> FloatClassPool {
        FloatClassPool { tokens, norm: self.float_norm(width) }
    }

    pub fn float_avg_pool(&mut self, tokens: usize, width: usize) -> FloatAvgPool {
        FloatAvgPool { tokens, width }
    }

    pub fn float_head(&mut self, width: usize, classes: usize) -> FloatHead {
        let steps = (1000.0 + 6000.0 * self.random.unit()) as f32;
        FloatHead { layer: self.float_layer(classes, width), steps }
    }
}
