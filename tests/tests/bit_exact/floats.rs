//! Random networks on floats, and on floats and integers in turn.

use std::collections::BTreeMap;

use half::f16;
use picovit::format::float::Activation;
use picovit_tests::reference::floats::FloatLayer;
use picovit_tests::reference::{
    BlockPlan, ConvPlan, FloatOp, Matrix, Numbers, Op, Plan, PoolPlan, Pooling, Random, Stage,
    StreamPlan, Style, Values,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::comparison::compare;
use crate::shapes::{
    any_plan, attention_plan, block_plan, blocks, conv_plan, inverted_residual_plan, mlp_plan,
    pooling, same_conv_plan, stages_plan, stream_plan,
};
use crate::{attention, cases, pointwise, random_input, small_plan};

fn numbers() -> impl Strategy<Value = Numbers> {
    prop_oneof![Just(Numbers::F16), Just(Numbers::Mixed)]
}

fn check(plan: &Plan, numbers: Numbers, seed: u64) -> Result<(), TestCaseError> {
    let network = plan.network_of(numbers, seed, Style::Typical);
    let input = random_input(&network, seed);
    compare(&network, &input).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn float_networks(plan in any_plan(), seed: u64) {
        check(&plan, Numbers::F16, seed)?;
    }

    #[test]
    fn mixed_networks(plan in any_plan(), seed: u64) {
        check(&plan, Numbers::Mixed, seed)?;
    }

    /// The first makes any number of channels, the last is the one to look at.
    #[test]
    fn float_convolution(
        plan in stages_plan(24, (1..10usize, conv_plan(1..40)).prop_map(|(first, conv)| {
            vec![pointwise(first), Stage::Conv(conv)]
        })),
        numbers in numbers(),
        seed: u64,
    ) {
        check(&plan, numbers, seed)?;
    }

    /// Of the image, in one step.
    #[test]
    fn float_convolution_of_the_image(
        plan in stages_plan(24, conv_plan(1..40).prop_map(|conv| vec![Stage::Conv(conv)])),
        seed: u64,
    ) {
        check(&plan, Numbers::F16, seed)?;
    }

    /// A second input from some way back.
    #[test]
    fn float_concatenation(
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
        numbers in numbers(),
        seed: u64,
    ) {
        check(&plan, numbers, seed)?;
    }

    #[test]
    fn float_inverted_residual(
        plan in stages_plan(16, (1..30usize, inverted_residual_plan(1..40, 1..80)).prop_map(
            |(first, inverted)| vec![pointwise(first), Stage::InvertedResidual(inverted)],
        )),
        numbers in numbers(),
        seed: u64,
    ) {
        check(&plan, numbers, seed)?;
    }

    /// Maps whose sides share the edge of the patches.
    #[test]
    fn float_unfolding_and_folding(
        (patch, rows, columns) in (1..4usize, 1..6usize, 1..6usize),
        first in 1..10usize,
        stream in stream_plan(1..40, blocks()),
        last in same_conv_plan(1..10),
        pooling in pooling(stream_plan(1..24, blocks())),
        numbers in numbers(),
        seed: u64,
    ) {
        let stream = StreamPlan { patch, ..stream };
        let plan = Plan {
            height: patch * rows, width: patch * columns, channels: 1,
            stages: vec![pointwise(first), Stage::Stream(stream), Stage::Conv(last)],
            pooling, classes: 3,
        };
        check(&plan, numbers, seed)?;
    }

    #[test]
    fn float_attention(
        plan in block_plan(attention_plan(1..40)),
        numbers in numbers(),
        seed: u64,
    ) {
        check(&plan, numbers, seed)?;
    }

    #[test]
    fn float_mlp(plan in block_plan(mlp_plan(1..200)), numbers in numbers(), seed: u64) {
        check(&plan, numbers, seed)?;
    }

    #[test]
    fn float_pooling_and_classifier(
        (height, width) in (1..16usize, 1..16usize),
        channels in 1..300usize,
        pooling in pooling(stream_plan(1..300, Just(vec![]))),
        classes in 1..40usize,
        numbers in numbers(),
        seed: u64,
    ) {
        let stages = vec![pointwise(channels)];
        check(&Plan { height, width, channels: 1, stages, pooling, classes }, numbers, seed)?;
    }
}

/// Every pixel at an end of its range.
#[test]
fn constant_images_on_floats() {
    for numbers in [Numbers::F16, Numbers::Mixed] {
        for seed in 0..24 {
            let network = small_plan(seed).network_of(numbers, seed, Style::Typical);
            for pixel in [-128, 0, 127] {
                compare(&network, &vec![pixel; network.input_len()]).unwrap();
            }
        }
    }
}

/// The widest token there may be.
#[test]
fn a_float_token_of_4096_channels() {
    let plan = Plan {
        height: 2,
        width: 1,
        channels: 1,
        stages: vec![pointwise(4096), Stage::Stream(StreamPlan::default())],
        pooling: Pooling::Sequence(StreamPlan {
            positions: true,
            blocks: vec![
                attention(1, 3, 1),
                BlockPlan::Mlp { hidden: 3, gain16: true, twice: true },
            ],
            ..StreamPlan::default()
        }),
        classes: 2,
    };
    check(&plan, Numbers::F16, 7).unwrap();
}

/// GELU makes 0 of 0 and -0 of -100: a maximum keeps the first of them, and an embedding without
/// positions adds nothing.
#[test]
fn zeros_keep_their_signs() {
    let pool = Some(PoolPlan { kernel: 2, stride: 1, padding: 0, padding_after: 0 });
    let Stage::Conv(conv) = pointwise(1) else { unreachable!("a convolution") };
    let plan = Plan {
        height: 4,
        width: 4,
        channels: 1,
        stages: vec![Stage::Conv(ConvPlan { pool, ..conv })],
        pooling: Pooling::Sequence(StreamPlan::default()),
        classes: 2,
    };
    let mut network = plan.network_of(Numbers::F16, 1, Style::Typical);
    let Op::Float(FloatOp::Conv(op)) = &mut network.ops[0] else { panic!("a convolution") };
    op.activation = Activation::Gelu;
    op.layer = FloatLayer { weights: Matrix::new(1, 1, vec![f16::ONE]), bias: vec![0.0] };
    op.int8 = Some((vec![1.0], vec![0.0]));
    let mut random = Random::new(3);
    for _ in 0..8 {
        let input: Vec<i8> = (0..16).map(|_| if random.one_in(2) { 0 } else { -100 }).collect();
        compare(&network, &input).unwrap();
        for trace in &network.trace(&input)[..2] {
            let Values::F32(zeros) = trace.output() else { panic!("floats") };
            let negative = zeros.data().iter().filter(|v| v.is_sign_negative()).count();
            assert!(zeros.data().iter().all(|&v| v == 0.0) && (1..9).contains(&negative));
        }
    }
}

/// The random networks have what there is to have, each often enough to mean something.
#[test]
fn every_feature_of_floats_comes_up() {
    let mut runner = TestRunner::new(cases(256));
    let mut counts = BTreeMap::<String, usize>::new();
    for seed in 0..256 {
        let plan = any_plan().new_tree(&mut runner).unwrap().current();
        let mut count =
            |name: &str, found: bool| *counts.entry(name.into()).or_default() += usize::from(found);
        for op in plan.network_of(Numbers::Mixed, seed, Style::Typical).ops {
            let Op::Float(op) = op else { continue };
            match op {
                FloatOp::Convert(op) => count(&format!("{:?}", op.conversion), true),
                FloatOp::Conv(op) => {
                    count(&format!("convolution, {:?}", op.activation), true);
                    count("pooled", op.pool.is_some());
                    count("int8 input", op.int8.is_some());
                    count("second input", op.second.is_some());
                }
                FloatOp::InvertedResidual(op) => {
                    count("in place", op.residual);
                    count("apart", !op.residual);
                }
                FloatOp::Embed(op) => {
                    count("unfolded", op.patch > 1);
                    count("class token", op.class_token);
                    count("linear", op.linear.is_some());
                    count("plain", op.linear.is_none());
                }
                FloatOp::Attention(op) => count("groups", op.groups > 1),
                FloatOp::Mlp(op) => {
                    count(&format!("second layer, {:?}", op.activations[1]), true);
                    count("replaces", op.replaces);
                }
                FloatOp::Fold(op) => count("folded", op.patch > 1),
                FloatOp::SeqPool(_) => count("sequence pooling", true),
                FloatOp::ClassPool(_) => count("class token pooling", true),
                FloatOp::AvgPool(_) => count("mean", true),
                FloatOp::Head(_) => count("classifier", true),
            }
        }
    }
    assert_eq!(counts.len(), 6 + 4 + 3 + 2 + 4 + 1 + 4 + 1 + 5, "{counts:?}");
    assert!(counts.values().all(|&count| count >= 5), "{counts:?}");
}
