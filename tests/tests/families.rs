//! Every family the whole way: float module, graph, int8 and f16 artifact, engine.
//!
//! The weights are random: what counts is that nothing between module and engine loses a family,
//! and how much memory it takes. Accuracy is measured on the models that ship.

use burn::backend::Flex;
use picovit::Model;
use picovit_compiler::calibrate::Method;
use picovit_compiler::graph::Graph;
use picovit_compiler::{AlignedBytes, Calibration, Executor, Format, compile_as, drift};
use picovit_models::{ModelConfig, Network, float_logits, lower};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A model, its image's edge and channels, and the most an int8 arena may take, in bytes.
const MODELS: [(&str, usize, usize, usize); 5] = [
    ("cct_2_3x2", 32, 1, 33 * 1024),
    ("vit_lite_2_4", 32, 1, 64 * 1024),
    ("cvt_2_4", 32, 1, 64 * 1024),
    ("cct_2_3x2_keras", 32, 3, 64 * 1024),
    ("mobilevit_xxs", 128, 3, 128 * 1024),
];

/// Smooth random pictures.
fn pictures(count: usize, config: &ModelConfig) -> Vec<Vec<u8>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let (width, channels) = (config.image_size.width, config.channels);
    let length = config.image_size.height * width * channels;
    let picture = |_| {
        let [a, b, c]: [f32; 3] = std::array::from_fn(|_| random.random_range(-0.4..0.4));
        let value = |i: usize| {
            let (x, y) = (i / channels % width, i / channels / width);
            let tone = (i % channels) as f32 * c;
            ((x as f32 * a + tone).sin() + (y as f32 * b).cos() + 2.0) * 63.0
        };
        (0..length).map(|i| value(i) as u8).collect()
    };
    (0..count).map(picture).collect()
}

/// The network with initial weights, and its graph.
fn network(name: &str, edge: usize, channels: usize) -> (Network<Flex>, ModelConfig, Graph) {
    let config = ModelConfig::named(name).unwrap();
    let config = config.with_channels(channels).with_image_size(edge, edge);
    let network = Network::<Flex>::init(&config, 5, &Default::default()).unwrap();
    let graph = lower(&network, &config);
    (network, config, graph)
}

#[test]
fn every_family_reaches_the_engine() {
    for (name, edge, channels, arena) in MODELS {
        let (network, config, graph) = network(name, edge, channels);
        assert_eq!(graph.macs(), config.macs(), "{name}");
        let images = pictures(8, &config);
        let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();

        let pixels = images[..2].concat();
        let burn = float_logits(&network, &config, &pixels, 2, &Default::default());
        for (row, image) in burn.iter().zip(&images) {
            let ours = Executor::new(&graph).run_pixels(image);
            for (a, b) in row.iter().zip(ours.logits()) {
                assert!((a - b).abs() <= 1e-4, "{name}: Burn {a}, graph {b}");
            }
        }

        let calibration = Calibration::run(&graph, &slices);
        let calibration = calibration.refined(&graph, &slices, Method::Auto, || {});
        let calibration = calibration.with_covariances(&graph, &slices, || {});
        // Untrained networks answer alike to everything, which leaves less signal than a trained one.
        for (format, decibels) in [(Format::Int8, 20.0), (Format::F16, 50.0)] {
            let compiled = compile_as(&graph, &calibration, None, &format).unwrap();
            let bytes = AlignedBytes::new(&compiled.packed.bytes);
            let model = Model::parse(&bytes).unwrap();
            let labelled: Vec<(&[u8], usize)> = slices.iter().map(|&image| (image, 0)).collect();
            let found = drift::evaluate(&graph, &model, &labelled, || {});
            let needed = model.arena_bytes();
            println!(
                "{name} {}: {:.1} dB, arena {needed} bytes (lower bound {})",
                format.name(),
                found.logit_sqnr_db,
                compiled.packed.plan.lower_bound
            );
            assert!(found.logit_sqnr_db >= decibels, "{name} {format:?}: {found:?}");
            assert_eq!(needed, compiled.packed.plan.lower_bound, "{name} {format:?}");
            if format == Format::Int8 {
                assert!(needed <= arena, "{name}: arena of {needed} bytes");
            }
        }
    }
}
