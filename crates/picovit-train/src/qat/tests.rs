//! Every family: the forward pass is the engine's, gradients reach every parameter.

use std::fmt::Arguments;

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};
use picovit_compiler::observe::Observed;
use picovit_models::{
    Architecture, CctConfig, KerasCctConfig, MobileVitConfig, ModelConfig, Network, NoTaps,
    ParameterKind, PositionalEmbedding, Taps, VitConfig, lower, normalize, with_products_in,
};

use super::chip::{Chip, calibrate};
use super::straight_through::StraightThrough;
use crate::graphs::Building;

type B = Autodiff<Flex>;

/// A small network of every family, with and without positions.
fn families() -> Vec<ModelConfig> {
    let cct = |positional_embedding| {
        Architecture::Cct(CctConfig {
            kernel_size: 3,
            tokenizer_layers: 2,
            tokenizer_channels: 8,
            embedding_dim: 16,
            layers: 2,
            heads: 2,
            mlp_ratio: 2.0,
            positional_embedding,
            attention_dropout: 0.1,
            stochastic_depth: 0.1,
        })
    };
    let patches = |positional_embedding| VitConfig {
        patch_size: 4,
        embedding_dim: 16,
        layers: 2,
        heads: 2,
        mlp_ratio: 1.0,
        positional_embedding,
        attention_dropout: 0.1,
        stochastic_depth: 0.1,
    };
    let keras = KerasCctConfig {
        kernel_size: 3,
        tokenizer_layers: 2,
        tokenizer_channels: 8,
        embedding_dim: 16,
        layers: 2,
        heads: 2,
        head_dim: 16,
        mlp_dim: 16,
        attention_dropout: 0.1,
        dropout: 0.1,
        stochastic_depth: 0.1,
    };
    let mobilevit = MobileVitConfig {
        stem_channels: 4,
        channels: [4, 6, 8, 8, 12],
        dims: [8, 12, 16],
        depths: [1, 2, 1],
        heads: 4,
        mlp_ratio: 2,
        expansion: 2,
        head_channels: 24,
        attention_dropout: 0.0,
        dropout: 0.1,
        stochastic_depth: 0.0,
    };
    let small = |architecture| ModelConfig::new("small", architecture).with_image_size(16, 12);
    let (none, sine) = (PositionalEmbedding::None, PositionalEmbedding::Sine);
    vec![
        small(cct(PositionalEmbedding::Learnable)),
        small(cct(none)),
        small(Architecture::Cvt(patches(sine))).with_channels(1),
        small(Architecture::Cvt(patches(none))),
        small(Architecture::VitLite(patches(sine))),
        small(Architecture::VitLite(patches(none))),
        small(Architecture::KerasCct(keras)).with_image_size(16, 16),
        small(Architecture::MobileVit(mobilevit)).with_image_size(64, 64),
    ]
}

/// Pictures of waves, raw pixels.
fn pictures(count: usize, config: &ModelConfig) -> Vec<Vec<u8>> {
    let length = config.image_size.area() * config.channels;
    let value = |image: usize, i: usize| {
        let (x, y) = (i / config.channels % 7, i / config.image_size.width);
        let wave = (x as f32 * 0.7 + image as f32).sin() + (y as f32 * 0.3 * image as f32).cos();
        ((wave + 2.0) * 50.0) as u8 + (i * 31 % 17) as u8
    };
    (0..count).map(|image| (0..length).map(|i| value(image, i)).collect()).collect()
}

/// The engine's values, with a look at what passes.
struct Checked {
    taps: StraightThrough,
    expected: Vec<Observed>,
    seen: usize,
}

impl Taps<B> for Checked {
    fn tap<const D: usize>(&mut self, name: Arguments<'_>, x: Tensor<B, D>) -> Tensor<B, D> {
        let float = flat(&x);
        let exact = self.taps.tap(name, x);
        let found = flat(&exact);
        let name = name.to_string();
        let expected = self.expected.iter().find(|value| value.name == name).unwrap();
        assert_eq!(found, expected.values, "{name}");
        // A float value that were another one, or in another order, would be nothing like it.
        let signal: f32 = found.iter().map(|v| v * v).sum();
        let kept = (0..found.len()).filter(|i| !expected.saturated.contains(i));
        let noise: f32 = kept.map(|i| (found[i] - float[i]).powi(2)).sum();
        assert!(noise < 0.03 * signal, "{name}: noise {noise}, signal {signal}");
        self.seen += 1;
        exact
    }
}

/// Values `[image][token][channel]`.
fn flat<const D: usize>(x: &Tensor<B, D>) -> Vec<f32> {
    let x = x.clone().inner();
    let x = if D == 4 { x.swap_dims(2, 3).swap_dims(1, 3) } else { x };
    x.into_data().to_vec().unwrap()
}

/// A network with its artifact, and pictures.
fn quantized(config: &ModelConfig) -> (Network<B>, Chip, Vec<Vec<u8>>) {
    let network = Network::<B>::init(config, 7, &Default::default()).unwrap();
    let images = pictures(4, config);
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let graph = lower(&network, config);
    let calibration = calibrate(&graph, &slices);
    (network, Chip::new(graph, &calibration).unwrap(), images)
}

/// Counts the parameters, and those that no gradient reaches.
struct Reached<'g> {
    gradients: &'g <B as burn::tensor::backend::AutodiffBackend>::Gradients,
    missing: usize,
    count: usize,
}

impl ModuleVisitor<B> for Reached<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = param.val().grad(self.gradients);
        let moved = gradient.is_some_and(|gradient| {
            let values: Vec<f32> = gradient.into_data().to_vec().unwrap();
            values.iter().any(|&v| v != 0.0)
        });
        (self.count, self.missing) = (self.count + 1, self.missing + usize::from(!moved));
    }
}

#[test]
fn the_forward_pass_is_the_engines_in_every_family() {
    for config in families() {
        let (network, chip, images) = quantized(&config);
        let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let observed = chip.observe(&slices);
        let taps = StraightThrough::new(observed.clone());
        // Other tests have graphs of their own.
        let building = Building::start();
        let mut checked = Checked { taps, expected: observed, seen: 0 };
        let pixels = normalize::<B>(&config, &images.concat(), &Default::default());
        let logits = network.forward_tapped(pixels.clone(), &mut checked);
        assert_eq!(checked.taps.rest().count(), 0);
        assert_eq!(checked.seen, checked.expected.len());
        assert!(checked.seen >= 20, "{}", checked.seen);

        let gradients = building.backward((logits.clone() * logits).sum());
        let mut reached = Reached { gradients: &gradients, missing: 0, count: 0 };
        network.visit(&mut reached);
        // Running statistics and fixed positions do not learn; the bias of sequence pooling cancels.
        let specs = config.parameters();
        let fixed = |kind: ParameterKind| {
            kind.is_statistic() || kind == ParameterKind::Position { sine: true }
        };
        let fixed = specs.iter().filter(|spec| fixed(spec.kind)).count();
        let (family, Reached { missing, count, .. }) = (&config.architecture, reached);
        assert_eq!(count, specs.len());
        assert!(missing <= fixed + 1, "{family:?}: {missing} of {count}");
    }
}

#[test]
fn without_taps_it_is_inference_in_every_family() {
    for config in families() {
        let network = Network::<B>::init(&config, 7, &Default::default()).unwrap();
        let images = normalize::<B>(&config, &pictures(2, &config).concat(), &Default::default());
        let before = lower(&network, &config);
        let found = network.forward_tapped(images.clone(), &mut NoTaps).inner().into_data();
        // Running statistics, too, stay as they are.
        assert_eq!(lower(&network, &config), before);
        let plain = burn::module::AutodiffModule::valid(&network);
        let expected = plain.forward(images.inner()).into_data();
        found.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::absolute(1e-4));
    }
}

#[test]
fn products_in_bf16_are_close_in_every_family() {
    for config in families() {
        let network = Network::<Flex>::init(&config, 7, &Default::default()).unwrap();
        let images =
            normalize::<Flex>(&config, &pictures(2, &config).concat(), &Default::default());
        let expected = network.forward(images.clone()).into_data();
        let network = with_products_in(network, FloatDType::BF16);
        let found = network.forward_tapped(images, &mut NoTaps).into_data();
        assert!(found != expected);
        let tolerance = burn::tensor::Tolerance::rel_abs(0.05, 0.05);
        found.assert_approx_eq::<f32>(&expected, tolerance);
    }
}

#[test]
fn gradients_pass_straight_through_except_where_values_are_cut_off() {
    let shape = picovit_compiler::graph::Shape::map(2, 1, 3);
    let values = vec![0.5, -0.25, 1.0, 0.0, 2.0, -1.0];
    let observed =
        Observed { name: "value".into(), shape, values: values.clone(), saturated: vec![2, 4, 4] };
    let mut taps = StraightThrough::new(vec![observed]);
    let building = Building::start();
    let data = TensorData::new(vec![0.52f32, -0.21, 7.0, 0.02, 2.5, -1.03], [1, 2, 3]);
    let x = Tensor::<B, 3>::from_data(data, &Default::default()).require_grad();
    let y = taps.tap(format_args!("value"), x.clone());
    assert_eq!(flat(&y), values);
    let weights = TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 2, 3]);
    let gradients = building.backward((y * Tensor::from_data(weights, &Default::default())).sum());
    let gradient: Vec<f32> = x.grad(&gradients).unwrap().into_data().to_vec().unwrap();
    assert_eq!(gradient, [1.0, 2.0, 0.0, 4.0, 0.0, 6.0]);
}

#[test]
fn a_narrow_range_cuts_values_off() {
    let config = &families()[0];
    let network = Network::<B>::init(config, 7, &Default::default()).unwrap();
    let images = pictures(4, config);
    let graph = lower(&network, config);
    // Calibrated on darkness, so that real pictures leave the range.
    let dark = vec![0u8; images[0].len()];
    let chip = Chip::new(graph.clone(), &calibrate(&graph, &[&dark])).unwrap();
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let observed = chip.observe(&slices);
    let first = &observed[0];
    assert_eq!(first.name, "tokenizer.0");
    let most = first.saturated.iter().map(|&i| first.values[i]).fold(0.0, f32::max);
    assert!(first.saturated.len() > 10);
    assert!(first.values.iter().all(|&v| v <= most));
    // Zero behind a ReLU is no end that cuts anything off.
    assert!(first.saturated.iter().all(|&i| first.values[i] > 0.0));
}
