//! Checkpoints: what is written is read again, and anything else is refused with a reason.

use std::fs;
use std::path::Path;

use burn::backend::Flex;
use burn::module::Module;
use burn::record::{FullPrecisionSettings, HalfPrecisionSettings, NamedMpkFileRecorder};
use picovit_models::{
    Architecture, Cct, CctConfig, ModelConfig, Network, PositionalEmbedding, float_logits, load,
    lower, save,
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
    reload(&path).unwrap();
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
