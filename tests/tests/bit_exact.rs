//! The engine computes exactly what `docs/arithmetic.md` says: byte for byte the values of the
//! independent reference, in every operation of random networks of every shape.

use std::ops::Range;

use picovit::{Engine, Model, Probe, Site, kernels};
use picovit_tests::reference::{
    Aligned, BlockPlan, ConvPlan, Layout, Network, Norm, Op, OpTrace, Plan, PoolPlan, Random,
    Style, Values, build, exp_table, parse, primitives, softmax_weights,
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

// ---------------------------------------------------------------------------------------------
// Engine against reference

/// What the reference says of one site of one operation, and which of it the engine reported.
struct Expected {
    site: Site,
    values: Values,
    seen: Vec<bool>,
}

impl Expected {
    fn i8(site: Site, values: &picovit_tests::reference::Matrix<i8>) -> Self {
        Self { site, values: Values::I8(values.clone()), seen: vec![false; values.data().len()] }
    }

    fn i16(site: Site, values: &picovit_tests::reference::Matrix<i16>) -> Self {
        Self { site, values: Values::I16(values.clone()), seen: vec![false; values.data().len()] }
    }
}

/// Compares everything the engine reports with the reference.
struct Comparison {
    ops: Vec<Vec<Expected>>,
    differences: Vec<String>,
}

impl Comparison {
    fn new(network: &Network, traces: &[OpTrace]) -> Self {
        let ops = network
            .ops
            .iter()
            .zip(traces)
            .map(|(op, trace)| match trace {
                OpTrace::Conv(output) => vec![Expected::i8(Site::Output, output)],
                OpTrace::Embed(output) | OpTrace::Head(output) => {
                    vec![Expected::i16(Site::Output, output)]
                }
                OpTrace::Attention(trace) => vec![
                    Expected::i8(Site::Norm, &trace.norm),
                    Expected::i8(Site::Query, &trace.query),
                    Expected::i8(Site::Key, &trace.key),
                    Expected::i8(Site::Value, &trace.value),
                    Expected::i8(Site::Attention, &trace.attention),
                    Expected::i16(Site::Output, &trace.output),
                ],
                OpTrace::Mlp(trace) => {
                    let mut sites = vec![
                        Expected::i8(Site::Norm, &trace.norm),
                        Expected::i8(Site::Hidden, &trace.hidden),
                        Expected::i8(Site::Activation, &trace.activation),
                        Expected::i16(Site::Output, &trace.output),
                    ];
                    if matches!(op, Op::Mlp(op) if op.gain16.is_some()) {
                        sites.push(Expected::i16(Site::Residual, &trace.residual));
                    }
                    sites
                }
                OpTrace::SeqPool(trace) => vec![
                    Expected::i8(Site::Norm, &trace.norm),
                    Expected::i16(Site::Output, &trace.output),
                ],
            })
            .collect();
        Self { ops, differences: Vec::new() }
    }

    fn reported<T: Copy + PartialEq + std::fmt::Debug>(
        &mut self,
        (op, site, row, column): (usize, Site, usize, usize),
        data: &[T],
        expected: impl Fn(&Values) -> Option<(usize, &[T])>,
    ) {
        let place = format!("op {op}, {site:?} [{row}][{column}]");
        let Some(found) =
            self.ops.get_mut(op).and_then(|sites| sites.iter_mut().find(|e| e.site == site))
        else {
            return self.differences.push(format!("{place}: there is no such site"));
        };
        let Some((columns, values)) = expected(&found.values) else {
            return self.differences.push(format!("{place}: of another type"));
        };
        let first = row * columns + column;
        let range: Range<usize> = first..first + data.len();
        match values.get(range.clone()) {
            None => self.differences.push(format!("{place}: {} values", data.len())),
            Some(right) if right != data => {
                let at = (0..data.len()).find(|&i| right[i] != data[i]).unwrap();
                let (row, column) = ((first + at) / columns, (first + at) % columns);
                self.differences.push(format!(
                    "op {op}, {site:?} [{row}][{column}]: engine {:?}, reference {:?}",
                    data[at], right[at]
                ));
            }
            Some(_) => found.seen[range].fill(true),
        }
    }

    fn verdict(mut self) -> Result<(), String> {
        for (op, sites) in self.ops.iter().enumerate() {
            for expected in sites {
                if let Some(missing) = expected.seen.iter().position(|seen| !seen) {
                    let site = expected.site;
                    self.differences
                        .push(format!("op {op}, {site:?}: value {missing} not reported"));
                }
            }
        }
        if self.differences.is_empty() {
            return Ok(());
        }
        let count = self.differences.len();
        self.differences.truncate(4);
        Err(format!("{count} differences: {:#?}", self.differences))
    }
}

impl Probe for Comparison {
    fn i8(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i8]) {
        self.reported((op, site, row, column), data, |values| match values {
            Values::I8(m) => Some((m.columns(), m.data())),
            Values::I16(_) => None,
        });
    }

    fn i16(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i16]) {
        self.reported((op, site, row, column), data, |values| match values {
            Values::I16(m) => Some((m.columns(), m.data())),
            Values::I8(_) => None,
        });
    }
}

/// Runs a network in both: under the eyes of a probe with every buffer in a place of its own, then
/// without one where dead buffers are overwritten. The arena starts and continues full of rubbish.
fn compare(network: &Network, input: &[i8]) -> Result<(), String> {
    let traces = network.trace(input);
    let logits = match traces.last() {
        Some(OpTrace::Head(logits)) => logits.data(),
        _ => unreachable!("a network ends in a classifier"),
    };
    let mut comparison = Comparison::new(network, &traces);
    let probed = run_engine(network, Layout::Apart, |engine| {
        engine.input().copy_from_slice(input);
        engine.run_with(&mut comparison).to_vec()
    })?;
    comparison.verdict()?;
    if probed != logits {
        return Err(format!("logits: engine {probed:?}, reference {logits:?}"));
    }
    let tight = run_engine(network, Layout::Tight, |engine| {
        engine.input().fill(99);
        engine.run();
        engine.input().copy_from_slice(input);
        engine.run().to_vec()
    })?;
    if tight != logits {
        return Err(format!("logits, tight: engine {tight:?}, reference {logits:?}"));
    }
    Ok(())
}

/// An engine of this network, and what `run` makes of it.
fn run_engine(
    network: &Network,
    layout: Layout,
    run: impl FnOnce(&mut Engine<'_, '_>) -> Vec<i16>,
) -> Result<Vec<i16>, String> {
    let artifact = Aligned::copy(&build(network, layout));
    let model = Model::parse(&artifact).map_err(|error| format!("parse: {error:?}"))?;
    let mut arena = Aligned::filled(model.arena_bytes(), 0xa5);
    let mut engine = Engine::new(&model, &mut arena).map_err(|error| format!("{error:?}"))?;
    let logits = run(&mut engine);
    let mut probabilities = vec![0; logits.len()];
    picovit::postprocess::probabilities(&model, &logits, &mut probabilities);
    if probabilities != network.probabilities(&logits) {
        return Err(format!("probabilities of {logits:?}: {probabilities:?}"));
    }
    Ok(logits)
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

// ---------------------------------------------------------------------------------------------
// Random shapes

fn conv_plan(channels: Range<usize>) -> impl Strategy<Value = ConvPlan> {
    let pool = (1..5usize, 1..4usize, 0..4usize).prop_map(|(kernel, stride, padding)| PoolPlan {
        kernel,
        stride,
        padding,
    });
    (channels, 1..8usize, 1..3usize, 0..4usize, prop::option::of(pool)).prop_map(
        |(channels, kernel, stride, padding, pool)| ConvPlan {
            channels,
            kernel,
            stride,
            padding,
            pool,
        },
    )
}

/// A convolution that only sets the width of the tokens.
fn pointwise(channels: usize) -> ConvPlan {
    ConvPlan { channels, kernel: 1, stride: 1, padding: 0, pool: None }
}

fn attention_plan(head_dim: Range<usize>) -> impl Strategy<Value = BlockPlan> {
    (1..5usize, head_dim).prop_map(|(heads, head_dim)| BlockPlan::Attention { heads, head_dim })
}

fn mlp_plan(hidden: Range<usize>) -> impl Strategy<Value = BlockPlan> {
    (hidden, any::<bool>()).prop_map(|(hidden, gain16)| BlockPlan::Mlp { hidden, gain16 })
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![3 => Just(Style::Typical), 2 => Just(Style::Wild)]
}

/// Whole networks of any small shape.
fn any_plan() -> impl Strategy<Value = Plan> {
    (
        (1..15usize, 1..15usize, prop_oneof![Just(1usize), Just(3)]),
        prop::collection::vec(conv_plan(1..24), 1..4),
        any::<bool>(),
        prop::collection::vec(prop_oneof![attention_plan(1..14), mlp_plan(1..40)], 0..4),
        1..13usize,
    )
        .prop_map(|((height, width, channels), convs, positions, blocks, classes)| Plan {
            height,
            width,
            channels,
            convs,
            positions,
            blocks,
            classes,
        })
}

/// Tokens of any number and width for one sub-block.
fn block_plan(block: impl Strategy<Value = BlockPlan>) -> impl Strategy<Value = Plan> {
    (1..12usize, 1..9usize, 1..100usize, any::<bool>(), block).prop_map(
        |(height, width, channels, positions, block)| Plan {
            height,
            width,
            channels: 1,
            convs: vec![pointwise(channels)],
            positions,
            blocks: vec![block],
            classes: 2,
        },
    )
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn whole_networks(plan in any_plan(), seed: u64, style in style()) {
        check(&plan, seed, style)?;
    }

    #[test]
    fn convolution(
        height in 1..24usize,
        width in 1..24usize,
        channels in prop_oneof![Just(1usize), Just(3)],
        first in 1..10usize,
        conv in conv_plan(1..40),
        seed: u64,
        style in style(),
    ) {
        // The first makes any number of channels, the second is the one to look at.
        let plan = Plan {
            height, width, channels, convs: vec![pointwise(first), conv],
            positions: false, blocks: vec![], classes: 1,
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
    fn sequence_pooling_and_classifier(
        height in 1..16usize,
        width in 1..16usize,
        channels in 1..300usize,
        classes in 1..40usize,
        seed: u64,
        style in style(),
    ) {
        let plan = Plan {
            height, width, channels: 1, convs: vec![pointwise(channels)],
            positions: true, blocks: vec![], classes,
        };
        check(&plan, seed, style)?;
    }
}

// ---------------------------------------------------------------------------------------------
// Extremes

fn small_plan() -> Plan {
    Plan {
        height: 6,
        width: 5,
        channels: 3,
        convs: vec![
            ConvPlan {
                channels: 7,
                kernel: 3,
                stride: 1,
                padding: 1,
                pool: Some(PoolPlan { kernel: 3, stride: 2, padding: 1 }),
            },
            ConvPlan { channels: 9, kernel: 2, stride: 1, padding: 1, pool: None },
        ],
        positions: true,
        blocks: vec![
            BlockPlan::Attention { heads: 2, head_dim: 5 },
            BlockPlan::Mlp { hidden: 17, gain16: true },
            BlockPlan::Attention { heads: 1, head_dim: 3 },
            BlockPlan::Mlp { hidden: 2, gain16: false },
        ],
        classes: 4,
    }
}

/// Every weight and every pixel at an end of its range. (A compiler writes no weight of -128.)
#[test]
fn constant_weights_and_inputs() {
    for weight in [-128, -127, -1, 0, 1, 127] {
        for pixel in [-128, 0, 127] {
            for seed in 0..4 {
                let network = small_plan().network(seed, Style::Constant(weight));
                compare(&network, &vec![pixel; network.input_len()]).unwrap();
            }
        }
    }
}

/// Constants of random size with pixels at the ends of their range.
#[test]
fn extreme_inputs() {
    for seed in 0..64 {
        let style = if seed % 2 == 0 { Style::Typical } else { Style::Wild };
        let network = small_plan().network(seed, style);
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
        convs: vec![pointwise(1)],
        positions: true,
        blocks: vec![
            BlockPlan::Attention { heads: 1, head_dim: 1 },
            BlockPlan::Mlp { hidden: 1, gain16: true },
            BlockPlan::Mlp { hidden: 1, gain16: false },
        ],
        classes: 1,
    };
    for seed in 0..64 {
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
                let mut network = small_plan().network(seed, Style::Typical);
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
            let mut network = small_plan().network(seed, Style::Typical);
            for op in &mut network.ops {
                match op {
                    Op::Embed(op) => {
                        op.mult = 0;
                        op.positions = None;
                    }
                    Op::Attention(op) => op.norm.epsilon = epsilon,
                    Op::Mlp(op) => op.norm.epsilon = epsilon,
                    Op::SeqPool(op) => op.norm.epsilon = epsilon,
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
        convs: vec![pointwise(4096)],
        positions: true,
        blocks: vec![
            BlockPlan::Attention { heads: 1, head_dim: 3 },
            BlockPlan::Mlp { hidden: 3, gain16: true },
        ],
        classes: 2,
    };
    for style in [Style::Typical, Style::Wild, Style::Constant(127)] {
        check(&plan, 7, style).unwrap();
    }
}

// ---------------------------------------------------------------------------------------------
// Kernels, beyond what a network reaches

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn kernel_mulhi(a: i32, m: i32, shift in 0..31u32) {
        prop_assert_eq!(kernels::mulhi(a, m), primitives::mulhi(a, m));
        prop_assert_eq!(kernels::mulhi(a >> shift, m), primitives::mulhi(a >> shift, m));
    }

    #[test]
    fn kernel_requant8(acc: i32, m: i32, shift in 0..31u32, zero: i8) {
        let m = m >> shift;
        prop_assert_eq!(
            kernels::requant8(acc, m, zero.into()),
            primitives::requant8(acc, m, zero.into())
        );
    }

    #[test]
    fn kernel_row_mult(c in 0..1u64 << 62, shift in 0..62u32, d in 255..=u32::MAX) {
        prop_assert_eq!(kernels::row_mult(c >> shift, d), primitives::row_mult(c >> shift, d));
    }

    #[test]
    fn kernel_dot(bias in -1000..1000i32, pairs in prop::collection::vec(any::<(i8, i8)>(), 0..300)) {
        let (w, x): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
        prop_assert_eq!(kernels::dot(bias, &w, &x), primitives::affine(bias, &w, &x));
    }

    #[test]
    fn kernel_dot_i16(
        bias in -1000..1000i32,
        pairs in prop::collection::vec(any::<(i8, i16)>(), 0..300),
    ) {
        let (w, x): (Vec<i8>, Vec<i16>) = pairs.into_iter().unzip();
        prop_assert_eq!(kernels::dot_i16(bias, &w, &x), primitives::affine(bias, &w, &x));
    }

    #[test]
    fn kernel_softmax(
        scores in prop::collection::vec(-(1i32 << 22)..1 << 22, 1..200),
        shift in 0..8u32,
        mult in 0..=i32::MAX,
        small in 0..31u32,
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let mut table = exp_table();
        table[1..].fill_with(|| random.bits() as u8);
        let expected = softmax_weights(&scores, mult >> small, shift, &table);
        let mut weights = vec![0; scores.len()];
        let sum = kernels::softmax_weights(
            &scores, shift, mult >> small, table[..].try_into().unwrap(), &mut weights,
        );
        prop_assert_eq!(sum, expected.iter().map(|&e| u32::from(e)).sum::<u32>());
        prop_assert_eq!(weights, expected);
    }

    #[test]
    fn kernel_norm(
        channels in prop::collection::vec((any::<i16>(), any::<i32>(), -(1i32 << 30)..1 << 30), 1..600),
        small in 0..16u32,
        epsilon in 1..1u64 << 60,
        epsilon_shift in 0..60u32,
    ) {
        let x: Vec<i16> = channels.iter().map(|c| c.0 >> small).collect();
        let gain: Vec<i32> = channels.iter().map(|c| c.1).collect();
        let offset: Vec<i32> = channels.iter().map(|c| c.2 >> small).collect();
        let norm = Norm {
            epsilon: (epsilon >> epsilon_shift).max(1),
            gain8: gain.clone(),
            offset8: offset.clone(),
        };
        let row = kernels::normalize(&x, norm.epsilon);
        let mut out8 = vec![0; x.len()];
        row.write8(&x, &gain, &offset, &mut out8);
        prop_assert_eq!(out8, norm.norm8(&x));
        let mut out16 = x.clone();
        row.write16(&gain, &offset, &mut out16);
        prop_assert_eq!(out16, norm.norm16(&x, &gain, &offset));
    }
}

// ---------------------------------------------------------------------------------------------
// Known answers, worked out by hand

/// Ties round towards plus infinity, and the shift is arithmetic.
#[test]
fn mulhi_by_hand() {
    let half = 1 << 30;
    for (a, m, expected) in [
        (2, half, 1),                         // 0.5 -> 1
        (-2, half, 0),                        // -0.5 -> 0
        (6, half, 2),                         // 1.5 -> 2
        (-6, half, -1),                       // -1.5 -> -1
        (1, half, 0),                         // 0.25 -> 0
        (3, half, 1),                         // 0.75 -> 1
        (-3, half, -1),                       // -0.75 -> -1
        (-1, half, 0),                        // -0.25 -> 0
        (0, i32::MIN, 0),                     // nothing
        (i32::MAX, i32::MAX, 1_073_741_823),  // (2^31 - 1)^2 / 2^32 = 2^30 - 1 + 2^-32
        (i32::MIN, i32::MAX, -1_073_741_823), // -2^30 + 0.5 -> up
        (i32::MIN, i32::MIN, 1 << 30),        // 2^30
    ] {
        assert_eq!(primitives::mulhi(a, m), expected, "reference, {a} * {m}");
        assert_eq!(kernels::mulhi(a, m), expected, "engine, {a} * {m}");
    }
}

#[test]
fn requantization_by_hand() {
    // A multiplier of 2^24 divides by 256.
    let m = 1 << 24;
    assert_eq!(primitives::requant8(128, m, 3), 4); // 3 + 0.5 -> 4
    assert_eq!(primitives::requant8(-128, m, 3), 3); // 3 - 0.5 -> 3
    assert_eq!(primitives::requant8(-129, m, 3), 2);
    assert_eq!(primitives::requant8(256 * 124, m, 3), 127);
    assert_eq!(primitives::requant8(256 * 125, m, 3), 127);
    assert_eq!(primitives::requant8(-256 * 131, m, 3), -128);
    assert_eq!(primitives::requant8(-256 * 132, m, 3), -128);
    // Shifted by 8 it multiplies by 1.
    assert_eq!(primitives::requant16(32_767, m, 8), 32_767);
    assert_eq!(primitives::requant16(32_768, m, 8), 32_767);
    assert_eq!(primitives::requant16(-32_769, m, 8), -32_768);
}

#[test]
fn isqrt_by_hand() {
    for (v, root) in [(0, 0), (1, 1), (3, 1), (4, 2), (99, 9), (100, 10), (1 << 60, 1 << 30)] {
        assert_eq!(primitives::isqrt(v), root);
    }
    // 2^62 - 1 is one short of a square; u64::MAX is (2^32 - 1)^2 + 2 * (2^32 - 1).
    assert_eq!(primitives::isqrt((1 << 62) - 1), (1 << 31) - 1);
    assert_eq!(primitives::isqrt(u64::MAX), u64::from(u32::MAX));
}

#[test]
fn row_multipliers_by_hand() {
    for (c, d, expected) in [
        (1000, 255, 4),                     // 3.92
        (1020, 255, 4),                     // exactly
        (1147, 255, 4),                     // 4.498
        (1148, 255, 5),                     // 4.502
        (1 << 32, 256, 1 << 24),            // exactly
        (255 << 31, 255, i32::MAX),         // 2^31 clamps
        ((255 << 31) - 255, 255, i32::MAX), // 2^31 - 1 just fits
        ((255 << 31) - 510, 255, i32::MAX - 1),
        (1 << 62, 255, i32::MAX), // far beyond
        (0, 255, 0),
    ] {
        assert_eq!(primitives::row_mult(c, d), expected, "reference, {c} / {d}");
        assert_eq!(kernels::row_mult(c, d), expected, "engine, {c} / {d}");
    }
}

/// Tokens whose mean and deviation are plain numbers.
#[test]
fn norm_by_hand() {
    // Mean 0, deviation 300: normalised values are -1 and 1, give or take epsilon. With
    // gain = 2^20 * 40 and offset = 128, int8 outputs are -40 and 40; int16 ones, with
    // gain = 2^12 * 5000 and offset 7, are -4993 and 5007.
    let x = [-300, 300, 300, -300];
    let (gain8, offset8) = ([40 << 20; 4], [128; 4]);
    let norm = Norm { epsilon: 1, gain8: gain8.to_vec(), offset8: offset8.to_vec() };
    assert_eq!(norm.norm8(&x), [-40, 40, 40, -40]);
    let (gain16, offset16) = ([5000 << 12; 4], [7; 4]);
    assert_eq!(norm.norm16(&x, &gain16, &offset16), [-4993, 5007, 5007, -4993]);

    // Mean 200, variance (300^2 + 0 + 0 + 300^2) / 4 = 45000: normalised +-300 / 212.13 =
    // +-sqrt(2), times 40 is 56.57. An epsilon of 4^2 * 5000 makes the variance 50000:
    // 300 / 223.6 * 40 = 53.67.
    let x = [-100, 200, 200, 500];
    assert_eq!(norm.norm8(&x), [-57, 0, 0, 57]);
    let softer = Norm { epsilon: 80_000, ..norm.clone() };
    assert_eq!(softer.norm8(&x), [-54, 0, 0, 54]);

    // A constant token: nothing but the offset.
    assert_eq!(norm.norm16(&[-32_768; 4], &gain16, &offset16), [7; 4]);

    // The engine's own.
    for (x, epsilon) in [([-300, 300, 300, -300], 1), ([-100, 200, 200, 500], 80_000), ([9; 4], 1)]
    {
        let mut out = [0; 4];
        kernels::normalize(&x, epsilon).write8(&x, &gain8, &offset8, &mut out);
        assert_eq!(out[..], Norm { epsilon, ..norm.clone() }.norm8(&x));
    }
}

#[test]
fn softmax_by_hand() {
    let table = exp_table();
    // Equal scores are equally likely, whatever they are.
    assert_eq!(softmax_weights(&[-77; 5], i32::MAX, 0, &table), [255; 5]);
    // With shift 8 and multiplier 2^24 the index is the difference itself. exp(-1) * 255 = 93.8,
    // exp(-0.5) * 255 = 154.7, and beyond 1023 everything is the last entry.
    let scores = [100, 100 - 128, 100 - 64, 100 - 1023, 100 - 5000, 100];
    assert_eq!(softmax_weights(&scores, 1 << 24, 8, &table), [255, 94, 155, 0, 0, 255]);
    // A multiplier of 0 makes the row uniform.
    assert_eq!(softmax_weights(&scores, 0, 8, &table), [255; 6]);
}

// ---------------------------------------------------------------------------------------------
// The artifact

/// What the builder writes is what the engine's reader shows.
#[test]
fn header_and_table_round_trip() {
    let network = small_plan().network(3, Style::Typical);
    let artifact = Aligned::copy(&build(&network, Layout::Apart));
    let model = Model::parse(&artifact).unwrap();
    let header = model.header();
    assert_eq!(header.magic, *b"PVIT");
    assert_eq!(header.file_bytes as usize, artifact.len());
    assert_eq!(header.checksum, picovit::model::checksum(&artifact));
    assert_eq!(model.artifact_bytes(), artifact.len());
    assert_eq!((model.height(), model.width(), model.channels()), (6, 5, 3));
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
