//! Random small networks of every family through the whole compiler and the engine.

mod networks;

use std::collections::BTreeSet;

use networks::{FAMILIES, Family, network};
use picovit::{Model, Site};
use picovit_compiler::fuse::fuse;
use picovit_compiler::graph::{Activation, Conv, Graph, Linear, Op};
use picovit_compiler::quantize::op_name;
use picovit_compiler::{
    AlignedBytes, Calibration, CompileError, Compiled, Format, compile, compile_as, drift,
    sensitivity,
};
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

fn logit_sqnr(graph: &Graph, compiled: &Compiled) -> f64 {
    let bytes = AlignedBytes::new(&compiled.packed.bytes);
    let model = Model::parse(&bytes).unwrap();
    let images = images(32);
    let labelled: Vec<(&[u8], usize)> = images.iter().map(|s| (s.as_slice(), 0)).collect();
    drift::evaluate(graph, &model, &labelled, || {}).logit_sqnr_db
}

fn compiled_as(graph: &Graph, format: &Format) -> Result<Compiled, CompileError> {
    let images = images(64);
    let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    compile_as(graph, &Calibration::run(graph, &images), None, format)
}

#[test]
fn half_precision_weights_change_next_to_nothing() {
    for family in FAMILIES {
        let graph = network(family, 5);
        let compiled = compiled_as(&graph, &Format::F16).unwrap();
        let decibels = logit_sqnr(&graph, &compiled);
        assert!(decibels > 55.0, "{family:?}: {decibels}");
    }
}

/// Every boundary between integers and floats, one operation at a time and many at once.
#[test]
fn any_operation_can_stay_on_floats() {
    for family in FAMILIES {
        let graph = network(family, 6);
        let names: Vec<String> =
            fuse(&graph).unwrap().iter().map(|op| op_name(&graph, op)).collect();
        let integer = logit_sqnr(&graph, &compiled(&graph));
        // What a concatenation joins must agree.
        let joined = ["mv2.1", "block.fusion"];
        let chosen = |choose: &dyn Fn(usize) -> bool| {
            let named = names.iter().enumerate().filter(|(i, _)| choose(*i));
            let mut set: BTreeSet<String> = named.map(|(_, name)| name.clone()).collect();
            if joined.iter().any(|name| set.contains(*name)) {
                set.extend(joined.map(String::from));
            }
            set
        };
        for one in 0..names.len() {
            let format = Format::Mixed(chosen(&|i| i == one));
            let decibels = logit_sqnr(&graph, &compiled_as(&graph, &format).unwrap());
            assert!(decibels > integer - 3.0, "{family:?} {format:?}: {decibels}, {integer}");
        }
        for parity in 0..2 {
            let format = Format::Mixed(chosen(&|i| i % 2 == parity));
            let decibels = logit_sqnr(&graph, &compiled_as(&graph, &format).unwrap());
            assert!(decibels > integer - 3.0, "{family:?} {format:?}: {decibels}, {integer}");
        }
        let all = Format::Mixed(chosen(&|_| true));
        assert!(logit_sqnr(&graph, &compiled_as(&graph, &all).unwrap()) > 55.0, "{family:?}");
    }
    let graph = network(Family::MobileVit, 6);
    let half = Format::Mixed(BTreeSet::from(["block.fusion".into()]));
    let error = compiled_as(&graph, &half).unwrap_err().to_string();
    assert!(error.contains("block.fusion") && error.contains("mv2.1"), "{error}");
    let unknown = Format::Mixed(BTreeSet::from(["blocks.9.attn".into()]));
    let error = compiled_as(&graph, &unknown).unwrap_err().to_string();
    assert!(error.contains("`blocks.9.attn`") && error.contains("blocks.1.attn"), "{error}");
}

#[test]
fn the_layers_that_cost_most_come_first_and_pay_most() {
    for family in FAMILIES {
        let graph = network(family, 2);
        let images = images(32);
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let calibration = Calibration::run(&graph, &images);
        let found = sensitivity::measure(&graph, &calibration, &images, || {}).unwrap();
        let all: BTreeSet<String> = found.iter().flat_map(|one| one.layers.clone()).collect();
        let named: BTreeSet<String> =
            sensitivity::layers(&graph).unwrap().into_iter().flatten().collect();
        assert_eq!(all, named);
        assert!(found.is_sorted_by(|a, b| a.noise_share >= b.noise_share), "{found:?}");
        let sqnr = |format: &Format| {
            let compiled = compile_as(&graph, &calibration, None, format).unwrap();
            sensitivity::logit_sqnr_db(&graph, &compiled, &images)
        };
        let (int8, worst) = (sqnr(&Format::Int8), &found[0]);
        assert!(worst.noise_share > 5.0 && worst.logit_sqnr_db > int8 + 0.2, "{int8}: {found:?}");
        assert_eq!(
            sensitivity::keep_worst(&found, 1),
            Format::Mixed(worst.layers.iter().cloned().collect())
        );
        assert_eq!(sqnr(&sensitivity::keep_worst(&found, 1)), worst.logit_sqnr_db);
        let three = sqnr(&sensitivity::keep_worst(&found, 3));
        assert!(three > worst.logit_sqnr_db, "{family:?}: {three} dB, {}", worst.logit_sqnr_db);
    }
}

#[test]
fn every_site_of_the_engine_is_described() {
    #[derive(Default)]
    struct Seen(BTreeSet<(usize, Site)>);
    impl picovit::Probe for Seen {
        fn i8(&mut self, op: usize, site: Site, _: usize, _: usize, _: &[i8]) {
            self.0.insert((op, site));
        }
        fn i16(&mut self, op: usize, site: Site, _: usize, _: usize, _: &[i16]) {
            self.0.insert((op, site));
        }
        fn f32(&mut self, op: usize, site: Site, _: usize, _: usize, _: &[f32]) {
            self.0.insert((op, site));
        }
    }
    for (family, format) in
        FAMILIES.into_iter().flat_map(|family| [(family, Format::Int8), (family, Format::F16)])
    {
        let graph = network(family, 1);
        let compiled = compiled_as(&graph, &format).unwrap();
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

/// Class probabilities shift differences of logits to the left: however large logits are, none overflows,
/// or there is no artifact.
#[test]
fn no_difference_of_logits_overflows() {
    let pictures = images(2);
    let slices: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
    let (mut shifted, mut refused) = (0, 0);
    for exponent in 0..12 {
        let mut graph = network(Family::Cct, 3);
        let Some(Op::Linear(linear)) = graph.nodes.last_mut().map(|node| &mut node.op) else {
            panic!("the last node is the classifier")
        };
        for value in linear.weights.iter_mut().chain(linear.bias.iter_mut().flatten()) {
            *value *= 10f32.powi(exponent);
        }
        match compile(&graph, &Calibration::run(&graph, &slices), None) {
            Ok(compiled) => {
                let bytes = AlignedBytes::new(&compiled.packed.bytes);
                let shift = Model::parse(&bytes).unwrap().header().logit_shift;
                assert!(i64::from(u16::MAX) << shift <= i64::from(i32::MAX), "by {shift}");
                shifted += usize::from(shift > 0);
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("logits: a difference leaves"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(shifted > 0 && refused > 0, "{shifted} {refused}");
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

/// Makes the fourth output of every layer so small, with a small bias.
fn wither(graph: &mut Graph, factor: f32) {
    for node in &mut graph.nodes {
        let outputs = node.shape.channels;
        let (weights, bias) = match &mut node.op {
            Op::Conv(conv) => (&mut conv.weights, &mut conv.bias),
            Op::Linear(linear) => (&mut linear.weights, &mut linear.bias),
            _ => continue,
        };
        let inputs = weights.len() / outputs;
        weights[3 * inputs..4 * inputs].iter_mut().for_each(|weight| *weight *= factor);
        bias.as_mut().unwrap()[3] = 1e-4;
    }
}

#[test]
fn layers_with_a_dead_output_quantize() {
    for family in FAMILIES {
        for factor in [0.0, 1e-10, 1e-4] {
            let mut graph = network(family, 6);
            wither(&mut graph, factor);
            let decibels = logit_sqnr(&graph, &compiled(&graph));
            assert!(decibels > 25.0, "{family:?} {factor}: {decibels}");
        }
    }
}

#[test]
fn plain_pictures_are_enough_to_quantize() {
    for family in FAMILIES {
        for positions in [false, true] {
            let mut graph = network(family, 7);
            for node in &mut graph.nodes {
                if let (Op::AddConstant(values), false) = (&mut node.op, positions) {
                    values.fill(0.0);
                }
            }
            let black = vec![0; networks::PIXELS];
            let calibration = Calibration::run(&graph, &[&black, &black]);
            let compiled = compile(&graph, &calibration, None);
            let compiled = compiled.unwrap_or_else(|error| panic!("{family:?}: {error}"));
            let bytes = AlignedBytes::new(&compiled.packed.bytes);
            let model = Model::parse(&bytes).unwrap();
            let same = [(&black[..], 0)];
            let decibels = drift::evaluate(&graph, &model, &same, || {}).logit_sqnr_db;
            assert!(decibels > 25.0, "{family:?} {positions}: {decibels}");
        }
    }
}

/// The node of this kind that comes first.
fn first(graph: &mut Graph, is: impl Fn(&Op) -> bool) -> &mut Op {
    graph.nodes.iter_mut().map(|node| &mut node.op).find(|op| is(op)).expect("in the family")
}

#[test]
fn positions_larger_than_the_stream_widen_it() {
    let mut graph = network(Family::VitLite, 8);
    if let Op::Conv(Conv { bias: Some(bias), .. }) | Op::Linear(Linear { bias: Some(bias), .. }) =
        first(&mut graph, |op| matches!(op, Op::Conv(_) | Op::Linear(_)))
    {
        bias.fill(-60.0);
    }
    if let Op::AddConstant(values) = first(&mut graph, |op| matches!(op, Op::AddConstant(_))) {
        // Not that of the class token, which nothing brings back.
        values[24..].fill(120.0);
    }
    let decibels = logit_sqnr(&graph, &compiled(&graph));
    assert!(decibels > 25.0, "{decibels}");
}

/// Decibels with weights rounded to the nearest, and so that their errors compensate each other: means over
/// networks with a norm channel that is this constant.
fn rounded(family: Family, beta: f32) -> [f64; 2] {
    let images = images(40);
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let each = (10..20).map(|seed| {
        let mut graph = network(family, seed);
        for node in &mut graph.nodes {
            if let Op::LayerNorm(norm) = &mut node.op {
                norm.gamma[1] = 0.0;
                norm.beta[1] = beta;
            }
        }
        let nearest = Calibration::run(&graph, &slices);
        let compensating = nearest.clone().with_covariances(&graph, &slices, || {});
        [nearest, compensating]
            .map(|calibration| logit_sqnr(&graph, &compile(&graph, &calibration, None).unwrap()))
    });
    each.fold([0.0; 2], |sum, db| [sum[0] + db[0] / 10.0, sum[1] + db[1] / 10.0])
}

#[test]
fn a_channel_that_stands_still_does_not_cost_the_compensation() {
    for (family, gain) in [(Family::Cct, 2.0), (Family::VitLite, 0.4), (Family::KerasCct, 1.0)] {
        let [nearest, compensating] = rounded(family, 3.0);
        assert!(compensating > nearest + gain, "{family:?}: {nearest} {compensating}");
    }
}
