//! Published checkpoints give the published numbers: in Burn, and in the graph lowered from it.
//!
//! `golden` holds small state dicts in the layout of the authors of CCT, with what their code
//! computes from one batch of images.

mod damaged;
mod families;
mod filled;
mod roundtrip;
mod transfer;

use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use picovit_compiler::Executor;
use picovit_models::{
    Architecture, CctConfig, ModelConfig, Network, PositionalEmbedding, VitConfig,
    import_checkpoint, import_pth, load_graph, lower,
};
use safetensors::SafeTensors;
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

const NAMES: [&str; 5] =
    ["cct_2_3x2", "cct_2_7x2_nope", "cct_3_3x1_sine", "cvt_2_4", "vit_lite_2_4"];

/// The authors' own description of a network.
#[derive(Deserialize)]
struct Official {
    family: String,
    img_size: usize,
    n_input_channels: usize,
    num_classes: usize,
    kernel_size: usize,
    stride: Option<usize>,
    padding: Option<usize>,
    n_conv_layers: Option<usize>,
    embedding_dim: usize,
    num_layers: usize,
    num_heads: usize,
    mlp_ratio: f32,
    positional_embedding: PositionalEmbedding,
}

impl Official {
    fn architecture(&self) -> Architecture {
        let vit = VitConfig {
            patch_size: self.kernel_size,
            embedding_dim: self.embedding_dim,
            layers: self.num_layers,
            heads: self.num_heads,
            mlp_ratio: self.mlp_ratio,
            positional_embedding: self.positional_embedding,
            attention_dropout: 0.1,
            stochastic_depth: 0.1,
        };
        match self.family.as_str() {
            "CVT" => return Architecture::Cvt(vit),
            "ViTLite" => return Architecture::VitLite(vit),
            family => assert_eq!(family, "CCT"),
        }
        let cct = CctConfig {
            kernel_size: self.kernel_size,
            tokenizer_layers: self.n_conv_layers.unwrap(),
            tokenizer_channels: 64,
            embedding_dim: self.embedding_dim,
            layers: self.num_layers,
            heads: self.num_heads,
            mlp_ratio: self.mlp_ratio,
            positional_embedding: self.positional_embedding,
            attention_dropout: 0.1,
            stochastic_depth: 0.1,
        };
        assert_eq!((Some(cct.stride()), Some(cct.padding())), (self.stride, self.padding));
        Architecture::Cct(cct)
    }
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

fn config(name: &str) -> ModelConfig {
    let text = fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
    let official: Official = serde_json::from_str(&text).unwrap();
    ModelConfig::new(name, official.architecture())
        .with_image_size(official.img_size, official.img_size)
        .with_channels(official.n_input_channels)
        .with_classes(official.num_classes)
}

struct Golden(Vec<u8>);

impl Golden {
    fn read(name: &str) -> Self {
        Self(fs::read(golden(&format!("{name}.io.safetensors"))).unwrap())
    }

    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (view.shape().to_vec(), values.collect())
    }
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let worst =
        errors.fold(0.0f32, |worst, e| if e.is_nan() { f32::INFINITY } else { worst.max(e) });
    println!("{what}: largest error {worst:e}");
    assert!(worst <= tolerance, "{what}: largest error {worst}");
}

fn values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

#[test]
fn burn_modules_equal_the_authors_code() {
    for name in NAMES {
        let golden_io = Golden::read(name);
        let device = Default::default();
        let model =
            import_pth::<Flex>(&golden(&format!("{name}.pth")), &config(name), &device).unwrap();
        let (shape, input) = golden_io.tensor("input");
        let shape: [usize; 4] = shape.try_into().unwrap();
        let input = Tensor::<Flex, 4>::from_data(TensorData::new(input, shape), &device);
        let check = |what: &str, found: Vec<f32>| {
            assert_close(&format!("{name} {what}"), &found, &golden_io.tensor(what).1, TOLERANCE);
        };
        let (tokens, outputs) = match &model {
            Network::Cct(cct) => (cct.tokens(input.clone()), cct.block_outputs(input.clone())),
            Network::VitLite(vit) => (vit.tokens(input.clone()), vit.block_outputs(input.clone())),
            other => panic!("{name} became {other}"),
        };
        check("tokens", values(tokens));
        for (index, output) in outputs.into_iter().enumerate() {
            check(&format!("block{index}"), values(output));
        }
        check("logits", values(model.forward(input)));
    }
}

#[test]
fn lowered_graphs_equal_the_authors_code() {
    for name in NAMES {
        let golden_io = Golden::read(name);
        let config = config(name);
        let path = golden(&format!("{name}.pth"));
        let model = import_pth::<Flex>(&path, &config, &Default::default()).unwrap();
        let graph = lower(&model, &config);
        assert_eq!(graph.parameters(), config.params(), "{name}");
        assert_eq!(graph.macs(), config.macs(), "{name}");
        let (shape, input) = golden_io.tensor("input");
        let (_, logits) = golden_io.tensor("logits");
        let area = shape[2] * shape[3];
        let images = input.chunks_exact(shape[1] * area);
        for (image, expected) in images.zip(logits.chunks_exact(config.classes)) {
            let pixel = |i: usize| (0..shape[1]).map(move |channel| image[channel * area + i]);
            let image = (0..area).flat_map(pixel).collect();
            assert_close(name, Executor::new(&graph).run(image).logits(), expected, TOLERANCE);
        }
    }
}

#[test]
fn an_imported_checkpoint_is_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let config = config(name);
        let path = golden(&format!("{name}.pth"));
        let out = folder.path().join(format!("{name}.mpk"));
        import_checkpoint(&path, &config, &out).unwrap();
        let (graph, saved) = load_graph(&out).unwrap();
        let model = import_pth::<Flex>(&path, &config, &Default::default()).unwrap();
        assert_eq!(saved, config);
        assert_eq!(graph, lower(&model, &config));
    }
}

#[test]
fn a_state_dict_of_another_model_is_refused_and_nothing_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("best.mpk");
    let path = golden("cct_2_3x2.pth");
    let refuse = |config: &ModelConfig, expected: &[&str]| {
        let message = import_checkpoint(&path, config, &out).unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    refuse(
        &config("cct_3_3x1_sine"),
        &[
            "cct_2_3x2.pth",
            "cct_3_3x1_sine",
            "classifier.blocks.2.self_attn.qkv.weight [144, 48] is missing",
            "tokenizer.conv_layers.1.0.weight [64, 64, 3, 3] is unknown",
            "classifier.norm.weight is [64], must be [48]",
        ],
    );
    refuse(
        &config("cct_2_3x2").with_classes(7),
        &["classifier.fc.weight is [10, 64], must be [7, 64]", "classifier.fc.bias is [10]"],
    );
    refuse(
        &ModelConfig::named("cct_2_3x2").unwrap(),
        &["classifier.positional_emb is [1, 64, 64], must be [1, 64, 128]"],
    );
    refuse(&ModelConfig::named("mobilevit_xxs").unwrap(), &["keys are those of another family"]);
}

#[test]
fn files_that_are_no_state_dict_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config("cct_2_3x2");
    let whole = fs::read(golden("cct_2_3x2.pth")).unwrap();
    let refuse = |content: &[u8]| {
        let path = folder.path().join("file.pth");
        fs::write(&path, content).unwrap();
        let error = import_checkpoint(&path, &config, &folder.path().join("best.mpk")).unwrap_err();
        assert!(error.to_string().contains("file.pth"), "{error}");
        assert!(!folder.path().join("best.mpk").exists());
    };
    refuse(b"");
    refuse(b"This is a text.");
    refuse(b"\x10\0\0\0\0\0\0\0{\"a\": 1}        ");
    refuse(&whole[..whole.len() / 2]);
    refuse(&whole[..100]);
    let missing = folder.path().join("missing.pth");
    let error = import_checkpoint(&missing, &config, &missing).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("missing.pth"), "{error}");
}
