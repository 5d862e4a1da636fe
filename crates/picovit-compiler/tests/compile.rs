//! A random small network through the whole compiler and the engine.

use picovit::{Model, Site};
use picovit_compiler::graph::{
    Activation, Conv, Graph, ImageSpec, LayerNorm, Linear, Op, Pool, Shape,
};
use picovit_compiler::{AlignedBytes, Calibration, CompileError, Compiled, compile, drift};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

struct Random(Xoshiro256PlusPlus);

impl Random {
    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-scale..scale)).collect()
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Op {
        let scale = (3.0 / inputs as f32).sqrt();
        let bias = self.values(outputs, 0.2);
        Op::Linear(Linear { weights: self.values(inputs * outputs, scale), bias: Some(bias) })
    }

    fn norm(&mut self, width: usize) -> Op {
        let gamma = self.values(width, 0.4).iter().map(|v| v + 1.0).collect();
        Op::LayerNorm(LayerNorm { gamma, beta: self.values(width, 0.3), epsilon: 1e-5 })
    }
}

/// A CCT with 12x10 RGB images, one pooled and one plain convolution, and the blocks of both kinds.
fn network(seed: u64) -> Graph {
    let mut random = Random(Xoshiro256PlusPlus::seed_from_u64(seed));
    let image = ImageSpec {
        shape: Shape::map(12, 10, 3),
        mean: vec![0.5, 0.4, 0.3],
        std: vec![0.2, 0.25, 0.3],
    };
    let labels = (0..7).map(|i| format!("class {i}")).collect();
    let mut graph = Graph::new("random", image, labels);
    let (width, heads, head_dim) = (24, 3, 8);
    let conv = |random: &mut Random, inputs: usize, outputs: usize, pool, relu| {
        let weights = random.values(9 * inputs * outputs, (2.0 / (9 * inputs) as f32).sqrt());
        let bias = Some(random.values(outputs, 0.1));
        Op::Conv(Conv { weights, bias, groups: 1, kernel: 3, stride: 1, padding: 1, relu, pool })
    };
    let pool = Some(Pool { kernel: 3, stride: 2, padding: 1, padding_after: 1 });
    let first = conv(&mut random, 3, 16, pool, true);
    let mut x = graph.push("conv.0", first, &[0]);
    let second = conv(&mut random, 16, width, None, false);
    x = graph.push("conv.1", second, &[x]);
    let positions = random.values(graph.nodes[x].shape.len(), 0.3);
    x = graph.push("positions", Op::AddConstant(positions), &[x]);
    for block in 0..2 {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let norm = random.norm(width);
        let y = graph.push(name("pre_norm"), norm, &[x]);
        let op = random.linear(width, 3 * heads * head_dim);
        let y = graph.push(name("qkv"), op, &[y]);
        let y = graph.push(name("attn"), Op::Attention { heads, head_dim, groups: 1 }, &[y]);
        let op = random.linear(heads * head_dim, width);
        let y = graph.push(name("proj"), op, &[y]);
        x = graph.push(name("add1"), Op::Add, &[x, y]);
        let norm = random.norm(width);
        let norm = graph.push(name("norm1"), norm, &[x]);
        let op = random.linear(width, 40);
        let y = graph.push(name("linear1"), op, &[norm]);
        let y = graph.push(name("gelu"), Op::Table(Activation::Gelu), &[y]);
        let op = random.linear(40, width);
        let y = graph.push(name("linear2"), op, &[y]);
        // The first block replaces the residual stream by its norm, the second does not.
        let residual = if block == 0 { norm } else { x };
        x = graph.push(name("add2"), Op::Add, &[residual, y]);
    }
    let norm = random.norm(width);
    x = graph.push("norm", norm, &[x]);
    let weights = random.values(width, 0.5);
    x = graph.push("attention_pool", Op::SeqPool { weights, bias: 0.3 }, &[x]);
    let head = random.linear(width, 7);
    graph.push("fc", head, &[x]);
    graph
}

fn images(count: usize) -> Vec<Vec<u8>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(99);
    let image = |_| {
        // Smooth pictures: noise alone would average out.
        let (a, b): (f32, f32) = (random.random_range(-0.5..0.5), random.random_range(-0.5..0.5));
        let wave = |i: usize| ((i as f32 * a).sin() + (i as f32 / 30.0 * b).cos() + 2.0) * 63.0;
        (0..12 * 10 * 3).map(|i| wave(i) as u8).collect()
    };
    (0..count).map(image).collect()
}

fn compiled(graph: &Graph) -> Compiled {
    let images = images(64);
    let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    compile(graph, &Calibration::run(graph, &images), None).unwrap()
}

#[test]
fn every_layer_is_close_to_the_float_model() {
    for seed in 0..4 {
        let graph = network(seed);
        let compiled = compiled(&graph);
        let bytes = AlignedBytes::new(&compiled.packed.bytes);
        let model = Model::parse(&bytes).unwrap();
        let images = images(64);
        let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let layers = drift::layers(&graph, &model, &compiled.sites, &slices, || {});
        for layer in &layers {
            assert!(layer.sqnr_db > 25.0, "seed {seed}: {layer:?}");
            assert!(layer.saturation < 2.0, "seed {seed}: {layer:?}");
        }
        let labelled: Vec<(&[u8], usize)> = slices.iter().map(|&s| (s, 0)).collect();
        let evaluation = drift::evaluate(&graph, &model, &labelled, || {});
        assert!(evaluation.logit_sqnr_db > 28.0, "seed {seed}: {evaluation:?}");
    }
}

#[test]
fn every_site_of_the_engine_is_described() {
    #[derive(Default)]
    struct Seen(std::collections::BTreeSet<(usize, Site)>);
    impl picovit::Probe for Seen {
        fn i8(&mut self, op: usize, site: Site, _: usize, _: usize, _: &[i8]) {
            self.0.insert((op, site));
        }
        fn i16(&mut self, op: usize, site: Site, _: usize, _: usize, _: &[i16]) {
            self.0.insert((op, site));
        }
    }
    let graph = network(1);
    let compiled = compiled(&graph);
    let bytes = AlignedBytes::new(&compiled.packed.bytes);
    let model = Model::parse(&bytes).unwrap();
    let mut seen = Seen::default();
    drift::Runner::new(&model).logits(&images(1)[0], &mut seen);
    let described = compiled.sites.iter().map(|s| (s.op, s.site)).collect();
    assert_eq!(seen.0, described);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let graph = network(2);
    assert_eq!(compiled(&graph).packed.bytes, compiled(&graph).packed.bytes);
}

#[test]
fn compile_errors_name_the_node() {
    let mut graph = network(3);
    let calibration = Calibration::run(&graph, &[]);
    assert_eq!(compile(&graph, &calibration, None), Err(CompileError::NoCalibration));

    let pictures = images(2);
    let slices: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
    let last = graph.nodes.len() - 1;
    graph.push("extra", Op::Table(Activation::Gelu), &[last]);
    let error = compile(&graph, &Calibration::run(&graph, &slices), None).unwrap_err();
    assert!(error.to_string().starts_with("extra: nothing may follow the classifier"), "{error}");
    graph.nodes.pop();

    if let Op::Linear(linear) = &mut graph.nodes[last].op {
        linear.weights[0] = f32::NAN;
    }
    let error = compile(&graph, &Calibration::run(&graph, &slices), None).unwrap_err();
    assert!(error.to_string().starts_with("fc: its float values are not finite"), "{error}");
}
