use picovit::format::float::Conversion;

use super::filler::{Extent, Filler};
use super::{FloatOp, Network, Op, Random, Second, Style};

/// What the operations of a network compute with: its number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Integers.
    Int8,
    /// Floats.
    F16,
    /// Either, by chance.
    Mixed,
}

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

/// Where a conversion stands.
#[derive(Clone, Copy)]
enum Place {
    Map,
    Tokens,
    Pooled,
}

/// A network while it grows.
struct Draft {
    filler: Filler,
    numbers: Numbers,
    /// Whether the value at hand is one of floats.
    float: bool,
    ops: Vec<Op>,
    /// The map at hand.
    extent: Extent,
    /// Maps that nothing has overwritten yet, by the index of their operation, and whether they are
    /// of floats.
    maps: Vec<(Option<usize>, Extent, bool)>,
}

impl Draft {
    fn last(&self) -> Option<usize> {
        self.ops.len().checked_sub(1)
    }

    /// Whether the next operation computes with floats.
    fn floats(&mut self) -> bool {
        match self.numbers {
            Numbers::Int8 => false,
            Numbers::F16 => true,
            Numbers::Mixed => self.filler.random.one_in(2),
        }
    }

    /// Chooses the numbers of the next operation and converts the value at hand to them.
    fn switch(&mut self, place: Place, extent: Extent) -> bool {
        let float = self.floats();
        if float != self.float {
            self.convert(place, extent);
        }
        float
    }

    fn convert(&mut self, place: Place, extent: Extent) {
        let conversion = match (place, self.float) {
            (Place::Map, false) => Conversion::MapToFloat,
            (Place::Map, true) => Conversion::MapToInt,
            (Place::Tokens, false) => Conversion::TokensToFloat,
            (Place::Tokens, true) => Conversion::TokensToInt,
            (Place::Pooled, false) => Conversion::PooledToFloat,
            (Place::Pooled, true) => Conversion::PooledToInt,
        };
        let op = Op::Float(FloatOp::Convert(self.filler.convert(conversion, extent)));
        self.float = !self.float;
        match place {
            Place::Map => self.map(op, extent),
            Place::Tokens | Place::Pooled => self.ops.push(op),
        }
    }

    /// An operation whose output is a map.
    fn map(&mut self, op: Op, extent: Extent) {
        if op.in_place() {
            self.maps.pop();
        }
        self.ops.push(op);
        self.maps.push((self.last(), extent, self.float));
        self.extent = extent;
    }

    fn conv(&mut self, plan: &ConvPlan) {
        let float = self.floats();
        // A convolution on floats can take an int8 map as it is.
        let int8 =
            float && !self.float && (self.numbers == Numbers::F16 || self.filler.random.one_in(2));
        if float != self.float && !int8 {
            self.convert(Place::Map, self.extent);
        }
        let (height, width, _) = self.extent;
        let same: Vec<Second> = self
            .maps
            .iter()
            .filter(|&&(of, (h, w, _), real)| {
                of != self.last() && (h, w) == (height, width) && real == float && !int8
            })
            .map(|&(of, (_, _, channels), _)| Second { channels, of })
            .collect();
        let second = plan.second.filter(|_| !same.is_empty()).map(|n| same[n % same.len()]);
        if float {
            let conv = self.filler.float_conv(plan, self.extent, int8, second);
            let (height, width) = conv.out_size();
            let extent = (height, width, conv.out_channels());
            self.float = true;
            return self.map(Op::Float(FloatOp::Conv(conv)), extent);
        }
        let conv = self.filler.conv(plan, self.extent, second);
        let (height, width) = conv.out_size();
        let extent = (height, width, conv.out_channels);
        self.map(Op::Conv(conv), extent);
    }

    fn inverted_residual(&mut self, plan: &InvertedResidualPlan) {
        if self.switch(Place::Map, self.extent) {
            let op = self.filler.float_inverted_residual(plan, self.extent);
            let (height, width) = op.out_size();
            let extent = (height, width, op.out_channels());
            return self.map(Op::Float(FloatOp::InvertedResidual(op)), extent);
        }
        let op = self.filler.inverted_residual(plan, self.extent);
        let (height, width) = op.out_size();
        let extent = (height, width, op.out_channels());
        self.map(Op::InvertedResidual(op), extent);
    }

    /// The start of a stream: its tokens, their width, and the edge of its patches.
    fn embed(&mut self, plan: &StreamPlan, class_token: bool) -> (usize, usize, usize) {
        if self.switch(Place::Map, self.extent) {
            let embed = self.filler.float_embed(plan, self.extent, class_token);
            let shape = (embed.tokens, embed.width, embed.patch);
            self.ops.push(Op::Float(FloatOp::Embed(embed)));
            return shape;
        }
        let embed = self.filler.embed(plan, self.extent, class_token);
        let shape = (embed.tokens, embed.width, embed.patch);
        self.ops.push(Op::Embed(embed));
        shape
    }

    /// The stream of the map at hand: its tokens, their width, and the edge of its patches.
    fn stream(&mut self, plan: &StreamPlan, class_token: bool) -> (usize, usize, usize) {
        let (tokens, width, patch) = self.embed(plan, class_token);
        let shape = (tokens, width);
        for block in &plan.blocks {
            let float = self.switch(Place::Tokens, (tokens, 1, width));
            let filler = &mut self.filler;
            self.ops.push(match *block {
                BlockPlan::Attention { heads, head_dim, groups } if float => {
                    let op = filler.float_attention(shape, heads, head_dim, groups);
                    Op::Float(FloatOp::Attention(op))
                }
                BlockPlan::Attention { heads, head_dim, groups } => {
                    Op::Attention(filler.attention(shape, heads, head_dim, groups))
                }
                BlockPlan::Mlp { hidden, gain16, twice } if float => {
                    Op::Float(FloatOp::Mlp(filler.float_mlp(shape, hidden, gain16, twice)))
                }
                BlockPlan::Mlp { hidden, gain16, twice } => {
                    Op::Mlp(filler.mlp(shape, hidden, gain16, twice))
                }
            });
        }
        (tokens, width, patch)
    }

    fn folded(&mut self, plan: &StreamPlan) {
        let (tokens, channels, patch) = self.stream(plan, false);
        let extent = (self.extent.0, self.extent.1, channels);
        let fold = if self.switch(Place::Tokens, (tokens, 1, channels)) {
            Op::Float(FloatOp::Fold(self.filler.float_fold(patch, extent)))
        } else {
            Op::Fold(self.filler.fold(patch, extent))
        };
        self.map(fold, extent);
    }

    /// The token that the classifier sees: its width.
    fn pooled(&mut self, pooling: &Pooling) -> usize {
        let (tokens, width) = match pooling {
            Pooling::Sequence(plan) | Pooling::ClassToken(plan) => {
                let (tokens, width, _) = self.stream(plan, plan.class_token);
                (tokens, width)
            }
            Pooling::Average => (self.extent.0 * self.extent.1, self.extent.2),
        };
        let float = match pooling {
            Pooling::Average => self.switch(Place::Map, self.extent),
            _ => self.switch(Place::Tokens, (tokens, 1, width)),
        };
        let filler = &mut self.filler;
        self.ops.push(match (pooling, float) {
            (Pooling::Sequence(_), false) => Op::SeqPool(filler.seq_pool(tokens, width)),
            (Pooling::ClassToken(_), false) => Op::ClassPool(filler.class_pool(tokens, width)),
            (Pooling::Average, false) => Op::AvgPool(filler.avg_pool(tokens, width)),
            (Pooling::Sequence(_), true) => {
                Op::Float(FloatOp::SeqPool(filler.float_seq_pool(tokens, width)))
            }
            (Pooling::ClassToken(_), true) => {
                Op::Float(FloatOp::ClassPool(filler.float_class_pool(tokens, width)))
            }
            (Pooling::Average, true) => {
                Op::Float(FloatOp::AvgPool(filler.float_avg_pool(tokens, width)))
            }
        });
        width
    }
}

impl Plan {
    /// An int8 network of this shape with random constants: the same for the same seed and style.
    #[must_use]
    pub fn network(&self, seed: u64, style: Style) -> Network {
        self.network_of(Numbers::Int8, seed, style)
    }

    /// A network on such numbers. The style is that of integer operations. On floats alone, a
    /// convolution is put in front where nothing else could take the image.
    #[must_use]
    pub fn network_of(&self, numbers: Numbers, seed: u64, style: Style) -> Network {
        let extent = (self.height, self.width, self.channels);
        let filler = Filler { random: Random::new(seed), style };
        let (ops, maps) = (vec![], vec![(None, extent, false)]);
        let mut draft = Draft { filler, numbers, float: false, ops, extent, maps };
        if numbers == Numbers::F16 && !matches!(self.stages.first(), Some(Stage::Conv(_))) {
            let (table, second, pool) = (false, None, None);
            draft.conv(&ConvPlan {
                channels: 3,
                kernel: 1,
                stride: 1,
                padding: 0,
                table,
                second,
                pool,
            });
        }
        for stage in &self.stages {
            match stage {
                Stage::Conv(plan) => draft.conv(plan),
                Stage::InvertedResidual(plan) => draft.inverted_residual(plan),
                Stage::Stream(plan) => draft.folded(plan),
            }
        }
        let width = draft.pooled(&self.pooling);
        let head = if draft.switch(Place::Pooled, (1, 1, width)) {
            Op::Float(FloatOp::Head(draft.filler.float_head(width, self.classes)))
        } else {
            Op::Head(draft.filler.head(width, self.classes))
        };
        draft.ops.push(head);
        Network {
            height: self.height,
            width: self.width,
            channels: self.channels,
            classes: self.classes,
            format: numbers as u8,
            exp_table: draft.filler.exp_table(),
            logit_exp_mult: draft.filler.logit_exp_mult(),
            logit_shift: 8,
            ops: draft.ops,
        }
    }
}

#[cfg(test)]
mod tests {
    use picovit::format::Packing;

    use super::super::{Layout, Values, build, build_packed, parse, run};
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
                bytes_and_back_of(&network, seed);
            }
            for numbers in [Numbers::F16, Numbers::Mixed] {
                let network = plan(pooling).network_of(numbers, seed, Style::Typical);
                bytes_and_back_of(&network, seed);
            }
        }
    }

    fn bytes_and_back_of(network: &Network, seed: u64) {
        for layout in [Layout::Apart, Layout::Tight] {
            let artifact = build(network, layout);
            assert_eq!(parse(&artifact), *network);
            let input = input(seed, network.input_len());
            assert_eq!(run(&artifact, &input), network.run(&input));
        }
    }

    #[test]
    fn packed_and_back() {
        for (seed, pooling) in (0..9).zip(POOLINGS.into_iter().cycle()) {
            for packing in Packing::ALL {
                let network = plan(pooling).network(seed, Style::Typical);
                let artifact = build_packed(&network, Layout::Tight, packing);
                assert_eq!(parse(&artifact), network, "{packing:?}");
            }
        }
    }

    /// Floats stay finite, vary, and give logits within their range.
    #[test]
    fn float_networks_use_their_ranges() {
        let (mut tensors, mut dull) = (0, 0);
        for seed in 0..32 {
            let network =
                plan(POOLINGS[seed as usize % 3]).network_of(Numbers::F16, seed, Style::Typical);
            for trace in network.trace(&input(seed, network.input_len())) {
                let values: Vec<f32> = match trace.output() {
                    Values::F32(m) => m.data().to_vec(),
                    Values::I16(m) => m.data().iter().map(|&v| v.into()).collect(),
                    Values::I8(_) => panic!("integers"),
                };
                let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                assert!(values.iter().all(|v| v.is_finite()));
                let distinct: std::collections::BTreeSet<u32> =
                    values.iter().map(|v| v.to_bits()).collect();
                tensors += 1;
                dull += usize::from(!(0.1..=32_767.0).contains(&largest) || distinct.len() < 4);
            }
        }
        assert!(dull * 20 < tensors, "{dull} of {tensors} tensors");
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
                    Values::F32(_) => panic!("floats"),
                };
                let (low, high) = match trace.output() {
                    Values::I8(_) => (-128, 127),
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
        let network = plan(Pooling::Sequence).network(1, Style::Typical);
        // 256 logit steps are one unit of the exponent: weights 255 and 94, D = 349, and
        // 255 * 65535 / 349 = 47883.9, 94 * 65535 / 349 = 17651.3.
        let p = network.probabilities(&[-32_768, 256, 0, -32_768, -32_768, -32_768]);
        assert_eq!(p, [0, 47_884, 17_651, 0, 0, 0]);
    }
}
