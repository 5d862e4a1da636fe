//! What is exported is imported again, and recognised without being told.

use std::collections::HashMap;
use std::fs;

use burn::backend::Flex;
use picovit_models::{
    Architecture, Hints, ImageSize, ModelConfig, Network, StateDict, export_checkpoint,
    import_checkpoint, load_graph, lower, save,
};
use safetensors::SafeTensors;

use super::{config, golden};

const NONE: Hints = Hints { image_size: None, heads: None };

fn message<T: std::fmt::Debug, E: ToString>(result: Result<T, E>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn exported_checkpoints_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "cct_2_3x2",
        "cct_4_3x1_sine",
        "cct_2_7x2",
        "cvt_2_8",
        "vit_lite_4_4",
        "vit_lite_2_16_sine",
        "cct_2_3x2_keras",
        "mobilevit_xxs",
    ];
    for (seed, name) in names.into_iter().enumerate() {
        let config = ModelConfig::named(name).unwrap().with_classes(7);
        let mut config = if seed % 2 == 0 { config } else { grey(config) };
        // What no weight tells comes back, too.
        if name == "cvt_2_8" {
            let labels = ["a", "b", "c", "d", "e", "f", "g, h"].map(String::from).to_vec();
            let (mean, std) = (vec![0.25; config.channels], vec![0.125; config.channels]);
            config = config.with_normalization(mean, std).with_labels(labels).with_dataset("mine");
            let Architecture::Cvt(vit) = &mut config.architecture else { unreachable!() };
            vit.heads = 8;
        }
        let model = Network::<Flex>::init(&config, seed as u64, &Default::default()).unwrap();
        let checkpoint = folder.path().join("best.mpk");
        let exported = folder.path().join("best.safetensors");
        save(&model, &config, &checkpoint).unwrap();
        assert_eq!(export_checkpoint(&checkpoint, &exported).unwrap(), config);
        let content = fs::read(&exported).unwrap();
        let detected = StateDict::open(&exported).unwrap().detect(&NONE).unwrap();
        assert_eq!(detected, config);
        // The same network is the same bytes.
        assert_eq!(export_checkpoint(&checkpoint, &exported).unwrap(), config);
        assert_eq!(fs::read(&exported).unwrap(), content);
        // By names and shapes alone, as of a file of somebody else.
        let tensors = SafeTensors::deserialize(&content).unwrap();
        let bare = folder.path().join("bare.safetensors");
        fs::write(&bare, safetensors::serialize(tensors.tensors(), None).unwrap()).unwrap();
        let hints = Hints { heads: (name == "cvt_2_8").then_some(8), image_size: None };
        let found = StateDict::open(&bare).unwrap().detect(&hints).unwrap();
        assert_eq!(found.architecture, config.architecture, "{name}");
        assert_eq!((found.name, found.image_size), (config.name.clone(), config.image_size));
        assert_eq!((found.channels, found.classes), (config.channels, config.classes));
        // A note that is none of these weights counts for nothing.
        let other = ModelConfig::named("cct_7_3x1").unwrap();
        let note =
            HashMap::from([("picovit.config".to_owned(), serde_json::to_string(&other).unwrap())]);
        fs::write(&bare, safetensors::serialize(tensors.tensors(), Some(note)).unwrap()).unwrap();
        let state = StateDict::open(&bare).unwrap();
        assert!(state.noted_config().is_none());
        assert_eq!(state.detect(&hints).unwrap().architecture, config.architecture, "{name}");
        let again = folder.path().join("again.mpk");
        assert_eq!(import_checkpoint(&exported, &detected, &again).unwrap(), [""; 0]);
        assert_eq!(load_graph(&again).unwrap(), (lower(&model, &config), config));
    }
    assert_eq!(
        message(export_checkpoint(&folder.path().join("no.mpk"), folder.path())).lines().count(),
        1
    );
}

fn grey(config: ModelConfig) -> ModelConfig {
    let (mean, std) = (config.mean[0], config.std[0]);
    config.with_channels(1).with_normalization(vec![mean], vec![std])
}

#[test]
fn exports_have_the_authors_names_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cct_3_3x1_sine", "cvt_2_4", "vit_lite_2_4"] {
        let checkpoint = folder.path().join("best.mpk");
        import_checkpoint(&golden(&format!("{name}.pth")), &config(name), &checkpoint).unwrap();
        let out = folder.path().join("best.safetensors");
        export_checkpoint(&checkpoint, &out).unwrap();
        let content = fs::read(&out).unwrap();
        let file = SafeTensors::deserialize(&content).unwrap();
        let authors = burn_store::pytorch::PytorchReader::new(golden(&format!("{name}.pth")));
        let authors = authors.unwrap();
        assert_eq!(file.len(), authors.len(), "{name}");
        for (key, tensor) in authors.tensors() {
            let found = file.tensor(key).unwrap();
            assert_eq!(found.shape(), tensor.shape.as_slice(), "{key}");
            let values: Vec<f32> = tensor.to_data().unwrap().to_vec().unwrap();
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(found.data(), bytes, "{key}");
        }
    }
}

#[test]
fn what_no_weight_tells_is_asked_for() {
    let open = |name: &str| StateDict::open(&golden(&format!("{name}.pth"))).unwrap();
    assert!(message(open("cvt_2_4").detect(&NONE)).contains("pass --heads"));
    let heads = Some(2);
    for name in ["cct_2_3x2", "cvt_2_4", "vit_lite_2_4"] {
        assert_eq!(open(name).detect(&Hints { heads, ..NONE }).unwrap(), config(name));
    }
    let heads = Some(3);
    let found = open("cct_3_3x1_sine").detect(&Hints { heads, ..NONE }).unwrap();
    assert_eq!(found.architecture, config("cct_3_3x1_sine").architecture);
    let bare = open("cct_2_7x2_nope");
    let heads = Some(4);
    let refused = message(bare.detect(&Hints { heads, image_size: None }));
    assert!(refused.contains("pass --image-size"), "{refused}");
    let image_size = Some(ImageSize { height: 64, width: 64 });
    let found = bare.detect(&Hints { heads, image_size }).unwrap();
    assert_eq!(found.architecture, config("cct_2_7x2_nope").architecture);
}

#[test]
fn positional_embeddings_follow_the_image_size() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("best.mpk");
    let notes = |name: &str, height, width| {
        let config = config(name).with_image_size(height, width);
        import_checkpoint(&golden(&format!("{name}.pth")), &config, &out).unwrap()
    };
    let expected = ["classifier.positional_emb: resampled from 8x8 to 16x12 tokens"];
    assert_eq!(notes("cct_2_3x2", 64, 48), expected);
    assert_eq!(notes("vit_lite_2_4", 64, 48), expected);
    // The class token's embedding stays, and the others' mean nearly.
    let embedding = |path| {
        let (graph, _) = load_graph(path).unwrap();
        let node = graph.nodes.iter().find(|node| node.name == "positional_emb").unwrap();
        match &node.op {
            picovit_compiler::graph::Op::AddConstant(values) => values.clone(),
            other => panic!("{other:?}"),
        }
    };
    let larger = embedding(&out);
    assert_eq!(notes("vit_lite_2_4", 32, 32), [""; 0]);
    let original = embedding(&out);
    assert_eq!(larger.len(), (16 * 12 + 1) * 64);
    assert_eq!(larger[..64], original[..64]);
    assert_ne!(larger[64..128], original[64..128]);
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    assert!((mean(&larger[64..]) - mean(&original[64..])).abs() < 0.01);

    let expected = ["classifier.positional_emb: sines computed for 64 tokens"];
    assert_eq!(notes("cct_3_3x1_sine", 16, 16), expected);
    let sines = embedding(&out);
    assert_eq!((sines.len(), sines[0], sines[1]), (64 * 48, 0.0, 1.0));
    assert!((sines[48] - 1f32.sin()).abs() < 1e-6);
}
