use super::{
    Attention, Conv, Embed, Gain16, Head, Matrix, Mlp, Network, Norm, Op, Random, SeqPool,
    exp_table,
};

/// The shape of a network. [`Plan::network`] fills in the constants.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Input channels.
    pub channels: usize,
    /// One or more convolutions.
    pub convs: Vec<ConvPlan>,
    /// Whether there is a positional embedding.
    pub positions: bool,
    /// Sub-blocks of the encoder.
    pub blocks: Vec<BlockPlan>,
    /// Number of logits.
    pub classes: usize,
}

/// Shape of a convolution. Windows that do not fit the map are cut down to it.
#[derive(Clone, Debug)]
pub struct ConvPlan {
    /// Output channels.
    pub channels: usize,
    /// Kernel edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border; cut down to less than the window, so that every window touches the map.
    pub padding: usize,
    /// Max-pooling.
    pub pool: Option<PoolPlan>,
}

/// Shape of a max-pooling.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// Window edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border; cut down to less than the window, so that every window touches the map.
    pub padding: usize,
}

/// Shape of a sub-block.
#[derive(Clone, Debug)]
pub enum BlockPlan {
    /// Attention.
    Attention {
        /// Number of heads.
        heads: usize,
        /// Channels per head.
        head_dim: usize,
    },
    /// MLP.
    Mlp {
        /// Channels between the linear layers.
        hidden: usize,
        /// Whether the norm replaces the residual stream.
        gain16: bool,
    },
}

/// How [`Plan::network`] chooses constants. All keep the promises of the compiler.
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

struct Filler {
    random: Random,
    style: Style,
}

/// Cuts a window down so that it fits the map and always touches it.
fn window(kernel: usize, padding: usize, size: usize) -> (usize, usize) {
    let kernel = kernel.min(size + 2 * padding);
    let padding = padding.min(kernel - 1);
    (kernel.min(size + 2 * padding), padding)
}

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

    fn conv(&mut self, plan: &ConvPlan, height: usize, width: usize, channels: usize) -> Conv {
        let (kernel, padding) = window(plan.kernel, plan.padding, height.min(width));
        let linear = self.linear(plan.channels, kernel * kernel * channels, 128, 80.0, false);
        let zero_out = self.random.i8();
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
            zero_in: (0..channels).map(|_| self.random.i8()).collect(),
            zero_out,
            low: if self.random.one_in(3) { -128 } else { zero_out },
            weights: linear.weights,
            bias: linear.bias,
            mult: linear.mult,
        };
        if let Some(pool) = &plan.pool {
            let (height, width) = conv.map_size();
            (conv.pool_kernel, conv.pool_padding) =
                window(pool.kernel, pool.padding, height.min(width));
            conv.pool_stride = pool.stride;
        }
        conv
    }

    fn embed(&mut self, tokens: usize, width: usize, positions: bool) -> Embed {
        let size = match self.style {
            Style::Wild => self.random.any_size(32_767) as i64,
            _ => 4000,
        };
        Embed {
            tokens,
            width,
            zero_in: self.random.i8().into(),
            mult: self.mult(60.0, 6000.0, 16),
            positions: positions.then(|| {
                Matrix::from_fn(tokens, width, |_, _| match self.style {
                    Style::Constant(_) => 0,
                    _ => self.random.within(-size - 1, size) as i16,
                })
            }),
        }
    }

    fn attention(
        &mut self,
        tokens: usize,
        width: usize,
        heads: usize,
        head_dim: usize,
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
    fn logit_exp_mult(&mut self) -> i32 {
        match self.style {
            Style::Wild => self.exp_mult(0.0, 0),
            _ => 128 << 16,
        }
    }

    /// The engine must look exponentials up where the artifact has them, so a wild table holds
    /// anything. Its first entry stays 255: `D` is never less.
    fn exp_table(&mut self) -> Vec<u8> {
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

    fn mlp(&mut self, tokens: usize, width: usize, hidden: usize, gain16: bool) -> Mlp {
        let first = self.linear(hidden, width, 128, 60.0, false);
        let second = self.linear(width, hidden, 128, 2000.0, true);
        Mlp {
            tokens,
            width,
            hidden,
            norm: self.norm(width, None),
            gain16: gain16.then(|| Gain16 {
                gain: (0..width).map(|_| self.gain(power(24.0))).collect(),
                offset: (0..width).map(|_| self.random.within(-3000, 3000) as i32).collect(),
            }),
            weights1: first.weights,
            bias1: first.bias,
            mult1: first.mult,
            zero1: self.random.i8().into(),
            table: (0..256).map(|_| self.random.i8()).collect(),
            weights2: second.weights,
            bias2: second.bias,
            mult2: second.mult,
            shift: second.shift,
        }
    }

    fn seq_pool(&mut self, tokens: usize, width: usize) -> SeqPool {
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

impl Plan {
    /// A network of this shape with random constants: the same for the same seed and style.
    #[must_use]
    pub fn network(&self, seed: u64, style: Style) -> Network {
        let mut filler = Filler { random: Random::new(seed), style };
        let mut ops = Vec::new();
        let (mut height, mut width, mut channels) = (self.height, self.width, self.channels);
        for plan in &self.convs {
            let conv = filler.conv(plan, height, width, channels);
            (height, width) = conv.out_size();
            channels = conv.out_channels;
            ops.push(Op::Conv(conv));
        }
        let tokens = height * width;
        ops.push(Op::Embed(filler.embed(tokens, channels, self.positions)));
        for block in &self.blocks {
            ops.push(match *block {
                BlockPlan::Attention { heads, head_dim } => {
                    Op::Attention(filler.attention(tokens, channels, heads, head_dim))
                }
                BlockPlan::Mlp { hidden, gain16 } => {
                    Op::Mlp(filler.mlp(tokens, channels, hidden, gain16))
                }
            });
        }
        ops.push(Op::SeqPool(filler.seq_pool(tokens, channels)));
        let head = filler.linear(self.classes, channels, 32_768, 9000.0, true);
        ops.push(Op::Head(Head {
            width: channels,
            classes: self.classes,
            weights: head.weights,
            bias: head.bias,
            mult: head.mult,
            shift: head.shift,
        }));
        Network {
            height: self.height,
            width: self.width,
            channels: self.channels,
            classes: self.classes,
            exp_table: filler.exp_table(),
            logit_exp_mult: filler.logit_exp_mult(),
            logit_shift: 8,
            ops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, OpTrace, Values, build, parse, run};
    use super::*;

    fn plan() -> Plan {
        Plan {
            height: 11,
            width: 9,
            channels: 3,
            convs: vec![
                ConvPlan {
                    channels: 5,
                    kernel: 3,
                    stride: 1,
                    padding: 1,
                    pool: Some(PoolPlan { kernel: 3, stride: 2, padding: 1 }),
                },
                ConvPlan { channels: 14, kernel: 2, stride: 2, padding: 1, pool: None },
            ],
            positions: true,
            blocks: vec![
                BlockPlan::Attention { heads: 2, head_dim: 7 },
                BlockPlan::Mlp { hidden: 31, gain16: true },
                BlockPlan::Mlp { hidden: 3, gain16: false },
                BlockPlan::Attention { heads: 1, head_dim: 1 },
            ],
            classes: 6,
        }
    }

    fn input(seed: u64, len: usize) -> Vec<i8> {
        let mut random = Random::new(seed);
        (0..len).map(|_| random.i8()).collect()
    }

    #[test]
    fn bytes_and_back() {
        for seed in 0..8 {
            for style in [Style::Typical, Style::Wild, Style::Constant(-128)] {
                let network = plan().network(seed, style);
                let artifact = build(&network, Layout::Tight);
                assert_eq!(parse(&artifact), network);
                let input = input(seed, network.input_len());
                assert_eq!(run(&artifact, &input), network.run(&input));
            }
        }
    }

    #[test]
    fn a_tight_arena_is_smaller() {
        let network = plan().network(0, Style::Typical);
        let bytes = |layout| picovit::arena_bytes(&build(&network, layout));
        assert!(bytes(Layout::Tight) < bytes(Layout::Apart));
    }

    /// The typical style is worth testing with: tensors vary, and few of their values saturate.
    #[test]
    fn typical_networks_use_their_ranges() {
        let mut tensors = 0;
        let mut dull = 0;
        for seed in 0..32 {
            let network = plan().network(seed, Style::Typical);
            for trace in network.trace(&input(seed, network.input_len())) {
                let values: Vec<i32> = match trace.output() {
                    Values::I8(m) => m.data().iter().map(|&v| v.into()).collect(),
                    Values::I16(m) => m.data().iter().map(|&v| v.into()).collect(),
                };
                let (low, high) = match trace {
                    OpTrace::Conv(_) => (-128, 127),
                    _ => (-32_768, 32_767),
                };
                let inside = values.iter().filter(|&&v| v > low && v < high).count();
                let mut distinct = values.clone();
                distinct.sort_unstable();
                distinct.dedup();
                tensors += 1;
                dull += usize::from(inside < values.len() / 3 || distinct.len() < 4);
            }
        }
        assert!(dull * 20 < tensors, "{dull} of {tensors} tensors");
    }

    #[test]
    fn probabilities_add_up() {
        let network = plan().network(1, Style::Typical);
        // 256 logit steps are one unit of the exponent: weights 255 and 94, D = 349, and
        // 255 * 65535 / 349 = 47883.9, 94 * 65535 / 349 = 17651.3.
        let p = network.probabilities(&[-32_768, 256, 0, -32_768, -32_768, -32_768]);
        assert_eq!(p, [0, 47_884, 17_651, 0, 0, 0]);
    }
}
