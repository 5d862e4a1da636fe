//! MobileViT against timm and Hugging Face, the Keras example's CCT against numpy.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use picovit_compiler::Executor;
use picovit_compiler::graph::{Graph, Op};
use picovit_models::{Hints, ImageSize, ModelConfig, Network, StateDict, lower};
use serde::Deserialize;

use super::filled::{fill, images, write};
use super::{Golden, assert_close, golden};

/// Against code that sums in another order.
const TOLERANCE: f32 = 1e-5;

/// What the reference's network is made of.
#[derive(Deserialize)]
pub struct Description {
    edge: usize,
    batch: usize,
    pub keys: HashMap<String, Vec<usize>>,
}

pub type Tensors = HashMap<String, (Vec<usize>, Vec<f32>)>;

pub fn filled(keys: impl IntoIterator<Item = (String, Vec<usize>)>) -> Tensors {
    let tensors = keys.into_iter().map(|(key, shape)| {
        let values = fill(&key, &shape);
        (key, (shape, values))
    });
    tensors.collect()
}

pub fn describe(name: &str) -> Description {
    serde_json::from_str(&fs::read_to_string(golden(&format!("{name}.json"))).unwrap()).unwrap()
}

fn open(folder: &Path, tensors: &Tensors) -> StateDict {
    let path = folder.join("model.safetensors");
    write(&path, tensors);
    StateDict::open(&path).unwrap()
}

/// Compares module and graph with the reference's logits.
fn check(what: &str, model: &Network<Flex>, config: &ModelConfig, expected: &[f32]) -> Graph {
    let (edge, channels) = (config.image_size.height, config.channels);
    let batch = expected.len() / config.classes;
    let input = images(batch, channels, edge);
    let data = TensorData::new(input.clone(), [batch, channels, edge, edge]);
    let logits = model.forward(Tensor::from_data(data, &Default::default()));
    let logits: Vec<f32> = logits.into_data().to_vec().unwrap();
    assert_close(&format!("{what} module"), &logits, expected, TOLERANCE);
    let spread = expected[0] - expected[config.classes];
    assert!(spread.abs() > 20.0 * TOLERANCE, "{what}: the image does not matter");

    let graph = lower(model, config);
    assert_eq!(graph.macs(), config.macs(), "{what}");
    let area = edge * edge;
    let each = input.chunks_exact(channels * area).zip(expected.chunks_exact(config.classes));
    for (image, expected) in each {
        let pixel = |i: usize| (0..channels).map(move |channel| image[channel * area + i]);
        let image = (0..area).flat_map(pixel).collect();
        let found = Executor::new(&graph).run(image);
        assert_close(&format!("{what} graph"), found.logits(), expected, TOLERANCE);
    }
    graph
}

#[test]
fn mobilevit_equals_timm() {
    let folder = tempfile::tempdir().unwrap();
    for size in ["xxs", "xs", "s"] {
        let name = format!("mobilevit_{size}");
        let Description { edge, batch, keys } = describe(&format!("{name}_timm"));
        let state = open(folder.path(), &filled(keys));
        let image_size = Some(ImageSize { height: edge, width: edge });
        let config = state.detect(&Hints { image_size, heads: None }).unwrap();
        assert_eq!(config.name, name);
        assert_eq!((config.classes, config.channels), (10, 3));
        let (model, notes) = state.network(&config, &Default::default()).unwrap();
        assert_eq!(notes, [""; 0]);
        let (shape, expected) = Golden::read(&format!("{name}_timm")).tensor("logits");
        assert_eq!(shape, [batch, 10]);
        let graph = check(&name, &model, &config, &expected);
        let count = |find: fn(&Op) -> bool| graph.nodes.iter().filter(|n| find(&n.op)).count();
        assert_eq!(count(|op| matches!(op, Op::Attention { groups: 4, heads: 4, .. })), 9);
        assert_eq!(count(|op| matches!(op, Op::Conv(conv) if conv.groups > 1)), 7);
    }
}

#[test]
fn mobilevit_equals_hugging_face_with_blue_first() {
    let folder = tempfile::tempdir().unwrap();
    let Description { edge, keys, .. } = describe("mobilevit_xxs_hf");
    let tensors = filled(keys);
    let image_size = Some(ImageSize { height: edge, width: edge });
    let hints = Hints { image_size, heads: None };
    let state = open(folder.path(), &tensors);
    let config = state.detect(&hints).unwrap();
    assert_eq!(config.name, "mobilevit_xxs");
    let (model, notes) = state.network(&config, &Default::default()).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("--channel-order rgb"), "{notes:?}");
    let (_, expected) = Golden::read("mobilevit_xxs_hf").tensor("logits");
    let graph = check("mobilevit_xxs from Hugging Face", &model, &config, &expected);
    let unturned = state.with_bgr(false).network(&config, &Default::default()).unwrap();
    assert_eq!(unturned.1, [""; 0]);
    assert_ne!(lower::<Flex>(&unturned.0, &config), graph);

    // The same weights as ml-cvnets had named them.
    let named = |suffixes: [&str; 3]| {
        let thirds = suffixes.map(|suffix| tensors[suffix].clone());
        let shape = [&[3 * thirds[0].0[0]], &thirds[0].0[1..]].concat();
        (shape, thirds.into_iter().flat_map(|(_, values)| values).collect::<Vec<f32>>())
    };
    let mut renamed = Tensors::new();
    for (key, tensor) in &tensors {
        if let Some((start, leaf)) = key.split_once("attention.attention.query.") {
            let part = |part: &str| format!("{start}attention.attention.{part}.{leaf}");
            let [query, keys, values] = ["query", "key", "value"].map(part);
            renamed.insert(cvnets(key), named([&query, &keys, &values]));
        } else if !key.contains("attention.attention") {
            renamed.insert(cvnets(key), tensor.clone());
        }
    }
    assert!(renamed.contains_key("layer_3.1.global_rep.0.pre_norm_mha.1.qkv_proj.weight"));
    assert!(renamed.contains_key("layer_3.1.global_rep.2.weight"));
    assert!(renamed.contains_key("layer_3.1.local_rep.conv_3x3.block.conv.weight"));
    let state = open(folder.path(), &renamed);
    assert_eq!(state.detect(&hints).unwrap(), config);
    let (model, _) = state.network::<Flex>(&config, &Default::default()).unwrap();
    assert_eq!(lower(&model, &config), graph);
}

/// ml-cvnets' key of Hugging Face's.
pub fn cvnets(key: &str) -> String {
    let mut key = key.replace("mobilevit.", "").replace("classifier.", "classifier.fc.");
    for (stage, depth) in [(2, 2), (3, 4), (4, 3)] {
        let from = format!("encoder.layer.{stage}.");
        let name = format!("layer_{}", stage + 1);
        key = key
            .replace(&format!("{from}downsampling_layer."), &format!("{name}.0.block."))
            .replace(&format!("{from}layernorm."), &format!("{name}.1.global_rep.{depth}."))
            .replace(&from, &format!("{name}.1."));
    }
    let replacements = [
        ("encoder.layer.0.layer.0.", "layer_1.0.block."),
        ("encoder.layer.1.layer.0.", "layer_2.0.block."),
        ("encoder.layer.1.layer.1.", "layer_2.1.block."),
        ("encoder.layer.1.layer.2.", "layer_2.2.block."),
        ("conv_stem", "conv_1"),
        ("expand_1x1", "exp_1x1"),
        ("reduce_1x1", "red_1x1"),
        ("conv_kxk", "local_rep.conv_3x3"),
        ("1.conv_1x1.", "1.local_rep.conv_1x1."),
        ("conv_projection", "conv_proj"),
        ("transformer.layer", "global_rep"),
        ("layernorm_before", "pre_norm_mha.0"),
        ("attention.attention.query", "pre_norm_mha.1.qkv_proj"),
        ("attention.output.dense", "pre_norm_mha.1.out_proj"),
        ("layernorm_after", "pre_norm_ffn.0"),
        ("intermediate.dense", "pre_norm_ffn.1"),
        ("output.dense", "pre_norm_ffn.4"),
        (".convolution.", ".block.conv."),
        (".normalization.", ".block.norm."),
    ];
    replacements.iter().fold(key, |key, (from, to)| key.replace(from, to))
}

#[test]
fn the_keras_example_equals_numpy() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Golden::read("cct_2_3x2_keras");
    for edge in [32, 27, 29] {
        let config = ModelConfig::named("cct_2_3x2_keras").unwrap().with_image_size(edge, edge);
        let parameters = config.parameters().into_iter().map(|spec| (spec.name, spec.shape));
        let state = open(folder.path(), &filled(parameters));
        let image_size = Some(config.image_size);
        assert_eq!(state.detect(&Hints { image_size, heads: None }).unwrap(), config);
        let (model, _) = state.network(&config, &Default::default()).unwrap();
        let (_, expected) = golden.tensor(&format!("logits_{edge}"));
        let graph = check(&format!("cct_2_3x2_keras at {edge}"), &model, &config, &expected);
        assert_eq!(graph.parameters(), config.params());
    }
    assert_eq!(ModelConfig::named("cct_2_3x2_keras").unwrap().params(), 416_331);
}
