//! A checkpoint as the start of another training.

use burn::backend::Flex;
use picovit_models::{Architecture, ModelConfig, Network, load_graph, lower, save, transfer};

#[test]
fn classes_and_image_size_may_be_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let device = Default::default();
    for name in ["cct_2_3x2", "vit_lite_2_4", "cct_2_3x2_keras", "mobilevit_xxs"] {
        let edge = if name.starts_with("mobilevit") { 64 } else { 32 };
        let config = ModelConfig::named(name).unwrap().with_image_size(edge, edge);
        let model = Network::<Flex>::init(&config, 1, &device).unwrap();
        save(&model, &config, &path).unwrap();
        let graph = lower(&model, &config);

        let (same, notes) = transfer::<Flex>(&path, &config, 9, &device).unwrap();
        assert_eq!((lower(&same, &config), notes), (graph.clone(), vec![]));

        let other = config.clone().with_image_size(2 * edge, edge).with_classes(3);
        let (moved, notes) = transfer::<Flex>(&path, &other, 9, &device).unwrap();
        let notes = notes.join("\n");
        assert_eq!(notes.contains("positional_emb: resampled from"), edge == 32, "{notes}");
        assert!(notes.contains("fc.bias: starts anew for 3 classes, had "), "{notes}");
        let moved = lower(&moved, &other);
        // All but positions and classifier is the checkpoint's; folding knows the map's extent.
        let differ = graph.nodes.iter().zip(&moved.nodes).filter(|(a, b)| a.op != b.op);
        let differ = differ.filter(|(a, _)| !a.name.ends_with(".fold"));
        let differ: Vec<_> = differ.map(|(a, _)| a.name.as_str()).collect();
        assert!(differ.len() <= 2 && differ.contains(&"fc"), "{name}: {differ:?}");
        let (again, _) = transfer::<Flex>(&path, &other, 9, &device).unwrap();
        assert_eq!(lower(&again, &other), moved);
    }
}

#[test]
fn other_networks_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let config = ModelConfig::named("cct_2_3x2").unwrap();
    let model = Network::<Flex>::init(&config, 1, &Default::default()).unwrap();
    save(&model, &config, &path).unwrap();
    let before = load_graph(&path).unwrap();
    let deep = ModelConfig::named("cct_4_3x2").unwrap();
    let grey = config.clone().with_channels(1);
    let mut heads = config.clone();
    let Architecture::Cct(cct) = &mut heads.architecture else { unreachable!() };
    cct.heads = 4;
    for (other, part) in [
        (deep.clone(), "blocks.2.qkv.weight [384, 128] is missing"),
        (heads, "it has 2 attention heads, must have 4"),
        (grey, "tokenizer.0.weight is [64, 3, 3, 3], must be [64, 1, 3, 3]"),
    ] {
        let error = transfer::<Flex>(&path, &other, 0, &Default::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("best.mpk") && error.contains(part), "{error}");
    }
    let path = folder.path().join("deep.mpk");
    let model = Network::<Flex>::init(&deep, 1, &Default::default()).unwrap();
    save(&model, &deep, &path).unwrap();
    let error = transfer::<Flex>(&path, &config, 0, &Default::default()).unwrap_err().to_string();
    assert!(error.contains("blocks.3.qkv.weight [384, 128] is not expected"), "{error}");
    assert_eq!(load_graph(&folder.path().join("best.mpk")).unwrap(), before);
}
