//! Random networks of any shape.

use std::collections::BTreeMap;
use std::ops::Range;

use picovit_tests::reference::{
    BlockPlan, ConvPlan, InvertedResidualPlan, Op, Plan, PoolPlan, Pooling, Scaling, Stage,
    StreamPlan, Style,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::{cases, check, pointwise};

pub fn conv_plan(channels: Range<usize>) -> impl Strategy<Value = ConvPlan> {
    let pool = (1..5usize, 1..4usize, 0..4usize, 0..4usize).prop_map(
        |(kernel, stride, padding, padding_after)| PoolPlan {
            kernel,
            stride,
            padding,
            padding_after,
        },
    );
    let window = (1..8usize, 1..3usize, 0..4usize);
    let (second, pool) = (prop::option::of(0..8usize), prop::option::of(pool));
    (channels, window, any::<bool>(), second, pool).prop_map(
        |(channels, (kernel, stride, padding), table, second, pool)| ConvPlan {
            channels,
            kernel,
            stride,
            padding,
            table,
            second,
            pool,
        },
    )
}

/// A convolution that keeps the extent of the map, as second inputs and additions need it.
pub fn same_conv_plan(channels: Range<usize>) -> impl Strategy<Value = ConvPlan> {
    (conv_plan(channels), 0..3usize).prop_map(|(plan, padding)| ConvPlan {
        kernel: 2 * padding + 1,
        stride: 1,
        padding,
        pool: None,
        ..plan
    })
}

pub fn inverted_residual_plan(
    channels: Range<usize>,
    hidden: Range<usize>,
) -> impl Strategy<Value = InvertedResidualPlan> {
    let window = prop_oneof![
        (1..6usize, 1..4usize, 0..5usize),
        (0..3usize).prop_map(|padding| (2 * padding + 1, 1, padding)),
    ];
    (channels, hidden, window, any::<bool>()).prop_map(
        |(channels, hidden, (kernel, stride, padding), residual)| InvertedResidualPlan {
            channels,
            hidden,
            kernel,
            stride,
            padding,
            residual,
        },
    )
}

pub fn attention_plan(head_dim: Range<usize>) -> impl Strategy<Value = BlockPlan> {
    (1..5usize, head_dim, 1..7usize).prop_map(|(heads, head_dim, groups)| BlockPlan::Attention {
        heads,
        head_dim,
        groups,
    })
}

pub fn mlp_plan(hidden: Range<usize>) -> impl Strategy<Value = BlockPlan> {
    (hidden, any::<bool>(), any::<bool>()).prop_map(|(hidden, gain16, twice)| BlockPlan::Mlp {
        hidden,
        gain16,
        twice,
    })
}

pub fn stream_plan(
    width: Range<usize>,
    blocks: impl Strategy<Value = Vec<BlockPlan>>,
) -> impl Strategy<Value = StreamPlan> {
    (prop::option::of(width), 0..4usize, any::<bool>(), any::<bool>(), blocks).prop_map(
        |(linear, patch, class_token, positions, blocks)| StreamPlan {
            linear,
            patch,
            class_token,
            positions,
            blocks,
        },
    )
}

pub fn blocks() -> impl Strategy<Value = Vec<BlockPlan>> {
    prop::collection::vec(prop_oneof![attention_plan(1..14), mlp_plan(1..40)], 0..4)
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        3 => conv_plan(1..24).prop_map(Stage::Conv),
        3 => same_conv_plan(1..24).prop_map(Stage::Conv),
        3 => inverted_residual_plan(1..24, 1..40).prop_map(Stage::InvertedResidual),
        2 => stream_plan(1..24, blocks()).prop_map(Stage::Stream),
    ]
}

pub fn pooling(stream: impl Strategy<Value = StreamPlan>) -> impl Strategy<Value = Pooling> {
    (stream, 0..3).prop_map(|(stream, which)| match which {
        0 => Pooling::Sequence(stream),
        1 => Pooling::ClassToken(stream),
        _ => Pooling::Average,
    })
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![3 => Just(Style::Typical), 2 => Just(Style::Wild)]
}

/// Whole networks of any small shape.
pub fn any_plan() -> impl Strategy<Value = Plan> {
    (
        (1..15usize, 1..15usize, prop_oneof![Just(1usize), Just(3)]),
        prop::collection::vec(stage(), 0..6),
        pooling(stream_plan(1..24, blocks())),
        1..13usize,
    )
        .prop_map(|((height, width, channels), stages, pooling, classes)| Plan {
            height,
            width,
            channels,
            stages,
            pooling,
            classes,
        })
}

/// A map of any extent, and what is to be looked at.
pub fn stages_plan(
    extent: usize,
    stages: impl Strategy<Value = Vec<Stage>>,
) -> impl Strategy<Value = Plan> {
    (1..extent, 1..extent, prop_oneof![Just(1usize), Just(3)], stages).prop_map(
        |(height, width, channels, stages)| Plan {
            height,
            width,
            channels,
            stages,
            pooling: Pooling::Average,
            classes: 1,
        },
    )
}

/// Tokens of any number and width for one sub-block.
pub fn block_plan(block: impl Strategy<Value = BlockPlan>) -> impl Strategy<Value = Plan> {
    let stream = stream_plan(1..100, block.prop_map(|block| vec![block]));
    (1..12usize, 1..9usize, 1..100usize, stream).prop_map(|(height, width, channels, stream)| {
        Plan {
            height,
            width,
            channels: 1,
            stages: vec![pointwise(channels)],
            pooling: Pooling::Sequence(stream),
            classes: 2,
        }
    })
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn whole_networks(plan in any_plan(), seed: u64, style in style()) {
        check(&plan, seed, style)?;
    }

    /// The first makes any number of channels, the last is the one to look at.
    #[test]
    fn convolution(
        plan in stages_plan(24, (1..10usize, conv_plan(1..40)).prop_map(|(first, conv)| {
            vec![pointwise(first), Stage::Conv(conv)]
        })),
        seed: u64,
        style in style(),
    ) {
        check(&plan, seed, style)?;
    }

    /// A second input from some way back, over operations that work in place and apart.
    #[test]
    fn concatenation(
        plan in stages_plan(13, (
            1..10usize,
            same_conv_plan(1..20),
            inverted_residual_plan(1..10, 1..20),
            conv_plan(1..20),
            0..5usize,
        ).prop_map(|(first, between, inverted, conv, second)| vec![
            pointwise(first),
            Stage::Conv(between),
            Stage::InvertedResidual(inverted),
            Stage::Conv(ConvPlan { second: Some(second), ..conv }),
        ])),
        seed: u64,
        style in style(),
    ) {
        check(&plan, seed, style)?;
    }

    #[test]
    fn inverted_residual(
        plan in stages_plan(16, (1..30usize, inverted_residual_plan(1..40, 1..80)).prop_map(
            |(first, inverted)| vec![pointwise(first), Stage::InvertedResidual(inverted)],
        )),
        seed: u64,
        style in style(),
    ) {
        check(&plan, seed, style)?;
    }

    /// Maps whose sides share the edge of the patches.
    #[test]
    fn unfolding_and_folding(
        patch in 1..4usize,
        rows in 1..6usize,
        columns in 1..6usize,
        first in 1..10usize,
        stream in stream_plan(1..40, blocks()),
        last in same_conv_plan(1..10),
        pooling in pooling(stream_plan(1..24, blocks())),
        seed: u64,
        style in style(),
    ) {
        let stream = StreamPlan { patch, ..stream };
        let plan = Plan {
            height: patch * rows, width: patch * columns, channels: 1,
            stages: vec![pointwise(first), Stage::Stream(stream), Stage::Conv(last)],
            pooling, classes: 3,
        };
        check(&plan, seed, style)?;
    }

    #[test]
    fn attention(plan in block_plan(attention_plan(1..40)), seed: u64, style in style()) {
        check(&plan, seed, style)?;
    }

    #[test]
    fn mlp(plan in block_plan(mlp_plan(1..200)), seed: u64, style in style()) {
        check(&plan, seed, style)?;
    }

    #[test]
    fn pooling_and_classifier(
        height in 1..16usize,
        width in 1..16usize,
        channels in 1..300usize,
        pooling in pooling(stream_plan(1..300, Just(vec![]))),
        classes in 1..40usize,
        seed: u64,
        style in style(),
    ) {
        let stages = vec![pointwise(channels)];
        check(&Plan { height, width, channels: 1, stages, pooling, classes }, seed, style)?;
    }
}

/// The random networks have what there is to have, each often enough to mean something.
#[test]
fn every_feature_comes_up() {
    let mut runner = TestRunner::new(cases(256));
    let mut counts = BTreeMap::<&str, usize>::new();
    for seed in 0..256 {
        let plan = any_plan().new_tree(&mut runner).unwrap().current();
        let mut count = |name, found: bool| *counts.entry(name).or_default() += usize::from(found);
        for op in plan.network(seed, Style::Typical).ops {
            match op {
                Op::Conv(op) => {
                    let uneven = op.pool_padding != op.pool_padding_after;
                    count("table", op.table.is_some() && op.pool_kernel == 0);
                    count("table, pooled", op.table.is_some() && op.pool_kernel > 0);
                    count("second input", op.second.is_some());
                    count("second input, the image", op.second.is_some_and(|s| s.of.is_none()));
                    count("uneven border", uneven);
                }
                Op::Embed(op) => {
                    count("unfolded", op.patch > 1);
                    count("class token", op.class_token);
                    count("linear", matches!(op.scaling, Scaling::Linear { .. }));
                    count("plain", matches!(op.scaling, Scaling::Plain { .. }));
                    count("channels", matches!(op.scaling, Scaling::Channels { .. }));
                }
                Op::Attention(op) => count("groups", op.groups > 1),
                Op::Mlp(op) => {
                    count("second activation", op.second.is_some());
                    count("norm as residual", op.gain16.is_some());
                }
                Op::InvertedResidual(op) => {
                    count("in place", op.residual.is_some());
                    count("apart", op.residual.is_none());
                    count("step", op.stride > 1 && op.out_size() != (1, 1));
                }
                Op::Fold(op) => count("folded", op.patch > 1),
                Op::SeqPool(_) => count("sequence pooling", true),
                Op::ClassPool(_) => count("class token pooling", true),
                Op::AvgPool(_) => count("mean", true),
                Op::Head(_) => {}
                Op::Float(_) => panic!("floats in an int8 network"),
            }
        }
    }
    assert_eq!(counts.len(), 20);
    assert!(counts.values().all(|&count| count >= 8), "{counts:?}");
}
