//! The engine computes exactly what `docs/arithmetic.md` says: byte for byte the values of the
//! independent reference, in every operation of random networks of every shape.

mod by_hand;
mod comparison;
mod float_kernels;
mod floats;
mod image;
mod kernels;
mod shapes;

use comparison::{compare, compare_packed};
use picovit::Model;
use picovit::format::Packing;
use picovit_tests::reference::{
    Aligned, BlockPlan, ConvPlan, InvertedResidualPlan, Layout, Network, Op, Plan, PoolPlan,
    Pooling, Random, Scaling, Stage, StreamPlan, Style, build, exp_table, parse,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, RngSeed};

/// The same cases in every run.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x7069_636f_7669_7401),
        ..ProptestConfig::default()
    }
}

fn random_input(network: &Network, seed: u64) -> Vec<i8> {
    let mut random = Random::new(seed ^ 0x1234_5678);
    (0..network.input_len()).map(|_| random.i8()).collect()
}

fn check(plan: &Plan, seed: u64, style: Style) -> Result<(), TestCaseError> {
    let network = plan.network(seed, style);
    let input = random_input(&network, seed);
    compare(&network, &input).map_err(TestCaseError::fail)
}

/// A convolution that only sets the width of the tokens.
fn pointwise(channels: usize) -> Stage {
    let (table, second, pool) = (false, None, None);
    Stage::Conv(ConvPlan { channels, kernel: 1, stride: 1, padding: 0, table, second, pool })
}

fn attention(heads: usize, head_dim: usize, groups: usize) -> BlockPlan {
    BlockPlan::Attention { heads, head_dim, groups }
}

// ---------------------------------------------------------------------------------------------
// Extremes

/// Every kind of operation; by the seed, one of the poolings.
fn small_plan(seed: u64) -> Plan {
    let conv = ConvPlan {
        channels: 7,
        kernel: 3,
        stride: 1,
        padding: 1,
        table: false,
        second: None,
        pool: None,
    };
    let pool = PoolPlan { kernel: 3, stride: 2, padding: 1, padding_after: 2 };
    let inverted = InvertedResidualPlan {
        channels: 6,
        hidden: 11,
        kernel: 3,
        stride: 1,
        padding: 1,
        residual: true,
    };
    let folded = StreamPlan {
        linear: Some(9),
        patch: 2,
        blocks: vec![attention(2, 5, 4)],
        ..StreamPlan::default()
    };
    let stream = StreamPlan {
        class_token: seed.is_multiple_of(2),
        positions: true,
        blocks: vec![
            BlockPlan::Mlp { hidden: 17, gain16: true, twice: false },
            attention(1, 3, 1),
            BlockPlan::Mlp { hidden: 2, gain16: false, twice: true },
        ],
        ..StreamPlan::default()
    };
    Plan {
        height: 6,
        width: 4,
        channels: 3,
        stages: vec![
            Stage::Conv(conv.clone()),
            Stage::InvertedResidual(InvertedResidualPlan { residual: false, ..inverted.clone() }),
            Stage::InvertedResidual(inverted),
            Stage::Stream(folded),
            Stage::Conv(ConvPlan {
                table: true,
                second: Some(2),
                pool: Some(pool),
                ..conv.clone()
            }),
            Stage::Conv(ConvPlan { channels: 9, kernel: 2, ..conv }),
        ],
        pooling: match seed % 3 {
            0 => Pooling::Sequence(stream),
            1 => Pooling::ClassToken(stream),
            _ => Pooling::Average,
        },
        classes: 4,
    }
}

/// Every weight and every pixel at an end of its range. (A compiler writes no weight of -128, which has a
/// place in rows only.)
#[test]
fn constant_weights_and_inputs() {
    for weight in [-128, -127, -1, 0, 1, 127] {
        let packings = if weight == -128 { &[Packing::Portable][..] } else { &Packing::ALL };
        for pixel in [-128, 0, 127] {
            for seed in 0..4 {
                let network = small_plan(seed).network(seed, Style::Constant(weight));
                let input = vec![pixel; network.input_len()];
                compare_packed(&network, &input, packings).unwrap();
            }
        }
    }
}

/// Constants of random size with pixels at the ends of their range.
#[test]
fn extreme_inputs() {
    for seed in 0..64 {
        let style = if seed % 2 == 0 { Style::Typical } else { Style::Wild };
        let network = small_plan(seed).network(seed, style);
        let mut random = Random::new(seed);
        for pixel in [-128i8, 127] {
            compare(&network, &vec![pixel; network.input_len()]).unwrap();
        }
        let input: Vec<i8> =
            (0..network.input_len()).map(|_| if random.one_in(2) { -128 } else { 127 }).collect();
        compare(&network, &input).unwrap();
    }
}

/// One pixel, one channel, one token, one class.
#[test]
fn the_smallest_network() {
    let plan = Plan {
        height: 1,
        width: 1,
        channels: 1,
        stages: vec![
            pointwise(1),
            Stage::InvertedResidual(InvertedResidualPlan {
                channels: 1,
                hidden: 1,
                kernel: 1,
                stride: 1,
                padding: 0,
                residual: true,
            }),
        ],
        pooling: Pooling::Average,
        classes: 1,
    };
    let stream = StreamPlan {
        patch: 1,
        positions: true,
        blocks: vec![
            attention(1, 1, 1),
            BlockPlan::Mlp { hidden: 1, gain16: true, twice: false },
            BlockPlan::Mlp { hidden: 1, gain16: false, twice: true },
        ],
        ..StreamPlan::default()
    };
    for seed in 0..64 {
        let pooling = match seed % 3 {
            0 => Pooling::Average,
            1 => Pooling::ClassToken(stream.clone()),
            _ => Pooling::Sequence(stream.clone()),
        };
        let plan = Plan { pooling, ..plan.clone() };
        for style in [Style::Typical, Style::Wild, Style::Constant(-127)] {
            check(&plan, seed, style).unwrap();
        }
    }
}

/// A multiplier of 0 makes every row uniform, the largest one lets only the maximum (and its
/// equals) count, and numerators run from 0 to the clamp.
#[test]
fn uniform_and_dominated_rows() {
    for seed in 0..16 {
        for exp in [0, 1, i32::MAX] {
            for numerator in [0, 1, 1 << 32, 1 << 40, 1 << 62] {
                let mut network = small_plan(seed).network(seed, Style::Typical);
                for op in &mut network.ops {
                    match op {
                        Op::Attention(op) => {
                            op.exp_mult.fill(exp);
                            op.out_mult.fill(numerator);
                        }
                        Op::SeqPool(op) => {
                            op.exp_mult = exp;
                            op.out_mult = numerator;
                        }
                        _ => {}
                    }
                }
                compare(&network, &random_input(&network, seed)).unwrap();
            }
        }
    }
}

/// Constant tokens leave only epsilon under the root.
#[test]
fn constant_tokens() {
    for epsilon in [1, 2, 3, 4, 5, 1 << 20, 1 << 59, (1 << 60) - 1] {
        for seed in 0..4 {
            let mut network = small_plan(seed).network(seed, Style::Typical);
            for op in &mut network.ops {
                match op {
                    Op::Embed(op) => {
                        match &mut op.scaling {
                            Scaling::Plain { mult, .. } => *mult = 0,
                            Scaling::Channels { mults, .. } | Scaling::Linear { mults, .. } => {
                                mults.fill(0);
                            }
                        }
                        op.positions = op.positions.take().filter(|_| op.class_token);
                    }
                    Op::Attention(op) => op.norm.epsilon = epsilon,
                    Op::Mlp(op) => op.norm.epsilon = epsilon,
                    Op::SeqPool(op) => op.norm.epsilon = epsilon,
                    Op::Fold(op) => op.norm.epsilon = epsilon,
                    Op::ClassPool(op) => op.epsilon = epsilon,
                    _ => {}
                }
            }
            compare(&network, &random_input(&network, seed)).unwrap();
        }
    }
}

/// The widest token there may be.
#[test]
fn a_token_of_4096_channels() {
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
    for style in [Style::Typical, Style::Wild, Style::Constant(127)] {
        check(&plan, 7, style).unwrap();
    }
}

// ---------------------------------------------------------------------------------------------
// The artifact

/// What the builder writes is what the engine's reader shows.
#[test]
fn header_and_table_round_trip() {
    let network = small_plan(3).network(3, Style::Typical);
    let artifact = Aligned::copy(&build(&network, Layout::Apart));
    let model = Model::parse(&artifact).unwrap();
    let header = model.header();
    assert_eq!(header.magic, *b"PVIT");
    assert_eq!(header.file_bytes as usize, artifact.len());
    assert_eq!(header.checksum, picovit::model::checksum(&artifact));
    assert_eq!(model.artifact_bytes(), artifact.len());
    assert_eq!((model.height(), model.width(), model.channels()), (6, 4, 3));
    assert_eq!(model.classes(), 4);
    assert_eq!(usize::from(model.op_count()), network.ops.len());
    assert_eq!(model.arena_bytes(), picovit::arena_bytes(&artifact));
    let labels: Vec<&str> = model.labels().collect();
    assert_eq!(labels, ["class-0", "class-1", "class-2", "class-3"]);
    assert_eq!(model.label(2), Some("class-2"));
    assert_eq!(model.label(4), None);
    assert_eq!(model.info(), r#"{"name":"random"}"#);
    let table = &artifact[header.exp_table as usize..][..1024];
    assert_eq!(table, exp_table());
    assert_eq!(parse(&artifact), network);
}
