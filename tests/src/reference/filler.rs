use super::plan::{ConvPlan, InvertedResidualPlan, StreamPlan};
use super::{
    Attention, AvgPool, ClassPool, Conv, Embed, Fold, Gain16, Head, InvertedResidual, Layer,
    Matrix, Mlp, Norm, Random, Residual, Scaling, Second, SecondActivation, SeqPool, exp_table,
};

/// How [`Plan::network`](super::Plan::network) chooses constants. All keep the promises of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Constants as a compiler would write them: every tensor uses its range, some of it saturates.
    Typical,
    /// Multipliers, gains, shifts and biases of any size and sign, any table of exponentials.
    Wild,
    /// As typical, with every weight the same.
    Constant(i8),
}

/// One linear layer.
struct Linear {
    weights: Matrix<i8>,
    bias: Vec<i32>,
    mult: Vec<i32>,
    shift: u32,
}

/// Fills operations with constants.
pub(super) struct Filler {
    pub random: Random,
    pub style: Style,
}

/// Cuts a window with borders before and after the map down so that it fits and always touches the
/// map.
pub(super) fn window(
    kernel: usize,
    [before, after]: [usize; 2],
    size: usize,
) -> (usize, [usize; 2]) {
    let kernel = kernel.min(size + before + after);
    let border = [before.min(kernel - 1), after.min(kernel - 1)];
    (kernel.min(size + border[0] + border[1]), border)
}

/// The largest divisor of all sizes that is no more than `most`; 0 stays 0.
pub(super) fn divisor(most: usize, sizes: &[usize]) -> usize {
    (1..=most).rev().find(|n| sizes.iter().all(|size| size % n == 0)).unwrap_or(0)
}

/// Rows, columns and channels.
pub(super) type Extent = (usize, usize, usize);

/// `2^n`, for real `n`.
fn power(n: f64) -> f64 {
    n.exp2()
}

impl Filler {
    /// A multiplier whose product with typical values of `from` (shifted) is about `to`.
    fn mult(&mut self, from: f64, to: f64, shift: u32) -> i32 {
        if self.style == Style::Wild {
            let size = self.random.any_size(1 << 31) as i64;
            let signed = if self.random.one_in(2) { -size } else { size };
            return signed.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        }
        let spread = power(self.random.unit() * 2.0 - 1.0);
        let exact = to * spread / from * power(32.0 - f64::from(shift));
        exact.clamp(1.0, f64::from(i32::MAX)) as i32
    }

    /// As [`Self::mult`], never negative: a multiplier into the table of exponentials.
    fn exp_mult(&mut self, from: f64, shift: u32) -> i32 {
        self.mult(from, 200.0, shift).saturating_abs()
    }

    /// A left shift that keeps `bound` within an `i32`.
    fn shift(&mut self, bound: i64) -> u32 {
        let most = (0..31).take_while(|n| bound << n <= i64::from(i32::MAX)).count() as i64 - 1;
        assert!(most >= 0, "{bound} overflows");
        self.random.within(0, most) as u32
    }

    fn weight(&mut self) -> i8 {
        match self.style {
            Style::Constant(weight) => weight,
            _ => self.random.within(-127, 127) as i8,
        }
    }

    /// A linear layer whose inputs are at most `input` and whose outputs are about `output`.
    fn linear(
        &mut self,
        outputs: usize,
        inputs: usize,
        input: i64,
        output: f64,
        shifted: bool,
    ) -> Linear {
        let limit = i64::from(i32::MAX);
        // Wide layers of int16 inputs need smaller weights to stay within the accumulator.
        let room = limit / 2 / (input * inputs as i64);
        assert!(room >= 1);
        let weights = Matrix::from_fn(outputs, inputs, |_, _| {
            i64::from(self.weight()).clamp(-room.min(128), room.min(127)) as i8
        });
        let typical = 40.0 * room.min(127) as f64 / 127.0 * input as f64 * (inputs as f64).sqrt();
        let mut bound = 0;
        let mut bias = Vec::new();
        for o in 0..outputs {
            let sum: i64 = weights.row(o).iter().map(|&w| i64::from(w).abs() * input).sum();
            let most = match self.style {
                Style::Wild => self.random.any_size((limit - sum) as u64) as i64,
                _ => (limit - sum).min(typical as i64),
            };
            let value = self.random.within(-most, most);
            bias.push(value as i32);
            bound = bound.max(sum + value.abs());
        }
        let shift = if shifted { self.shift(bound) } else { 0 };
        let mult = (0..outputs).map(|_| self.mult(typical, output, shift)).collect();
        Linear { weights, bias, mult, shift }
    }

    fn norm(&mut self, width: usize, zero: Option<i32>) -> Norm {
        let gain = power(25.0);
        let largest = if self.style == Style::Wild { (1 << 60) - 2 } else { 1 << 28 };
        Norm {
            epsilon: 1 + self.random.any_size(largest),
            gain8: (0..width).map(|_| self.gain(gain)).collect(),
            offset8: (0..width)
                .map(|_| match (zero, self.style) {
                    (Some(zero), _) => 256 * zero + 128,
                    (None, Style::Wild) => self.random.within(-(1 << 30), 1 << 30) as i32,
                    (None, _) => self.random.within(-20 * 256, 20 * 256) as i32 + 128,
                })
                .collect(),
        }
    }

    fn gain(&mut self, typical: f64) -> i32 {
        if self.style == Style::Wild {
            return self.mult(0.0, 0.0, 0);
        }
        let sign = if self.random.one_in(8) { -1.0 } else { 1.0 };
        (sign * typical * power(self.random.unit() * 2.0 - 1.0)) as i32
    }

    fn table8(&mut self) -> Vec<i8> {
        (0..256).map(|_| self.random.i8()).collect()
    }

    pub fn conv(
        &mut self,
        plan: &ConvPlan,
        (height, width, channels): Extent,
        second: Option<Second>,
    ) -> Conv {
        let all = channels + second.map_or(0, |second| second.channels);
        let size = height.min(width);
        let (kernel, [padding, _]) = window(plan.kernel, [plan.padding; 2], size);
        let linear = self.linear(plan.channels, kernel * kernel * all, 128, 80.0, false);
        let zero_out = self.random.i8();
        let table = plan.table.then(|| self.table8());
        let clamped = table.is_none() && !self.random.one_in(3);
        let mut conv = Conv {
            in_height: height,
            in_width: width,
            in_channels: channels,
            out_channels: plan.channels,
            kernel,
            stride: plan.stride,
            padding,
            pool_kernel: 0,
            pool_stride: 0,
            pool_padding: 0,
            pool_padding_after: 0,
            zero_in: (0..all).map(|_| self.random.i8()).collect(),
            zero_out,
            low: if clamped { zero_out } else { -128 },
            weights: linear.weights,
            bias: linear.bias,
            mult: linear.mult,
            table,
            second,
        };
        if let Some(pool) = &plan.pool {
            let (height, width) = conv.map_size();
            let (kernel, border) =
                window(pool.kernel, [pool.padding, pool.padding_after], height.min(width));
            conv.pool_kernel = kernel;
            [conv.pool_padding, conv.pool_padding_after] = border;
            conv.pool_stride = pool.stride;
        }
        conv
    }

    fn layer(&mut self, outputs: usize, inputs: usize) -> Layer {
        let linear = self.linear(outputs, inputs, 128, 60.0, false);
        let Linear { weights, bias, mult, .. } = linear;
        Layer { weights, bias, mult, zero: self.random.i8() }
    }

    pub fn inverted_residual(
        &mut self,
        plan: &InvertedResidualPlan,
        (height, width, channels): Extent,
    ) -> InvertedResidual {
        let size = height.min(width);
        let (kernel, [padding, _]) = window(plan.kernel, [plan.padding; 2], size);
        let mut op = InvertedResidual {
            in_height: height,
            in_width: width,
            kernel,
            stride: plan.stride,
            padding,
            border: self.random.i8(),
            expansion: self.layer(plan.hidden, channels),
            table1: self.table8(),
            depthwise: self.layer(plan.hidden, kernel * kernel),
            table2: self.table8(),
            projection: self.layer(plan.channels, plan.hidden),
            residual: None,
        };
        if plan.residual && plan.stride == 1 && op.out_size() == (height, width) {
            op.projection = self.layer(channels, plan.hidden);
            let zero_in = self.random.i8();
            op.residual = Some(Residual { zero_in, mult: self.mult(60.0, 60.0, 16) });
        }
        op
    }

    pub fn embed(
        &mut self,
        plan: &StreamPlan,
        (height, columns, channels): Extent,
        class_token: bool,
    ) -> Embed {
        let size = match self.style {
            Style::Wild => self.random.any_size(32_767) as i64,
            _ => 4000,
        };
        let tokens = height * columns + usize::from(class_token);
        let width = plan.linear.unwrap_or(channels);
        let patch = divisor(plan.patch, &[height, columns]);
        Embed {
            tokens,
            width,
            scaling: if plan.linear.is_some() {
                let Linear { weights, bias, mult, shift } =
                    self.linear(width, channels, 128, 6000.0, true);
                Scaling::Linear { weights, bias, mults: mult, shift }
            } else {
                let mut one = || (self.random.i8().into(), self.mult(60.0, 6000.0, 16));
                if width.is_multiple_of(2) {
                    let (zero_in, mult) = one();
                    Scaling::Plain { zero_in, mult }
                } else {
                    let (zeros, mults) = (0..width).map(|_| one()).unzip();
                    Scaling::Channels { zeros, mults }
                }
            },
            patch,
            columns: if patch == 0 { 0 } else { columns },
            class_token,
            positions: (plan.positions || class_token).then(|| {
                Matrix::from_fn(tokens, width, |_, _| match self.style {
                    Style::Constant(_) => 0,
                    _ => self.random.within(-size - 1, size) as i16,
                })
            }),
        }
    }

    /// Folds in the way the map was unfolded, now and then in raster order.
    pub fn fold(&mut self, patch: usize, (height, columns, width): Extent) -> Fold {
        let patch = if self.random.one_in(4) { 0 } else { patch };
        Fold { height, columns, width, patch, norm: self.norm(width, None) }
    }

    pub fn class_pool(&mut self, tokens: usize, width: usize) -> ClassPool {
        let Norm { epsilon, .. } = self.norm(1, None);
        ClassPool { tokens, width, epsilon, gain16: self.gain16(width) }
    }

    pub fn avg_pool(&mut self, tokens: usize, width: usize) -> AvgPool {
        let shift = self.shift(255 * tokens as i64);
        let from = 100.0 * tokens as f64;
        AvgPool {
            tokens,
            width,
            zero_in: self.random.i8().into(),
            mult: self.mult(from, 6000.0, shift),
            shift,
        }
    }

    pub fn head(&mut self, width: usize, classes: usize) -> Head {
        let Linear { weights, bias, mult, shift } =
            self.linear(classes, width, 32_768, 9000.0, true);
        Head { width, classes, weights, bias, mult, shift }
    }

    fn gain16(&mut self, width: usize) -> Gain16 {
        Gain16 {
            gain: (0..width).map(|_| self.gain(power(24.0))).collect(),
            offset: (0..width).map(|_| self.random.within(-3000, 3000) as i32).collect(),
        }
    }

    /// `groups` is cut down to a divisor of `tokens`.
    pub fn attention(
        &mut self,
        (tokens, width): (usize, usize),
        heads: usize,
        head_dim: usize,
        groups: usize,
    ) -> Attention {
        let inner = heads * head_dim;
        let qkv = self.linear(3 * inner, width, 128, 60.0, false);
        let proj = self.linear(width, inner, 128, 2000.0, true);
        let score_shift = self.shift(2 * 127 * 127 * head_dim as i64);
        let typical = 2000.0 * (head_dim as f64).sqrt();
        Attention {
            tokens,
            width,
            heads,
            head_dim,
            groups: divisor(groups, &[tokens]),
            norm: self.norm(width, None),
            qkv_weights: qkv.weights,
            qkv_bias: qkv.bias,
            qkv_mult: qkv.mult,
            exp_mult: (0..heads).map(|_| self.exp_mult(typical, score_shift)).collect(),
            out_mult: (0..heads).map(|_| self.out_mult(2.0, 0)).collect(),
            proj_weights: proj.weights,
            proj_bias: proj.bias,
            proj_mult: proj.mult,
            score_shift,
            proj_shift: proj.shift,
        }
    }

    /// 256 logit steps are one unit of the exponent, unless wild.
    pub fn logit_exp_mult(&mut self) -> i32 {
        match self.style {
            Style::Wild => self.exp_mult(0.0, 0),
            _ => 128 << 16,
        }
    }

    /// The engine must look exponentials up where the artifact has them, so a wild table holds
    /// anything. Its first entry stays 255: `D` is never less.
    pub fn exp_table(&mut self) -> Vec<u8> {
        let mut table = exp_table();
        if self.style == Style::Wild {
            table[1..].fill_with(|| self.random.bits() as u8);
        }
        table
    }

    /// The numerator of a row multiplier that scales a weighted mean by about `scale`.
    fn out_mult(&mut self, scale: f64, shift: u32) -> u64 {
        if self.style == Style::Wild {
            return self.random.any_size(1 << 62);
        }
        (scale * power(self.random.unit() * 2.0 - 1.0) * power(32.0 - f64::from(shift))) as u64
    }

    pub fn mlp(
        &mut self,
        (tokens, width): (usize, usize),
        hidden: usize,
        gain16: bool,
        twice: bool,
    ) -> Mlp {
        let first = self.linear(hidden, width, 128, 60.0, false);
        let output = if twice { 60.0 } else { 2000.0 };
        let second = self.linear(width, hidden, 128, output, true);
        Mlp {
            tokens,
            width,
            hidden,
            norm: self.norm(width, None),
            gain16: gain16.then(|| self.gain16(width)),
            weights1: first.weights,
            bias1: first.bias,
            mult1: first.mult,
            zero1: self.random.i8().into(),
            table: self.table8(),
            weights2: second.weights,
            bias2: second.bias,
            mult2: second.mult,
            shift: second.shift,
            second: twice.then(|| SecondActivation {
                zero: self.random.i8().into(),
                table: (0..256)
                    .map(|_| match self.style {
                        Style::Wild => self.random.bits() as i16,
                        _ => self.random.within(-3000, 3000) as i16,
                    })
                    .collect(),
            }),
        }
    }

    pub fn seq_pool(&mut self, tokens: usize, width: usize) -> SeqPool {
        let zero = i32::from(self.random.i8());
        let score_shift = self.shift(2 * 127 * 128 * width as i64);
        let out_shift = self.shift(255 * 255 * tokens as i64);
        SeqPool {
            tokens,
            width,
            zero,
            norm: self.norm(width, Some(zero)),
            weights: (0..width).map(|_| self.weight()).collect(),
            exp_mult: self.exp_mult(2500.0 * (width as f64).sqrt(), score_shift),
            out_mult: self.out_mult(100.0, out_shift),
            score_shift,
            out_shift,
        }
    }
}
