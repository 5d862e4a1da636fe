//! What the compiler writes keeps its promises: the reference, which panics where an accumulator
//! overflows, runs every compiled network on every image, and the engine gives the same logits.

#[path = "../../crates/picovit-compiler/tests/networks/mod.rs"]
mod networks;

use std::collections::BTreeSet;

use picovit::format::float::Conversion;
use picovit::kernels::Isa;
use picovit::{Engine, Model};
use picovit_compiler::fuse::fuse;
use picovit_compiler::graph::{
    Activation, Conv, Graph, ImageSpec, LayerNorm, Linear, NodeId, Op, Pool, Shape,
};
use picovit_compiler::quantize::op_name;
use picovit_compiler::{Calibration, Format, Layout, Packing, compile, compile_as, compile_for};
use picovit_tests::reference::{Aligned, FloatOp, Op as Operation, Random, parse, run};

/// Float constants of any size: most near `scale`, some zero, a few large.
struct Floats {
    random: Random,
}

impl Floats {
    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let value = (self.random.unit() * 2.0 - 1.0) as f32 * scale;
                match self.random.within(0, 40) {
                    0 => 0.0,
                    1 => value * 10.0,
                    _ => value,
                }
            })
            .collect()
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Op {
        let scale = 2.0 / (inputs as f32).sqrt();
        Op::Linear(Linear {
            weights: self.values(inputs * outputs, scale),
            bias: self.random.one_in(2).then(|| self.values(outputs, 1.0)),
        })
    }

    fn norm(&mut self, width: usize) -> Op {
        Op::LayerNorm(LayerNorm {
            gamma: self.values(width, 1.5),
            beta: self.values(width, 0.5),
            epsilon: 1e-5,
        })
    }
}

/// A random compact transformer.
fn graph(seed: u64) -> Graph {
    let mut floats = Floats { random: Random::new(seed) };
    let size = |floats: &mut Floats, low, high| floats.random.within(low, high) as usize;
    let (height, width) = match seed % 8 {
        // Maps that have enough of Winograd's larger tiles.
        0 => (24, 32),
        _ => (size(&mut floats, 5, 14), size(&mut floats, 5, 14)),
    };
    let channels = if seed.is_multiple_of(2) { 1 } else { 3 };
    let image = ImageSpec {
        shape: Shape::map(height, width, channels),
        mean: vec![0.47; channels],
        std: vec![0.21; channels],
    };
    let classes = size(&mut floats, 1, 9);
    let mut graph = Graph::new("random", image, vec![]);
    let mut at: NodeId = 0;
    let mut inputs = channels;
    let layers = if seed.is_multiple_of(8) { 2 } else { size(&mut floats, 1, 2) };
    for layer in 0..layers {
        let outputs = match seed % 4 {
            // Numbers of channels that Winograd's algorithm takes.
            0 => 16 + layer * if seed.is_multiple_of(16) { 16 } else { 8 },
            _ => size(&mut floats, 2, 20),
        };
        let conv = Conv {
            weights: floats.values(outputs * 9 * inputs, 0.4),
            bias: floats.random.one_in(2).then(|| floats.values(outputs, 0.5)),
            groups: 1,
            kernel: 3,
            stride: 1,
            padding: 1,
            relu: true,
            pool: Some(Pool { kernel: 3, stride: 2, padding: 1, padding_after: 1 }),
        };
        at = graph.push(format!("conv.{layer}"), Op::Conv(conv), &[at]);
        inputs = outputs;
    }
    if floats.random.one_in(2) {
        let positions = floats.values(graph.nodes[at].shape.len(), 0.5);
        at = graph.push("positions", Op::AddConstant(positions), &[at]);
    }
    for block in 0..size(&mut floats, 0, 2) {
        let (heads, head_dim) = (size(&mut floats, 1, 3), size(&mut floats, 1, 8));
        let inner = heads * head_dim;
        let norm = floats.norm(inputs);
        let y = graph.push(format!("{block}.norm"), norm, &[at]);
        let qkv = floats.linear(inputs, 3 * inner);
        let y = graph.push(format!("{block}.qkv"), qkv, &[y]);
        let attention = Op::Attention { heads, head_dim, groups: 1 };
        let y = graph.push(format!("{block}.attention"), attention, &[y]);
        let proj = floats.linear(inner, inputs);
        let y = graph.push(format!("{block}.proj"), proj, &[y]);
        at = graph.push(format!("{block}.add"), Op::Add, &[at, y]);

        let hidden = size(&mut floats, 1, 30);
        let norm = floats.norm(inputs);
        let y = graph.push(format!("{block}.norm1"), norm, &[at]);
        if seed.is_multiple_of(3) {
            at = y;
        }
        let linear = floats.linear(inputs, hidden);
        let u = graph.push(format!("{block}.linear1"), linear, &[y]);
        let u = graph.push(format!("{block}.gelu"), Op::Table(Activation::Gelu), &[u]);
        let linear = floats.linear(hidden, inputs);
        let u = graph.push(format!("{block}.linear2"), linear, &[u]);
        at = graph.push(format!("{block}.add1"), Op::Add, &[at, u]);
    }
    let norm = floats.norm(inputs);
    at = graph.push("norm", norm, &[at]);
    let weights = floats.values(inputs, 1.0);
    at = graph.push("pool", Op::SeqPool { weights, bias: 0.3 }, &[at]);
    let head = floats.linear(inputs, classes);
    graph.push("head", head, &[at]);
    graph
}

/// What vectors without dot products take.
const ROWS_AND_TILES: Layout = Layout { packing: Packing::Portable, winograd: true };

/// Calibrated on images of little contrast, run on all that there may be.
fn keeps_the_contract(graph: &Graph, seed: u64, format: &Format, name: &str) {
    let len = graph.image.shape.len();
    let mut random = Random::new(seed + 1000);
    let mut image =
        |low, high| -> Vec<u8> { (0..len).map(|_| random.within(low, high) as u8).collect() };
    let calibration: Vec<Vec<u8>> = (0..4).map(|_| image(100, 150)).collect();
    let calibration: Vec<&[u8]> = calibration.iter().map(Vec::as_slice).collect();
    let calibration = Calibration::run(graph, &calibration);
    let mut images = vec![vec![0; len], vec![255; len], image(100, 150)];
    images.extend((0..4).map(|_| image(0, 255)));
    images.push(image(0, 1).iter().map(|&bit| bit * 255).collect());
    for layout in Packing::ALL.map(Layout::from).into_iter().chain([ROWS_AND_TILES]) {
        let compiled = compile_for(graph, &calibration, None, format, layout)
            .unwrap_or_else(|error| panic!("{name} is refused: {error}"));
        let artifact = Aligned::copy(&compiled.packed.bytes);
        agrees_with_the_reference(&artifact, &images, &format!("{name}, {layout:?}"));
    }
}

fn agrees_with_the_reference(artifact: &[u8], images: &[Vec<u8>], name: &str) {
    let network = parse(artifact);
    assert_eq!(network.exp_table, picovit_tests::reference::exp_table());
    let model = Model::parse(artifact).unwrap();
    let macs: u64 = (0..model.op_count()).map(|index| model.op(index).unwrap().macs()).sum();
    assert_eq!(macs, model.header().macs, "{name}: operations and header differ in MACs");
    let mut arena = Aligned::filled(model.arena_bytes(), 0xa5);
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    for (count, image) in images.iter().enumerate() {
        let input: Vec<i8> = image.iter().map(|&p| (i16::from(p) - 128) as i8).collect();
        let expected = run(artifact, &input);
        engine.input().copy_from_slice(&input);
        if count == 0 {
            // One more than there are: it does nothing.
            (0..=model.op_count()).for_each(|index| engine.run_op(index));
            assert_eq!(engine.logits(), expected, "{name}");
            continue;
        }
        // Tests beside this one may select another meanwhile: their bytes are the same.
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            isa.select();
            engine.input().copy_from_slice(&input);
            assert_eq!(engine.run(), expected, "{name}, {}", isa.name());
        }
    }
}

/// Convolutions by Winograd in a network compiled for this packing.
fn by_winograd(graph: &Graph, layout: impl Into<Layout>) -> usize {
    let images = [vec![90; graph.image.shape.len()], vec![160; graph.image.shape.len()]];
    let calibration = Calibration::run(graph, &images.each_ref().map(Vec::as_slice));
    let compiled = compile_for(graph, &calibration, None, &Format::Int8, layout).unwrap();
    let artifact = Aligned::copy(&compiled.packed.bytes);
    let model = Model::parse(&artifact).unwrap();
    let marks = (0..model.op_count()).filter_map(|index| match model.op(index) {
        Ok(picovit::ops::Op::Conv(conv)) => Some(conv.record().winograd),
        _ => None,
    });
    let marked: Vec<u8> = marks.filter(|&mark| mark != 0).collect();
    let kind = match model.packing() {
        Packing::CortexM => 1,
        Packing::Helium => 2,
        _ => 3,
    };
    assert!(marked.iter().all(|&mark| mark == kind), "{marked:?}");
    marked.len()
}

/// The networks above have such convolutions, and no other layout does.
#[test]
fn winograd_is_for_the_convolutions_that_gain() {
    let convolutions = (0..60).map(|seed| by_winograd(&graph(seed), Packing::CortexM));
    assert!(convolutions.sum::<usize>() >= 5);
    let convolutions = (0..60).map(|seed| by_winograd(&graph(seed), Packing::Helium));
    assert!(convolutions.sum::<usize>() >= 3);
    let convolutions = (0..60).map(|seed| by_winograd(&graph(seed), Packing::Wide));
    let convolutions = convolutions.sum::<usize>();
    assert!(convolutions >= 4, "{convolutions}");
    let rows = (0..60).map(|seed| by_winograd(&graph(seed), ROWS_AND_TILES));
    assert_eq!(rows.sum::<usize>(), convolutions);
    assert!((0..60).all(|seed| by_winograd(&graph(seed), Packing::Portable) == 0));
    for packing in [Packing::CortexM, Packing::Helium, Packing::Wide] {
        let direct = Layout { packing, winograd: false };
        assert!((0..60).all(|seed| by_winograd(&graph(seed), direct) == 0));
    }
}

#[test]
fn compiled_networks_keep_the_contract() {
    for seed in 0..60 {
        let graph = graph(seed);
        keeps_the_contract(&graph, seed, &Format::Int8, &format!("network {seed}"));
        if seed < 20 {
            keeps_the_contract(&graph, seed, &Format::F16, &format!("network {seed} on floats"));
        }
    }
}

#[test]
fn every_family_keeps_the_contract() {
    for family in networks::FAMILIES {
        for seed in 0..16 {
            let graph = networks::network(family, seed);
            assert_eq!(graph.image.shape.len(), networks::PIXELS);
            keeps_the_contract(&graph, seed, &Format::Int8, &format!("{family:?} {seed}"));
        }
    }
}

/// Some of a network's operations on floats: every second one, or any.
fn mixed(graph: &Graph, seed: u64) -> Format {
    let mut random = Random::new(seed);
    let names = fuse(graph).unwrap().into_iter().map(|op| op_name(graph, &op));
    let mut floats: BTreeSet<String> = names
        .enumerate()
        .filter(|&(i, _)| if seed < 2 { i % 2 == seed as usize } else { random.one_in(2) })
        .map(|(_, name)| name)
        .collect();
    // What a concatenation joins must agree.
    let joined = ["mv2.1", "block.fusion"];
    if joined.iter().any(|name| floats.contains(*name)) {
        floats.extend(joined.map(String::from));
    }
    Format::Mixed(floats)
}

#[test]
fn every_family_keeps_the_contract_on_floats() {
    for family in networks::FAMILIES {
        for seed in 0..8 {
            let graph = networks::network(family, seed);
            keeps_the_contract(&graph, seed, &Format::F16, &format!("{family:?} {seed}"));
        }
    }
}

#[test]
fn every_family_keeps_the_contract_on_both() {
    for family in networks::FAMILIES {
        for seed in 0..12 {
            let graph = networks::network(family, seed);
            let format = mixed(&graph, seed);
            keeps_the_contract(&graph, seed, &format, &format!("{family:?} {seed} {format:?}"));
        }
    }
}

/// The families between them need every kind of float operation and every conversion.
#[test]
fn the_families_cover_every_operation_on_floats() {
    let (mut kinds, mut conversions) = (BTreeSet::new(), BTreeSet::new());
    let (mut second, mut int8) = (false, [false; 2]);
    for family in networks::FAMILIES {
        let graph = networks::network(family, 0);
        let images = [[90; networks::PIXELS], [160; networks::PIXELS]];
        let calibration = Calibration::run(&graph, &images.each_ref().map(|i| &i[..]));
        for format in [Format::F16, mixed(&graph, 0), mixed(&graph, 1)] {
            let compiled = compile_as(&graph, &calibration, None, &format).unwrap();
            let artifact = Aligned::copy(&compiled.packed.bytes);
            let model = Model::parse(&artifact).unwrap();
            assert_eq!(model.header().format, if format == Format::F16 { 1 } else { 2 });
            if format == Format::F16 {
                kinds.extend((0..model.op_count()).map(|i| model.op(i).unwrap().kind()));
            }
            for op in parse(&artifact).ops {
                match op {
                    Operation::Float(FloatOp::Convert(op)) => {
                        conversions.insert(op.conversion as u16);
                    }
                    Operation::Float(FloatOp::Conv(op)) => {
                        second |= op.second.is_some();
                        int8[usize::from(op.int8.is_some())] = true;
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    let all: BTreeSet<u16> =
        (0..=u16::MAX).filter_map(Conversion::from_u16).map(|c| c as u16).collect();
    assert_eq!(conversions, all);
    assert!(second && int8 == [true; 2]);
}

/// The families between them need every kind of operation.
#[test]
fn the_families_cover_every_operation() {
    let mut kinds = BTreeSet::new();
    let (mut second, mut grouped, mut class_token) = (false, false, false);
    for family in networks::FAMILIES {
        let graph = networks::network(family, 0);
        let images = [[90; networks::PIXELS], [160; networks::PIXELS]];
        let calibration = Calibration::run(&graph, &images.each_ref().map(|i| &i[..]));
        let artifact = Aligned::copy(&compile(&graph, &calibration, None).unwrap().packed.bytes);
        let model = Model::parse(&artifact).unwrap();
        kinds.extend((0..model.op_count()).map(|i| model.op(i).unwrap().kind()));
        second |= (0..model.op_count()).any(|i| model.op(i).unwrap().second_input().is_some());
        for op in parse(&artifact).ops {
            match op {
                Operation::Attention(op) => grouped |= op.groups > 1,
                Operation::Embed(op) => class_token |= op.class_token,
                _ => {}
            }
        }
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert!(second && grouped && class_token);
}
