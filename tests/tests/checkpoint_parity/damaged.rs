//! Files that do not fit: every layout names the keys, told what it holds or not; and files that
//! hold more than one network.

use std::path::Path;

use burn::backend::Flex;
use picovit_compiler::Executor;
use picovit_compiler::graph::Graph;
use picovit_models::{
    Architecture, Hints, ImageSize, ImportError, ModelConfig, Network, StateDict,
    export_checkpoint, lower, save,
};
use safetensors::SafeTensors;

use super::families::{Tensors, cvnets, describe, filled};
use super::filled::write;

const NONE: Hints = Hints { image_size: None, heads: None };

/// What `export` writes for a published network.
fn exported(folder: &Path, config: &ModelConfig) -> Tensors {
    let model = Network::<Flex>::init(config, 3, &Default::default()).unwrap();
    let (checkpoint, file) = (folder.join("made.mpk"), folder.join("made.safetensors"));
    save(&model, config, &checkpoint).unwrap();
    export_checkpoint(&checkpoint, &file).unwrap();
    let content = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    let tensors = tensors.iter().map(|(name, view)| {
        let values = view.data().chunks_exact(4);
        let values = values.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (name.to_owned(), (view.shape().to_vec(), values))
    });
    tensors.collect()
}

fn open(folder: &Path, tensors: &Tensors) -> StateDict {
    let path = folder.join("file.safetensors");
    write(&path, tensors);
    StateDict::open(&path).unwrap()
}

/// All layouts with the keys that tell a layout, a layer and a size, and with some others.
fn layouts(folder: &Path) -> Vec<(ModelConfig, Tensors, Vec<&'static str>)> {
    let shi_labs = [
        "tokenizer.conv_layers.0.0.weight",
        "classifier.blocks.0.self_attn.qkv.weight",
        "classifier.blocks.1.self_attn.qkv.weight",
        "classifier.blocks.0.linear1.weight",
        "classifier.blocks.1.norm1.bias",
        "classifier.fc.weight",
        "classifier.fc.bias",
    ];
    let config = |name: &str| ModelConfig::named(name).unwrap();
    let xxs = config("mobilevit_xxs");
    let keras = config("cct_2_3x2_keras");
    let timm = filled(describe("mobilevit_xxs_timm").keys);
    let hugging_face = filled(describe("mobilevit_xxs_hf").keys);
    let thirds = |key: &&String| key.contains("attention.attention");
    let named = hugging_face.keys().filter(|key| !thirds(key));
    let mut ml_cvnets: Tensors =
        named.map(|key| (cvnets(key), hugging_face[key].clone())).collect();
    for key in hugging_face.keys().filter(|key| key.contains("attention.attention.query")) {
        let (mut shape, values) = hugging_face[key].clone();
        shape[0] *= 3;
        ml_cvnets.insert(cvnets(key), (shape, values.repeat(3)));
    }
    vec![
        (config("cct_2_3x2"), exported(folder, &config("cct_2_3x2")), shi_labs.to_vec()),
        (config("cvt_4_8"), exported(folder, &config("cvt_4_8")), shi_labs.to_vec()),
        (
            xxs.clone().with_classes(10),
            timm,
            vec!["stages.0.0.conv1_1x1.conv.weight", "stem.conv.weight", "head.fc.weight"],
        ),
        (
            xxs.clone().with_classes(hugging_face["classifier.bias"].0[0]),
            hugging_face.clone(),
            vec![
                "mobilevit.encoder.layer.0.layer.0.expand_1x1.convolution.weight",
                "mobilevit.encoder.layer.2.transformer.layer.0.attention.attention.key.weight",
                "classifier.weight",
            ],
        ),
        (
            xxs.with_classes(hugging_face["classifier.bias"].0[0]),
            ml_cvnets,
            vec!["layer_1.0.block.exp_1x1.block.conv.weight", "classifier.fc.weight"],
        ),
        (
            keras.clone(),
            exported(folder, &keras),
            vec!["tokenizer.0.weight", "blocks.0.linear1.weight", "fc.bias"],
        ),
    ]
}

#[test]
fn what_is_renamed_missing_or_misshaped_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("best.mpk");
    for (config, tensors, keys) in layouts(folder.path()) {
        open(folder.path(), &tensors).network::<Flex>(&config, &Default::default()).unwrap();
        for key in keys {
            let (shape, values) = tensors.get(key).unwrap_or_else(|| panic!("no {key}")).clone();
            let short = key.strip_prefix("mobilevit.").unwrap_or(key);
            let mut renamed = tensors.clone();
            renamed.remove(key);
            let missing = renamed.clone();
            renamed.insert(format!("{key}_old"), (shape.clone(), values.clone()));
            let mut misshaped = tensors.clone();
            let mut other = shape.clone();
            other[0] += 3;
            let more = values[..3 * values.len() / shape[0]].to_vec();
            misshaped.insert(key.into(), (other.clone(), [values, more].concat()));
            for (tensors, parts) in [
                (renamed, vec![format!("{short} {shape:?} is missing"), format!("{short}_old ")]),
                (missing, vec![format!("{short} {shape:?} is missing")]),
                (misshaped, vec![format!("{short} is {other:?}, must be {shape:?}")]),
            ] {
                let state = open(folder.path(), &tensors);
                let told = state.save(&config, &out).unwrap_err().to_string();
                let found = state.detect(&NONE).and_then(|config| state.save(&config, &out));
                let found = found.unwrap_err().to_string();
                for part in &parts {
                    assert!(told.contains(part), "{key}: {told}");
                }
                // Of two that do not agree either may be the wrong one.
                let named = if short.contains("fc.") { "fc." } else { short };
                assert!(found.contains(named), "{key}: {found}");
                assert!(found.lines().count() == 1 && found.len() < 900, "{key}: {found}");
            }
        }
    }
    assert!(!out.exists());
}

#[test]
fn a_file_may_hold_more_than_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig::named("cct_2_3x2").unwrap();
    let tensors = exported(folder.path(), &config);
    let mut file = Tensors::new();
    for (key, (shape, values)) in &tensors {
        let average = values.iter().map(|v| v + 1.0).collect();
        file.insert(format!("state_dict.module.{key}"), (shape.clone(), values.clone()));
        file.insert(format!("state_dict_ema.module.{key}"), (shape.clone(), average));
    }
    file.insert("optimizer.state".into(), (vec![1], vec![0.0]));
    let state = open(folder.path(), &file);
    let ema = format!("state_dict_ema ({} tensors)", tensors.len());
    assert_eq!(state.left_out(), ["optimizer (1 tensor)".to_owned(), ema]);
    let path = folder.path().join("file.safetensors");
    let average = StateDict::open_below(&path, "state_dict_ema").unwrap();
    let bias = |state: &StateDict| {
        let (model, notes) = state.network::<Flex>(&config, &Default::default()).unwrap();
        assert_eq!(notes, [""; 0]);
        let Network::Cct(cct) = model else { panic!() };
        cct.fc.bias.unwrap().val().into_data().to_vec::<f32>().unwrap()
    };
    let expected = &tensors["classifier.fc.bias"].1;
    assert_eq!(&bias(&state), expected);
    assert_eq!(bias(&average), expected.iter().map(|v| v + 1.0).collect::<Vec<_>>());
    let error = StateDict::open_below(&path, "state").unwrap_err().to_string();
    assert!(error.contains("optimizer, state_dict, state_dict_ema"), "{error}");

    // Beside the network, in its own dictionary.
    file.insert("state_dict.head.weight".into(), (vec![2], vec![0.0; 2]));
    let state = open(folder.path(), &file);
    let error = state.network::<Flex>(&config, &Default::default()).unwrap_err();
    let ImportError::Mismatch { problems, others, .. } = error else { panic!("{error}") };
    assert_eq!(problems, ["state_dict.head.weight [2] is unknown"]);
    assert!(others);
    // Who names the network has looked.
    let state = StateDict::open_below(&path, "state_dict.module").unwrap();
    assert_eq!(&bias(&state), expected);
    assert!(
        state.left_out().contains(&"state_dict (1 tensor)".to_owned()),
        "{:?}",
        state.left_out()
    );

    // What PyTorch's averaging counts is no weight.
    let averaged = tensors.iter().map(|(key, value)| (format!("ema.module.{key}"), value.clone()));
    let mut averaged: Tensors = averaged.collect();
    averaged.insert("ema.n_averaged".into(), (vec![1], vec![12.0]));
    assert_eq!(&bias(&open(folder.path(), &averaged)), expected);
}

#[test]
fn shapes_that_no_network_has_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig::named("cct_2_3x2").unwrap();
    let tensors = exported(folder.path(), &config);
    let first = "tokenizer.conv_layers.0.0.weight";
    let detected = |tensors: &Tensors| {
        let error = open(folder.path(), tensors).detect(&NONE).unwrap_err().to_string();
        assert!(error.lines().count() == 1, "{error}");
        error
    };
    for shape in
        [vec![64, 3, 0, 0], vec![0, 1 << 40, 0, 0], vec![0, 3, 3, 1], vec![0, 3, 1 << 40, 1 << 40]]
    {
        for bias in [false, true] {
            let mut tensors = tensors.clone();
            tensors.insert(first.into(), (shape.clone(), vec![]));
            if bias {
                let key = "tokenizer.conv_layers.0.0.bias".to_owned();
                tensors.insert(key, (vec![64], vec![0.0; 64]));
            }
            let error = detected(&tensors);
            assert!(error.contains(&format!("{first} is {shape:?}, must see 1 or 3")), "{error}");
        }
    }
    for index in [1 << 40, usize::MAX] {
        let mut tensors = tensors.clone();
        let key = format!("tokenizer.conv_layers.{index}.0.weight");
        tensors.insert(key.clone(), (vec![1], vec![0.0]));
        let state = open(folder.path(), &tensors);
        let error = state.save(&state.detect(&NONE).unwrap(), &folder.path().join("a.mpk"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("{key} [1] is unknown")), "{error}");
    }
    // A positional embedding of no values.
    let mut empty = tensors.clone();
    empty.insert("classifier.positional_emb".into(), (vec![0, 1 << 40, 8], vec![]));
    let state = open(folder.path(), &empty);
    assert!(
        state.detect(&NONE).and_then(|c| state.save(&c, &folder.path().join("a.mpk"))).is_err()
    );
    // A vector where another axis is due.
    let mut tensors = tensors.clone();
    tensors.insert("classifier.fc.bias".into(), (vec![1, 2, 5], vec![0.0; 10]));
    let error = open(folder.path(), &tensors).network::<Flex>(&config, &Default::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("fc.bias is [1, 2, 5], must be [10]"), "{error}");
}

#[test]
fn every_family_may_see_blue_first() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cct_2_3x2", "vit_lite_2_4", "cct_2_3x2_keras", "mobilevit_xxs"] {
        let config = ModelConfig::named(name).unwrap();
        let tensors = exported(folder.path(), &config);
        let graph = |bgr| {
            let state = open(folder.path(), &tensors).with_bgr(bgr);
            let (model, notes) = state.network::<Flex>(&config, &Default::default()).unwrap();
            (lower(&model, &config), notes)
        };
        let [(red, quiet), (blue, told)] = [false, true].map(graph);
        assert_eq!(quiet, [""; 0], "{name}");
        assert!(told.len() == 1 && told[0].contains("blue first, as said"), "{name}: {told:?}");
        let image: Vec<f32> = (0..red.image.shape.len()).map(|i| (i % 7) as f32 - 3.0).collect();
        let mut turned = image.clone();
        turned.chunks_exact_mut(3).for_each(<[f32]>::reverse);
        let logits = |graph: &Graph, image: &[f32]| {
            Executor::new(graph).run(image.to_vec()).logits().to_vec()
        };
        let [expected, found] = [logits(&red, &image), logits(&blue, &turned)];
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4, "{name}: {found} {expected}");
        }
        assert_ne!(logits(&blue, &image), expected, "{name}");
    }
}

#[test]
fn sines_in_half_precision_are_sines() {
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig::named("cct_4_3x1_sine").unwrap();
    let mut tensors = exported(folder.path(), &config);
    for value in &mut tensors.get_mut("classifier.positional_emb").unwrap().1 {
        *value = f32::from_bits((value.to_bits() + 0x7fff) & 0xffff_0000);
    }
    assert_eq!(open(folder.path(), &tensors).detect(&NONE).unwrap(), config);
}

#[test]
fn heads_that_are_told_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let keras = ModelConfig::named("cct_2_3x2_keras").unwrap();
    let state = open(folder.path(), &exported(folder.path(), &keras));
    let error = state.detect(&Hints { heads: Some(3), image_size: None }).unwrap_err().to_string();
    assert!(error.contains("cannot be shared by 3 heads"), "{error}");
    for (name, heads, width) in [("cct_2_3x2_keras", 4, Some(64)), ("mobilevit_xxs", 8, None)] {
        let config = ModelConfig::named(name).unwrap();
        let tensors = exported(folder.path(), &config);
        let hints = Hints { heads: Some(heads), image_size: None };
        let found = open(folder.path(), &tensors).detect(&hints).unwrap();
        assert_eq!(found.architecture.heads(), heads);
        if let Architecture::KerasCct(keras) = &found.architecture {
            assert_eq!(Some(keras.head_dim), width);
        }
        open(folder.path(), &tensors).network::<Flex>(&found, &Default::default()).unwrap();
    }
}

#[test]
fn as_many_tokens_of_another_grid_are_resampled() {
    let folder = tempfile::tempdir().unwrap();
    let square = ModelConfig::named("cct_2_3x2").unwrap();
    let wide = square.clone().with_image_size(16, 64);
    let notes = |tensors: &Tensors, grid: Option<[usize; 2]>, config: &ModelConfig| {
        let mut state = open(folder.path(), tensors);
        if let Some([height, width]) = grid {
            state = state.with_position_grid(ImageSize { height, width });
        }
        state.network::<Flex>(config, &Default::default()).map(|(_, notes)| notes)
    };
    let tensors = exported(folder.path(), &square);
    let resampled = "classifier.positional_emb: resampled from 8x8 to 4x16 tokens";
    assert_eq!(notes(&tensors, None, &wide).unwrap(), [resampled]);
    assert_eq!(notes(&tensors, None, &square).unwrap(), [""; 0]);
    // What was trained on such a grid stays as it is.
    let tensors = exported(folder.path(), &wide);
    assert_eq!(notes(&tensors, Some([4, 16]), &wide).unwrap(), [""; 0]);
    let error = notes(&tensors, Some([4, 8]), &wide).unwrap_err().to_string();
    assert!(error.contains("has 64 tokens, not 4x8; say which with --position-grid"), "{error}");
    // Tokens that are no square have to be told for another size only.
    let high = square.clone().with_image_size(48, 16);
    let tensors = exported(folder.path(), &high);
    assert_eq!(notes(&tensors, None, &high).unwrap(), [""; 0]);
    let error = notes(&tensors, None, &square).unwrap_err().to_string();
    assert!(error.contains("--position-grid"), "{error}");
    let resampled = "classifier.positional_emb: resampled from 12x4 to 8x8 tokens";
    assert_eq!(notes(&tensors, Some([12, 4]), &square).unwrap(), [resampled]);
}
