//! What the compiler writes keeps its promises: the reference, which panics where an accumulator
//! overflows, runs every compiled network on every image, and the engine gives the same logits.

use picovit::{Engine, Model};
use picovit_compiler::graph::{
    Activation, Conv, Graph, ImageSpec, LayerNorm, Linear, NodeId, Op, Pool, Shape,
};
use picovit_compiler::{Calibration, compile};
use picovit_tests::reference::{Aligned, Random, parse, run};

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
    let (height, width) = (size(&mut floats, 5, 14), size(&mut floats, 5, 14));
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
    for layer in 0..size(&mut floats, 1, 2) {
        let outputs = size(&mut floats, 2, 20);
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

#[test]
fn compiled_networks_keep_the_contract() {
    for seed in 0..60 {
        let graph = graph(seed);
        let len = graph.image.shape.len();
        let mut random = Random::new(seed + 1000);
        // Calibrated on images of little contrast, run on all that there may be.
        let mut image =
            |low, high| -> Vec<u8> { (0..len).map(|_| random.within(low, high) as u8).collect() };
        let calibration: Vec<Vec<u8>> = (0..4).map(|_| image(100, 150)).collect();
        let calibration: Vec<&[u8]> = calibration.iter().map(Vec::as_slice).collect();
        let calibration = Calibration::run(&graph, &calibration);
        let compiled = compile(&graph, &calibration, None)
            .unwrap_or_else(|error| panic!("network {seed} is refused: {error}"));
        let artifact = Aligned::copy(&compiled.packed.bytes);

        let network = parse(&artifact);
        assert_eq!(network.exp_table, picovit_tests::reference::exp_table());
        let model = Model::parse(&artifact).unwrap();
        let mut arena = Aligned::filled(model.arena_bytes(), 0xa5);
        let mut engine = Engine::new(&model, &mut arena).unwrap();
        let mut images = vec![vec![0; len], vec![255; len], image(100, 150)];
        images.extend((0..4).map(|_| image(0, 255)));
        images.push(image(0, 1).iter().map(|&bit| bit * 255).collect());
        for image in images {
            let input: Vec<i8> = image.iter().map(|&p| (i16::from(p) - 128) as i8).collect();
            engine.input().copy_from_slice(&input);
            assert_eq!(engine.run(), run(&artifact, &input), "network {seed}");
        }
    }
}
