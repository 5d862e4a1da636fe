//! Checkpoints: what is written is read again, and anything else is refused with a reason.

use std::fs;
use std::path::Path;

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module};
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::record::{FullPrecisionSettings, HalfPrecisionSettings, NamedMpkFileRecorder};
use burn::tensor::{Distribution, Tensor};
use picovit_compiler::Executor;
use picovit_compiler::graph::{Graph, Op};
use picovit_models::{
    Architecture, BlockMasks, Cct, CctConfig, Hints, ModelConfig, Network, PositionalEmbedding,
    StateDict, VitConfig, export_checkpoint, float_logits, load, lower, save,
};
use tempfile::tempdir;

fn config(positional_embedding: PositionalEmbedding) -> ModelConfig {
    let cct = CctConfig {
        kernel_size: 3,
        tokenizer_layers: 2,
        tokenizer_channels: 4,
        embedding_dim: 8,
        layers: 2,
        heads: 2,
        mlp_ratio: 1.5,
        positional_embedding,
        attention_dropout: 0.1,
        stochastic_depth: 0.1,
    };
    ModelConfig::new("tiny", Architecture::Cct(cct))
        .with_image_size(8, 12)
        .with_channels(1)
        .with_labels(["one", "two", "three"].map(String::from).to_vec())
        .with_dataset("numbers")
}

fn model(config: &ModelConfig) -> Network<Flex> {
    Network::init(config, 7, &Default::default()).unwrap()
}

fn cct(config: &ModelConfig) -> Cct<Flex> {
    let Network::Cct(cct) = model(config) else { unreachable!("a CCT") };
    cct
}

fn reload(path: &Path) -> Result<(Network<Flex>, ModelConfig), String> {
    load::<Flex>(path, &Default::default()).map_err(|error| error.to_string())
}

/// Weights of all layers.
fn weights(graph: &Graph) -> Vec<f32> {
    let values = graph.nodes.iter().map(|node| match &node.op {
        Op::Conv(conv) => conv.weights.clone(),
        Op::Linear(linear) => linear.weights.clone(),
        _ => vec![],
    });
    values.flatten().collect()
}

fn assert_refused(path: &Path, expected: &[&str]) {
    let message = reload(path).expect_err("the checkpoint should be refused");
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_checkpoint_is_read_as_it_was_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let kinds =
        [PositionalEmbedding::Learnable, PositionalEmbedding::Sine, PositionalEmbedding::None];
    for kind in kinds {
        let config = config(kind);
        let model = model(&config);
        save(&model, &config, &path).unwrap();
        let (loaded, loaded_config) = reload(&path).unwrap();
        assert_eq!(loaded_config, config);
        assert_eq!(lower(&loaded, &config), lower(&model, &config));
        let pixels: Vec<u8> = (0..5 * 96).map(|i| (i * 37 % 256) as u8).collect();
        let run = |model, batch| float_logits(model, &config, &pixels, batch, &Default::default());
        assert_eq!(run(&loaded, 2), run(&model, 2));
        assert_eq!(run(&loaded, 2).len(), 5);
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["best.json", "best.mpk"]);
    }
}

#[test]
fn records_of_burns_own_recorder_load() {
    let folder = tempdir().unwrap();
    let config = config(PositionalEmbedding::Learnable);
    let path = folder.path().join("best.mpk");
    save(&model(&config), &config, &path).unwrap();
    let full = NamedMpkFileRecorder::<FullPrecisionSettings>::new();
    cct(&config).save_file(&path, &full).unwrap();
    let (loaded, _) = reload(&path).unwrap();
    assert_eq!(lower(&loaded, &config), lower(&model(&config), &config));

    let half = NamedMpkFileRecorder::<HalfPrecisionSettings>::new();
    cct(&config).save_file(&path, &half).unwrap();
    let (loaded, _) = reload(&path).unwrap();
    let [rounded, exact] = [loaded, model(&config)].map(|model| weights(&lower(&model, &config)));
    assert_eq!(rounded.len(), exact.len());
    assert_ne!(rounded, exact);
    for (rounded, exact) in rounded.iter().zip(&exact) {
        assert!((rounded - exact).abs() <= exact.abs() / 1024.0 + 1e-6, "{rounded} {exact}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    assert_refused(&path, &["cannot read", "best.mpk"]);
    let config = config(PositionalEmbedding::Learnable);
    save(&model(&config), &config, &path).unwrap();
    fs::remove_file(folder.path().join("best.json")).unwrap();
    assert_refused(&path, &["best.mpk", "best.json is missing", "keep both files together"]);
}

#[test]
fn a_configuration_that_is_none_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let mut config = config(PositionalEmbedding::Learnable);
    save(&model(&config), &config, &path).unwrap();
    let json = folder.path().join("best.json");
    let text = fs::read_to_string(&json).unwrap();
    fs::write(&json, text.replace("\"classes\"", "\"clases\"")).unwrap();
    assert_refused(&path, &["best.json", "clases", "line"]);
    config.channels = 2;
    fs::write(&json, serde_json::to_string(&config).unwrap()).unwrap();
    assert_refused(&path, &["best.json", "`channels` is 2"]);
}

#[test]
fn a_record_of_another_network_lists_what_differs() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let json = folder.path().join("best.json");
    let good = config(PositionalEmbedding::Learnable);
    save(&model(&good), &good, &path).unwrap();
    let check = |config: &ModelConfig, expected: &[&str]| {
        fs::write(&json, serde_json::to_string(config).unwrap()).unwrap();
        assert_refused(&path, &["best.mpk", "tiny"]);
        assert_refused(&path, expected);
    };
    let four = good.clone().with_classes(4);
    check(&four, &["fc.weight is [8, 3], must be [8, 4]", "fc.bias is [3], must be [4]"]);
    let bare = config(PositionalEmbedding::None);
    check(&bare, &["positional_emb [1, 6, 8] is not expected"]);
    let mut deeper = good.clone();
    let Architecture::Cct(cct) = &mut deeper.architecture else { unreachable!() };
    cct.layers = 3;
    check(&deeper, &["blocks.2.qkv.weight [8, 24] is missing"]);
    save(&model(&bare), &good, &path).unwrap();
    check(&good, &["positional_emb [1, 6, 8] is missing"]);
}

#[test]
fn damaged_records_are_refused_without_a_panic() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let config = config(PositionalEmbedding::Learnable);
    save(&model(&config), &config, &path).unwrap();
    let whole = fs::read(&path).unwrap();
    let refuse = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        assert_refused(&path, &["best.mpk"]);
    };
    refuse(b"");
    refuse(b"no record");
    refuse(&[0x80]);
    refuse(&[whole.as_slice(), &[0]].concat());
    for length in (0..whole.len()).step_by(197) {
        refuse(&whole[..length]);
    }
    // A damaged byte is refused or harmless.
    for index in (0..whole.len()).step_by(61) {
        let mut damaged = whole.clone();
        damaged[index] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        let _ = reload(&path);
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let config = config(PositionalEmbedding::Learnable);
    let mut model = cct(&config);
    model.fc.bias = model.fc.bias.map(|bias| bias.map(|values| values / 0.0));
    save(&Network::Cct(model), &config, &path).unwrap();
    assert_refused(&path, &["fc.bias holds values that are not finite"]);
}

/// Two steps of gradient descent under masks, on images of noise.
fn trained(config: &ModelConfig) -> Network<Autodiff<Flex>> {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let mut model = Network::<B>::init(config, 3, &device).unwrap();
    let mut optimizer = SgdConfig::new().init();
    let size = config.image_size;
    let shape = [2, config.channels, size.height, size.width];
    for _ in 0..2 {
        let images = Tensor::<B, 4>::random(shape, Distribution::Normal(1.0, 2.0), &device);
        let masks = config.dropouts().into_iter().map(|block| {
            let shape = [2 * block.sequences, block.tokens, block.width];
            let half = Tensor::full(shape, 0.5, &device);
            BlockMasks { mlp_output: Some(half), ..BlockMasks::none() }
        });
        let logits = model.forward_masked(images, masks.collect());
        assert_eq!(logits.dims(), [2, config.classes]);
        let gradients = (logits.clone() * logits).sum().backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(0.01, model, gradients);
    }
    model
}

#[test]
fn every_family_trains_and_is_read_as_it_was_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    for name in ["cvt_2_8", "vit_lite_2_8", "cct_2_3x2_keras", "mobilevit_xxs"] {
        let config = ModelConfig::named(name).unwrap().with_classes(3);
        let config = match name {
            "mobilevit_xxs" => config.with_image_size(64, 128),
            _ => config,
        };
        let start = Network::<Flex>::init(&config, 3, &Default::default()).unwrap();
        let model = trained(&config);
        save(&model, &config, &path).unwrap();
        let (loaded, _) = reload(&path).unwrap();
        let graph = lower(&model.valid(), &config);
        assert_eq!(lower(&loaded, &config), graph, "{name}");
        assert_eq!(lower(&model, &config), graph, "{name}");
        let before = lower(&start, &config);
        let constants = |op: &Op| match op {
            Op::Conv(conv) => conv.weights.clone(),
            Op::Linear(linear) => linear.weights.clone(),
            Op::LayerNorm(norm) => norm.gamma.clone(),
            _ => vec![],
        };
        for (old, new) in before.nodes.iter().zip(&graph.nodes) {
            let (old, new) = (constants(&old.op), constants(&new.op));
            assert!(old.is_empty() || old != new, "a layer of {name} does not train");
        }
        let pixels: Vec<u8> =
            (0..config.channels * config.image_size.area()).map(|i| (i * 37 % 256) as u8).collect();
        let logits = float_logits(&loaded, &config, &pixels, 1, &Default::default());
        let executed = Executor::new(&graph).run_pixels(&pixels);
        for (a, b) in logits[0].iter().zip(executed.logits()) {
            assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
        }
    }
}

#[test]
fn running_statistics_are_part_of_a_checkpoint() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let config = ModelConfig::named("mobilevit_xxs").unwrap().with_image_size(64, 64);
    let config = config.with_classes(3);
    let model = trained(&config);
    let statistics = |model: &Network<Flex>| {
        let Network::MobileVit(model) = model else { unreachable!("a MobileViT") };
        let norm = &model.stages[1].block.fusion.norm;
        let values = [norm.running_mean.value_sync(), norm.running_var.value_sync()];
        values.map(|values| values.into_data().to_vec::<f32>().unwrap())
    };
    save(&model, &config, &path).unwrap();
    let [mean, variance] = statistics(&reload(&path).unwrap().0);
    assert_eq!([mean.clone(), variance.clone()], statistics(&model.valid()));
    assert!(mean.iter().all(|&v| v != 0.0) && variance.iter().all(|&v| v != 1.0));

    // A record without them is refused.
    let whole = fs::read(&path).unwrap();
    let name = b"running_var";
    let at = whole.windows(name.len()).position(|window| window == name).unwrap();
    let mut damaged = whole.clone();
    damaged[at] = b'X';
    fs::write(&path, damaged).unwrap();
    assert_refused(&path, &["norm.running_var", "is missing"]);
}

#[test]
fn what_is_exported_is_imported_though_its_tokens_could_be_a_square() {
    // 4x16 tokens, and a hidden width that is no multiple of the width in 32 bits.
    let vit = VitConfig {
        patch_size: 4,
        embedding_dim: 56,
        layers: 1,
        heads: 2,
        mlp_ratio: 248.0 / 56.0,
        positional_embedding: PositionalEmbedding::Learnable,
        attention_dropout: 0.0,
        stochastic_depth: 0.0,
    };
    for architecture in [Architecture::Cvt(vit.clone()), Architecture::VitLite(vit)] {
        let config = ModelConfig::new("banner", architecture)
            .with_image_size(16, 64)
            .with_channels(1)
            .with_classes(5);
        let hidden = config.parameters().into_iter().find(|p| p.name.ends_with("linear1.weight"));
        assert_eq!(hidden.unwrap().shape, [248, 56]);
        let root = tempdir().unwrap();
        let [checkpoint, exported] = ["best.mpk", "x.safetensors"].map(|f| root.path().join(f));
        save(&model(&config), &config, &checkpoint).unwrap();
        export_checkpoint(&checkpoint, &exported).unwrap();
        let image_size = Some(config.image_size);
        let dict = StateDict::open(&exported).unwrap();
        let found = dict.detect(&Hints { image_size, heads: Some(2) }).unwrap();
        let (network, notes) = dict.network::<Flex>(&found, &Default::default()).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(lower(&network, &config), lower(&model(&config), &config));

        // For another image the same tokens are others.
        let square = found.clone().with_image_size(32, 32);
        let (_, notes) = dict.network::<Flex>(&square, &Default::default()).unwrap();
        assert!(notes[0].contains("resampled from 4x16 to 8x8 tokens"), "{notes:?}");
    }
}

#[test]
fn values_that_are_no_numbers_are_refused_in_every_precision() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("best.mpk");
    let config = config(PositionalEmbedding::Learnable);
    save(&model(&config), &config, &path).unwrap();
    let mut broken = cct(&config);
    let bias = broken.fc.bias.take().unwrap();
    broken.fc.bias = Some(bias.map(|bias| bias * f32::INFINITY));
    let full = NamedMpkFileRecorder::<FullPrecisionSettings>::new();
    broken.clone().save_file(&path, &full).unwrap();
    assert_refused(&path, &["fc.bias holds values that are not finite"]);
    let half = NamedMpkFileRecorder::<HalfPrecisionSettings>::new();
    broken.save_file(&path, &half).unwrap();
    assert_refused(&path, &["fc.bias holds values that are not finite"]);
}

#[test]
fn names_without_the_ending_keep_their_dots() {
    let path = |name: &str| picovit_models::record::config_path(Path::new(name));
    assert_eq!(path("best.mpk"), Path::new("best.json"));
    assert_eq!(path("runs/cct_1.0"), Path::new("runs/cct_1.0.json"));
    assert_eq!(path("runs/cct_1.5.mpk"), Path::new("runs/cct_1.5.json"));
    // Pairs of before are still found.
    let folder = tempdir().unwrap();
    let (path, config) =
        (folder.path().join("weights.bin"), config(PositionalEmbedding::Learnable));
    save(&model(&config), &config, &path).unwrap();
    fs::rename(folder.path().join("weights.bin.json"), folder.path().join("weights.json")).unwrap();
    assert_eq!(reload(&path).unwrap().1, config);
}
