//! Files that do not fit: every layout names the keys, told what it holds or not; and files that
//! hold more than one network.

use std::path::Path;

use burn::backend::Flex;
use picovit_models::{
    Hints, ImageSize, ImportError, ModelConfig, Network, StateDict, export_checkpoint, save,
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
    let ImportError::Mismatch { problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems, ["state_dict.head.weight [2] is unknown"]);
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
    assert!(error.contains("has 64 tokens, not 4x8"), "{error}");
    // Tokens that are no square have to be told for another size only.
    let high = square.clone().with_image_size(48, 16);
    let tensors = exported(folder.path(), &high);
    assert_eq!(notes(&tensors, None, &high).unwrap(), [""; 0]);
    let error = notes(&tensors, None, &square).unwrap_err().to_string();
    assert!(error.contains("--position-grid"), "{error}");
    let resampled = "classifier.positional_emb: resampled from 12x4 to 8x8 tokens";
    assert_eq!(notes(&tensors, Some([12, 4]), &square).unwrap(), [resampled]);
}
