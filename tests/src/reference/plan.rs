use super::filler::{Extent, Filler};
use super::{Network, Op, Random, Second, Style};

/// The shape of a network. [`Plan::network`] fills in the constants.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Input channels.
    pub channels: usize,
    /// From map to map.
    pub stages: Vec<Stage>,
    /// From the last map to one token.
    pub pooling: Pooling,
    /// Number of logits.
    pub classes: usize,
}

/// What makes a map of a map.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A convolution.
    Conv(ConvPlan),
    /// An inverted residual.
    InvertedResidual(InvertedResidualPlan),
    /// A residual stream, folded back.
    Stream(StreamPlan),
}

/// What makes one token of the last map.
#[derive(Clone, Debug)]
pub enum Pooling {
    /// A residual stream and sequence pooling.
    Sequence(StreamPlan),
    /// A residual stream and the norm of its first token.
    ClassToken(StreamPlan),
    /// The mean over all pixels.
    Average,
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
    /// Whether there is an activation table.
    pub table: bool,
    /// Which of the earlier maps of the same extent is a second input; if there is none, so be it.
    pub second: Option<usize>,
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
    /// Border before the map; cut down to less than the window, so that every window touches the
    /// map.
    pub padding: usize,
    /// Border behind the map, likewise.
    pub padding_after: usize,
}

/// Shape of an inverted residual. The window is cut down to the map.
#[derive(Clone, Debug)]
pub struct InvertedResidualPlan {
    /// Output channels, unless the input is added.
    pub channels: usize,
    /// Channels between the pointwise convolutions.
    pub hidden: usize,
    /// Depthwise kernel edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border; cut down to less than the window.
    pub padding: usize,
    /// Whether the input is added, if the output has its extent and the step is 1.
    pub residual: bool,
}

/// Shape of a residual stream.
#[derive(Clone, Debug, Default)]
pub struct StreamPlan {
    /// Width of the tokens behind a linear layer, if there is one.
    pub linear: Option<usize>,
    /// Edge of the patches to unfold, cut down to a divisor of the map's; 0 for raster order.
    pub patch: usize,
    /// Whether there is a class token; in a stream that is folded back there is none.
    pub class_token: bool,
    /// Whether there is a positional embedding; with a class token there always is.
    pub positions: bool,
    /// Sub-blocks of the encoder.
    pub blocks: Vec<BlockPlan>,
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
        /// Runs of tokens; cut down to a divisor of the number of tokens.
        groups: usize,
    },
    /// MLP.
    Mlp {
        /// Channels between the linear layers.
        hidden: usize,
        /// Whether the norm replaces the residual stream.
        gain16: bool,
        /// Whether there is an activation behind the second layer.
        twice: bool,
    },
}

/// A network while it grows.
struct Draft {
    filler: Filler,
    ops: Vec<Op>,
    /// The map at hand.
    extent: Extent,
    /// Maps that nothing has overwritten yet, by the index of their operation.
    maps: Vec<(Option<usize>, Extent)>,
}

impl Draft {
    fn last(&self) -> Option<usize> {
        self.ops.len().checked_sub(1)
    }

    /// An operation whose output is a map.
    fn map(&mut self, op: Op, extent: Extent) {
        if op.in_place() {
            self.maps.pop();
        }
        self.ops.push(op);
        self.maps.push((self.last(), extent));
        self.extent = extent;
    }

    fn conv(&mut self, plan: &ConvPlan) {
        let (height, width, _) = self.extent;
        let same: Vec<Second> = self
            .maps
            .iter()
            .filter(|&&(of, (h, w, _))| of != self.last() && (h, w) == (height, width))
            .map(|&(of, (_, _, channels))| Second { channels, of })
            .collect();
        let second = plan.second.filter(|_| !same.is_empty()).map(|n| same[n % same.len()]);
        let conv = self.filler.conv(plan, self.extent, second);
        let (height, width) = conv.out_size();
        let extent = (height, width, conv.out_channels);
        self.map(Op::Conv(conv), extent);
    }

    fn inverted_residual(&mut self, plan: &InvertedResidualPlan) {
        let op = self.filler.inverted_residual(plan, self.extent);
        let (height, width) = op.out_size();
        let extent = (height, width, op.out_channels());
        self.map(Op::InvertedResidual(op), extent);
    }

    /// The stream of the map at hand: its tokens and their width.
    fn stream(&mut self, plan: &StreamPlan, class_token: bool) -> (usize, usize) {
        let embed = self.filler.embed(plan, self.extent, class_token);
        let shape = (embed.tokens, embed.width);
        self.ops.push(Op::Embed(embed));
        for block in &plan.blocks {
            self.ops.push(match *block {
                BlockPlan::Attention { heads, head_dim, groups } => {
                    Op::Attention(self.filler.attention(shape, heads, head_dim, groups))
                }
                BlockPlan::Mlp { hidden, gain16, twice } => {
                    Op::Mlp(self.filler.mlp(shape, hidden, gain16, twice))
                }
            });
        }
        shape
    }

    fn folded(&mut self, plan: &StreamPlan) {
        let at = self.ops.len();
        let (_, channels) = self.stream(plan, false);
        let (height, width, _) = self.extent;
        let Op::Embed(embed) = &self.ops[at] else { unreachable!("a stream starts so") };
        let fold = self.filler.fold(embed, height, width);
        self.map(Op::Fold(fold), (height, width, channels));
    }

    /// The token that the classifier sees: its width.
    fn pooled(&mut self, pooling: &Pooling) -> usize {
        let (op, width) = match pooling {
            Pooling::Sequence(plan) => {
                let (tokens, width) = self.stream(plan, plan.class_token);
                (Op::SeqPool(self.filler.seq_pool(tokens, width)), width)
            }
            Pooling::ClassToken(plan) => {
                let (tokens, width) = self.stream(plan, plan.class_token);
                (Op::ClassPool(self.filler.class_pool(tokens, width)), width)
            }
            Pooling::Average => {
                let (rows, columns, channels) = self.extent;
                (Op::AvgPool(self.filler.avg_pool(rows * columns, channels)), channels)
            }
        };
        self.ops.push(op);
        width
    }
}

impl Plan {
    /// A network of this shape with random constants: the same for the same seed and style.
    #[must_use]
    pub fn network(&self, seed: u64, style: Style) -> Network {
        let extent = (self.height, self.width, self.channels);
        let filler = Filler { random: Random::new(seed), style };
        let mut draft = Draft { filler, ops: vec![], extent, maps: vec![(None, extent)] };
        for stage in &self.stages {
            match stage {
                Stage::Conv(plan) => draft.conv(plan),
                Stage::InvertedResidual(plan) => draft.inverted_residual(plan),
                Stage::Stream(plan) => draft.folded(plan),
            }
        }
        let width = draft.pooled(&self.pooling);
        let head = draft.filler.head(width, self.classes);
        draft.ops.push(Op::Head(head));
        Network {
            height: self.height,
            width: self.width,
            channels: self.channels,
            classes: self.classes,
            exp_table: draft.filler.exp_table(),
            logit_exp_mult: draft.filler.logit_exp_mult(),
            logit_shift: 8,
            ops: draft.ops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, Values, build, parse, run};
    use super::*;

    fn conv(channels: usize, kernel: usize, stride: usize, second: Option<usize>) -> ConvPlan {
        let pool = (kernel == 3).then_some(PoolPlan {
            kernel: 3,
            stride: 2,
            padding: 1,
            padding_after: 2,
        });
        ConvPlan { channels, kernel, stride, padding: 1, table: second.is_some(), second, pool }
    }

    fn plan(pooling: fn(StreamPlan) -> Pooling) -> Plan {
        let inverted = |stride, residual| {
            Stage::InvertedResidual(InvertedResidualPlan {
                channels: 9,
                hidden: 21,
                kernel: 3,
                stride,
                padding: 1,
                residual,
            })
        };
        let folded = StreamPlan {
            linear: Some(10),
            patch: 2,
            blocks: vec![BlockPlan::Attention { heads: 1, head_dim: 5, groups: 4 }],
            ..StreamPlan::default()
        };
        let last = StreamPlan {
            class_token: true,
            positions: true,
            blocks: vec![
                BlockPlan::Attention { heads: 2, head_dim: 7, groups: 1 },
                BlockPlan::Mlp { hidden: 31, gain16: true, twice: false },
                BlockPlan::Mlp { hidden: 3, gain16: false, twice: true },
                BlockPlan::Attention { heads: 1, head_dim: 1, groups: 1 },
            ],
            ..StreamPlan::default()
        };
        Plan {
            height: 11,
            width: 9,
            channels: 3,
            stages: vec![
                Stage::Conv(conv(5, 3, 1, None)),
                inverted(1, true),
                inverted(1, false),
                Stage::Stream(folded),
                Stage::Conv(ConvPlan { kernel: 1, padding: 0, ..conv(8, 1, 1, Some(0)) }),
                inverted(2, true),
                Stage::Conv(conv(14, 2, 1, None)),
            ],
            pooling: pooling(last),
            classes: 6,
        }
    }

    const POOLINGS: [fn(StreamPlan) -> Pooling; 3] =
        [Pooling::Sequence, Pooling::ClassToken, |_| Pooling::Average];

    fn input(seed: u64, len: usize) -> Vec<i8> {
        let mut random = Random::new(seed);
        (0..len).map(|_| random.i8()).collect()
    }

    #[test]
    fn bytes_and_back() {
        for (seed, pooling) in (0..9).zip(POOLINGS.into_iter().cycle()) {
            for style in [Style::Typical, Style::Wild, Style::Constant(-128)] {
                let network = plan(pooling).network(seed, style);
                for layout in [Layout::Apart, Layout::Tight] {
                    let artifact = build(&network, layout);
                    assert_eq!(parse(&artifact), network);
                    let input = input(seed, network.input_len());
                    assert_eq!(run(&artifact, &input), network.run(&input));
                }
            }
        }
    }

    /// The plan of these tests has what it is meant to have.
    #[test]
    fn plans_keep_their_features() {
        let network = plan(Pooling::ClassToken).network(0, Style::Typical);
        let Op::Conv(first) = &network.ops[0] else { panic!() };
        assert_eq!((first.pool_padding, first.pool_padding_after), (1, 2));
        let Op::InvertedResidual(block) = &network.ops[1] else { panic!() };
        assert!(block.residual.is_some());
        let Op::Embed(embed) = &network.ops[3] else { panic!() };
        assert_eq!((embed.patch, embed.in_channels(), embed.width), (1, 9, 10));
        let seconds: Vec<Second> = network.ops.iter().filter_map(Op::second).collect();
        assert_eq!(seconds, [Second { channels: 5, of: Some(1) }]);
        let embed = network.ops.iter().rev().find_map(|op| match op {
            Op::Embed(embed) => Some(embed),
            _ => None,
        });
        assert!(embed.unwrap().class_token);
    }

    #[test]
    fn a_tight_arena_is_smaller() {
        let network = plan(Pooling::Sequence).network(0, Style::Typical);
        let bytes = |layout| picovit::arena_bytes(&build(&network, layout));
        assert!(bytes(Layout::Tight) < bytes(Layout::Apart));
    }

    /// The typical style is worth testing with: tensors vary, and few of their values saturate.
    #[test]
    fn typical_networks_use_their_ranges() {
        let mut tensors = 0;
        let mut dull = 0;
        for seed in 0..32 {
            let pooling = POOLINGS[seed as usize % 3];
            let network = plan(pooling).network(seed, Style::Typical);
            for trace in network.trace(&input(seed, network.input_len())) {
                let values: Vec<i32> = match trace.output() {
                    Values::I8(m) => m.data().iter().map(|&v| v.into()).collect(),
                    Values::I16(m) => m.data().iter().map(|&v| v.into()).collect(),
                };
                let (low, high) = match trace.output() {
                    Values::I8(_) => (-128, 127),
                    Values::I16(_) => (-32_768, 32_767),
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
        let network = plan(Pooling::Sequence).network(1, Style::Typical);
        // 256 logit steps are one unit of the exponent: weights 255 and 94, D = 349, and
        // 255 * 65535 / 349 = 47883.9, 94 * 65535 / 349 = 17651.3.
        let p = network.probabilities(&[-32_768, 256, 0, -32_768, -32_768, -32_768]);
        assert_eq!(p, [0, 47_884, 17_651, 0, 0, 0]);
    }
}
