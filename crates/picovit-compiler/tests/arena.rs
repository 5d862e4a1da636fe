//! Memory plans: what the verifier accepts is right, what is wrong it names, and arenas fit
//! budgets.

mod networks;

use std::collections::BTreeSet;

use networks::{FAMILIES, Family, network};
use picovit::format::{ConvRecord, Header, OpKind, RECORD_BYTES, align_up};
use picovit::model::checksum;
use picovit::{Model, NoProbe};
use picovit_compiler::drift::Runner;
use picovit_compiler::fuse::fuse;
use picovit_compiler::graph::{Conv, Graph, ImageSpec, LayerNorm, Linear, Op, Pool, Shape};
use picovit_compiler::quantize::op_name;
use picovit_compiler::verify::{Fault, live_bytes, verify};
use picovit_compiler::{
    AlignedBytes, Calibration, CompileError, Compiled, Economy, Format, Layout, Packing,
    compile_for, compile_within,
};
use proptest::prelude::*;

/// Where the fields of a header or a record lie.
const ARENA: usize = std::mem::offset_of!(Header, arena_bytes);
const IMAGE: usize = std::mem::offset_of!(Header, input);
const LOGITS: usize = std::mem::offset_of!(Header, logits);
const INPUT: usize = 4;
const OUTPUT: usize = 8;
const SCRATCH: usize = 12;
const SECOND: usize = std::mem::offset_of!(ConvRecord, input2);

fn calibrated(graph: &Graph) -> Calibration {
    let images: Vec<Vec<u8>> = (0..2).map(|seed| image(graph, seed)).collect();
    Calibration::run(graph, &images.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn image(graph: &Graph, seed: usize) -> Vec<u8> {
    (0..graph.image.shape.len()).map(|i| (i * (31 + 12 * seed) % 251) as u8).collect()
}

fn compiled(graph: &Graph, format: &Format, layout: impl Into<Layout>) -> Compiled {
    compile_for(graph, &calibrated(graph), None, format, layout).unwrap()
}

fn logits(graph: &Graph, artifact: &[u8]) -> Vec<i16> {
    let bytes = AlignedBytes::new(artifact);
    let model = Model::parse(&bytes).unwrap();
    let mut runner = Runner::new(&model);
    (0..3).flat_map(|seed| runner.logits(&image(graph, seed), &mut NoProbe).to_vec()).collect()
}

/// An artifact whose buffers can be moved.
#[derive(Clone)]
struct Artifact(Vec<u8>);

impl Artifact {
    fn field(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    /// A copy with another value in a field.
    fn with(&self, at: usize, value: usize) -> Self {
        let mut artifact = self.clone();
        artifact.0[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
        let sum = checksum(&artifact.0);
        let at = std::mem::offset_of!(Header, checksum);
        artifact.0[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        artifact
    }

    fn ops(&self) -> usize {
        let at = std::mem::offset_of!(Header, op_count);
        u16::from_le_bytes([self.0[at], self.0[at + 1]]).into()
    }

    fn record(&self, op: usize) -> usize {
        self.field(std::mem::offset_of!(Header, ops)) + op * RECORD_BYTES
    }

    fn kind(&self, op: usize) -> u16 {
        let at = self.record(op);
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn joins(&self, op: usize) -> bool {
        let at = self.record(op) + std::mem::offset_of!(ConvRecord, in_channels2);
        self.kind(op) == OpKind::Conv as u16 && self.0[at..at + 2] != [0, 0]
    }

    /// Moves the value in front of an operation as a planner would: wherever it is named.
    fn with_value(&self, op: usize, start: usize) -> Self {
        let old = self.field(self.record(op) + INPUT);
        let mut moved = self.with(self.record(op) + INPUT, start);
        // In place, it is the same value behind the operation.
        let mut next = op;
        while moved.field(moved.record(next) + OUTPUT) == old && next + 1 < self.ops() {
            moved = moved.with(moved.record(next) + OUTPUT, start);
            next += 1;
            moved = moved.with(moved.record(next) + INPUT, start);
        }
        let given = if op == 0 { IMAGE } else { self.record(op - 1) + OUTPUT };
        moved.with(given, start)
    }
}

/// Every second operation on floats.
fn mixed(graph: &Graph) -> Format {
    let names = fuse(graph).unwrap().into_iter().map(|op| op_name(graph, &op));
    let mut floats: BTreeSet<String> = names.step_by(2).collect();
    if floats.contains("mv2.1") || floats.contains("block.fusion") {
        floats.extend(["mv2.1", "block.fusion"].map(String::from));
    }
    Format::Mixed(floats)
}

#[test]
fn every_plan_passes_and_reaches_its_lower_bound() {
    for (family, seed) in FAMILIES.into_iter().flat_map(|family| [(family, 0), (family, 1)]) {
        let graph = network(family, seed);
        assert_eq!(graph.image.shape.len(), networks::PIXELS);
        for format in [Format::Int8, Format::F16, mixed(&graph)] {
            let tiles = Layout { packing: Packing::Portable, winograd: true };
            for layout in Packing::ALL.map(Layout::from).into_iter().chain([tiles]) {
                let Compiled { packed, economies, .. } = compiled(&graph, &format, layout);
                assert_eq!(verify(&graph, &packed.bytes), Ok(()));
                let bytes = AlignedBytes::new(&packed.bytes);
                let model = Model::parse(&bytes).unwrap();
                let live = live_bytes(&model);
                let plan = &packed.plan;
                let each: Vec<usize> = (0..live.len()).map(|op| plan.live_bytes(op)).collect();
                assert_eq!(live, each, "{family:?} {format:?} {layout:?}");
                assert!(economies.is_empty());
                assert_eq!(plan.arena_bytes, plan.lower_bound, "{family:?} {format:?} {layout:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_fault_is_found_and_named() {
    let graph = network(Family::MobileVit, 1);
    let good = Artifact(compiled(&graph, &Format::Int8, Packing::CortexM).packed.bytes);
    let fault = |artifact: Artifact| verify(&graph, &artifact.0).unwrap_err();
    let arena = good.field(ARENA);

    let smaller = fault(good.with(ARENA, arena - 16));
    assert!(matches!(smaller, Fault::Outside { end, .. } if end > arena - 16), "{smaller}");
    assert_eq!(
        fault(good.with(ARENA, arena + 16)),
        Fault::Size { declared: arena + 16, needed: arena }
    );
    let stem = good.record(0);
    let text = fault(good.with(stem + SCRATCH, good.field(stem + SCRATCH) + 8)).to_string();
    assert!(text.contains("stem: its scratch memory starts at") && text.contains("16"), "{text}");
    let text = fault(good.with(stem + SCRATCH, good.field(stem + INPUT))).to_string();
    assert_eq!(text, "stem: its input and its scratch memory overlap");
    let text = fault(good.with(stem + SCRATCH, arena)).to_string();
    assert!(text.contains("stem: its scratch memory ends at"), "{text}");

    let attention = (0..good.ops()).find(|&op| good.kind(op) == OpKind::Attention as u16).unwrap();
    let at = good.record(attention) + OUTPUT;
    let text = fault(good.with(at, good.field(at) ^ 16)).to_string();
    assert!(text.starts_with("blocks.0.attn: it works in place"), "{text}");
    let at = good.record(0) + INPUT;
    let text = fault(good.with(at, good.field(at) ^ 16)).to_string();
    assert!(text.contains("`image`") || text.contains("overlap"), "{text}");
    let text = fault(good.with(LOGITS, good.field(LOGITS) ^ 16)).to_string();
    assert!(text.starts_with("the result: `fc`"), "{text}");
    let kind = good.record(attention);
    let other = good.with(kind, OpKind::Head as usize);
    assert!(matches!(fault(other), Fault::Record { index, .. } if index == attention));
    assert!(matches!(fault(Artifact(vec![0; 40])), Fault::Record { .. }));

    // Everything that runs while the joined map is kept could write over it.
    let joins = (0..good.ops()).find(|&op| good.joins(op)).unwrap();
    let kept = good.field(good.record(joins) + SECOND);
    let mut culprits = BTreeSet::new();
    for op in 0..joins {
        if let Err(Fault::Lost { op, buffer, value, by: Some(by), .. }) =
            verify(&graph, &good.with(good.record(op) + SCRATCH, kept).0)
        {
            assert_eq!((op.as_str(), buffer), ("block.fusion", "second input"));
            assert_eq!(value, "mv2.1.add");
            culprits.insert(by);
        }
    }
    assert!(culprits.contains("the scratch memory of block.embed"), "{culprits:?}");
    let at = good.record(joins) + SECOND;
    assert!(verify(&graph, &good.with(at, kept ^ 16).0).is_err());
}

proptest! {
    /// Whatever the verifier lets through runs and gives the right logits; most of what it refuses
    /// the engine's own checks would have run, wrongly.
    #[test]
    fn moved_buffers_are_refused_or_harmless(
        (family, format) in (0usize..4, 0usize..2),
        moves in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..3, 0usize..400), 1..3),
        room in 0usize..3,
    ) {
        let graph = network(FAMILIES[family], 2);
        let format = if format == 0 { Format::Int8 } else { mixed(&graph) };
        let good = Artifact(compiled(&graph, &format, Packing::CortexM).packed.bytes);
        let arena = good.field(ARENA);
        let mut moved = good.with(ARENA, arena + 512 * room);
        for (op, what, place) in moves {
            let op = op.index(moved.ops());
            let start = place * 16 % (arena + 512 * room);
            moved = match what {
                0 => moved.with(moved.record(op) + SCRATCH, start),
                1 => moved.with_value(op, start),
                _ if moved.joins(op) => moved.with(moved.record(op) + SECOND, start),
                _ => moved.with_value(op, start),
            };
        }
        // What is beyond the last buffer is no fault of the moves.
        let mut verdict = verify(&graph, &moved.0);
        if let Err(Fault::Size { needed, .. }) = verdict {
            moved = moved.with(ARENA, needed);
            verdict = verify(&graph, &moved.0);
        }
        let bytes = AlignedBytes::new(&moved.0);
        match verdict {
            Ok(()) => prop_assert_eq!(logits(&graph, &moved.0), logits(&graph, &good.0)),
            Err(Fault::Lost { .. }) => {}
            // The rest the engine refuses, too.
            Err(_) => prop_assert!(Model::parse(&bytes).is_err()),
        }
    }
}

/// Convolutions of 16 channels on 16x16 pixels, the last one pooled, and no residual block.
fn convolutions() -> Graph {
    let image = ImageSpec { shape: Shape::map(16, 16, 3), mean: vec![0.5; 3], std: vec![0.25; 3] };
    let mut graph = Graph::new("convolutions", image, vec![]);
    let values = |count: usize| -> Vec<f32> {
        (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 250.0).collect()
    };
    let pool = Pool { kernel: 3, stride: 2, padding: 1, padding_after: 1 };
    let mut at = 0;
    for (name, inputs, pool) in [("a", 3, None), ("b", 16, None), ("c", 16, Some(pool))] {
        let conv = Conv {
            weights: values(16 * 9 * inputs),
            bias: None,
            groups: 1,
            kernel: 3,
            stride: 1,
            padding: 1,
            relu: true,
            pool,
        };
        at = graph.push(format!("conv.{name}"), Op::Conv(conv), &[at]);
    }
    let norm = LayerNorm { gamma: vec![1.0; 16], beta: vec![0.1; 16], epsilon: 1e-5 };
    at = graph.push("norm", Op::LayerNorm(norm), &[at]);
    at = graph.push("pool", Op::SeqPool { weights: values(16), bias: 0.1 }, &[at]);
    graph.push("fc", Op::Linear(Linear { weights: values(80), bias: None }), &[at]);
    graph
}

fn within(
    graph: &Graph,
    layout: impl Into<Layout>,
    budget: usize,
) -> Result<Compiled, CompileError> {
    compile_within(graph, &calibrated(graph), None, &Format::Int8, layout, budget)
}

/// Input and output, and scratch memory by Winograd or without.
const MAPS: usize = 2 * 4096;
const WINOGRAD: usize = MAPS + 64 * 16 + 512 + 8 * 16;
const DIRECT: usize = MAPS + 144 + 4 * 144;

#[test]
fn a_budget_that_is_met_changes_nothing() {
    let graph = convolutions();
    let free = compiled(&graph, &Format::Int8, Packing::CortexM);
    assert_eq!(free.packed.plan.arena_bytes, WINOGRAD);
    let met = within(&graph, Packing::CortexM, WINOGRAD).unwrap();
    assert_eq!(met, free);
}

#[test]
fn winograd_is_given_up_only_where_it_must_be() {
    let graph = convolutions();
    let free = compiled(&graph, &Format::Int8, Packing::CortexM);
    for budget in [DIRECT, WINOGRAD - 1] {
        let met = within(&graph, Packing::CortexM, budget).unwrap();
        assert_eq!(met.packed.plan.arena_bytes, DIRECT);
        let op = String::from("conv.b");
        assert_eq!(met.economies, [Economy::Direct { op, bytes: WINOGRAD - DIRECT }]);
        let bytes = AlignedBytes::new(&met.packed.bytes);
        let model = Model::parse(&bytes).unwrap();
        let marks: Vec<u8> = (0..model.op_count())
            .filter_map(|index| match model.op(index) {
                Ok(picovit::ops::Op::Conv(conv)) => Some(conv.record().winograd),
                _ => None,
            })
            .collect();
        assert_eq!(marks, [0, 0, 1]);
        assert_eq!(logits(&graph, &met.packed.bytes), logits(&graph, &free.packed.bytes));
    }
}

#[test]
fn hosts_give_up_many_tiles_and_then_whole_rows_of_patches() {
    let graph = convolutions();
    let free = compiled(&graph, &Format::Int8, Packing::Wide);
    let rows = compiled(&graph, &Format::Int8, Layout { packing: Packing::Wide, winograd: false });
    let arena = |compiled: &Compiled| compiled.packed.plan.arena_bytes;
    // Convolution `b` holds the arena; by rows it needs a patch and those of a row.
    let (tiles, row) = (72 * 32 * 16 + 36_864 + 16 * 16 * 16, 144 + 16 * 144);
    let direct = Economy::Direct { op: String::from("conv.b"), bytes: tiles - row };
    for (budget, economy) in [(arena(&free) - 1, direct), (arena(&rows) - 1, Economy::Portable)] {
        let met = within(&graph, Packing::Wide, budget).unwrap();
        assert_eq!(met.economies, [economy]);
        assert!(arena(&met) <= budget);
        assert_eq!(logits(&graph, &met.packed.bytes), logits(&graph, &free.packed.bytes));
    }
    assert!(within(&graph, Packing::Wide, 1000).is_err());
}

#[test]
fn rows_of_weights_give_up_many_tiles() {
    let graph = convolutions();
    let layout = Layout { packing: Packing::Portable, winograd: true };
    let free = compiled(&graph, &Format::Int8, layout);
    let direct = compiled(&graph, &Format::Int8, Packing::Portable);
    let arena = |compiled: &Compiled| compiled.packed.plan.arena_bytes;
    assert!(arena(&direct) < arena(&free));
    let met = within(&graph, layout, arena(&free) - 1).unwrap();
    let [Economy::Direct { op, bytes }] = &met.economies[..] else { panic!("{:?}", met.economies) };
    assert_eq!((op.as_str(), *bytes), ("conv.b", arena(&free) - arena(&direct)));
    let least = within(&graph, layout, arena(&direct)).unwrap();
    assert_eq!(arena(&least), arena(&direct));
    for fitted in [&met, &least, &direct] {
        assert_eq!(logits(&graph, &fitted.packed.bytes), logits(&graph, &free.packed.bytes));
    }
    assert!(within(&graph, layout, arena(&direct) - 1).is_err());
}

#[test]
fn an_impossible_budget_names_the_smallest_arena_and_what_holds_it() {
    let graph = convolutions();
    let error = within(&graph, Packing::CortexM, DIRECT - 1).unwrap_err();
    let CompileError::ArenaBudget { budget, smallest, minimal, op, buffers } = &error else {
        panic!("{error}")
    };
    assert_eq!((*budget, *smallest, *minimal, op.as_str()), (DIRECT - 1, DIRECT, true, "conv.b"));
    assert_eq!(buffers.len(), 3);
    let text = error.to_string();
    let scratch = format!("conv.b (scratch) {}", align_up(144 + 4 * 144));
    for part in ["8911 bytes", "at least 8912", "`conv.b`", "conv.a 4096", scratch.as_str()] {
        assert!(text.contains(part), "{text}");
    }
    // And that size is possible.
    within(&graph, Packing::CortexM, *smallest).unwrap();
}
