//! Random small networks of every family through the whole compiler and the engine.

mod networks;

use networks::{FAMILIES, Family, network};
use picovit::{Model, Site};
use picovit_compiler::graph::{Activation, Graph, Op};
use picovit_compiler::{AlignedBytes, Calibration, CompileError, Compiled, compile, drift};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

fn images(count: usize) -> Vec<Vec<u8>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(99);
    let image = |_| {
        // Smooth pictures: noise alone would average out.
        let (a, b): (f32, f32) = (random.random_range(-0.5..0.5), random.random_range(-0.5..0.5));
        let wave = |i: usize| ((i as f32 * a).sin() + (i as f32 / 30.0 * b).cos() + 2.0) * 63.0;
        (0..networks::PIXELS).map(|i| wave(i) as u8).collect()
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
    for (family, seed) in
        FAMILIES.into_iter().flat_map(|family| (0..4).map(move |seed| (family, seed)))
    {
        let graph = network(family, seed);
        let compiled = compiled(&graph);
        let bytes = AlignedBytes::new(&compiled.packed.bytes);
        let model = Model::parse(&bytes).unwrap();
        let images = images(64);
        let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let layers = drift::layers(&graph, &model, &compiled.sites, &slices, || {});
        // Random inverted residuals have channels that hardly move.
        let least = if family == Family::MobileVit { 17.0 } else { 25.0 };
        for layer in &layers {
            assert!(layer.sqnr_db > least, "{family:?} {seed}: {layer:?}");
            assert!(layer.saturation < 2.0, "{family:?} {seed}: {layer:?}");
        }
        let labelled: Vec<(&[u8], usize)> = slices.iter().map(|&s| (s, 0)).collect();
        let evaluation = drift::evaluate(&graph, &model, &labelled, || {});
        assert!(evaluation.logit_sqnr_db > 28.0, "{family:?} {seed}: {evaluation:?}");
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
    for family in FAMILIES {
        let graph = network(family, 1);
        let compiled = compiled(&graph);
        let bytes = AlignedBytes::new(&compiled.packed.bytes);
        let model = Model::parse(&bytes).unwrap();
        let mut seen = Seen::default();
        drift::Runner::new(&model).logits(&images(1)[0], &mut seen);
        let described = compiled.sites.iter().map(|s| (s.op, s.site)).collect();
        assert_eq!(seen.0, described, "{family:?}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for family in FAMILIES {
        let graph = network(family, 2);
        assert_eq!(compiled(&graph).packed.bytes, compiled(&graph).packed.bytes);
    }
}

#[test]
fn compile_errors_name_the_node() {
    let mut graph = network(Family::Cct, 3);
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
