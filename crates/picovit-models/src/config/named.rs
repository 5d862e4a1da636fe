//! The published sizes by their names.

use super::{
    Architecture, CctConfig, ConfigError, KerasCctConfig, MobileVitConfig, ModelConfig,
    PositionalEmbedding, VitConfig, default_rate,
};

/// (layers, heads, MLP ratio, width) of CCT; ViT-Lite and CVT have all but the last.
const SIZES: [(usize, usize, f32, usize); 5] =
    [(2, 2, 1.0, 128), (4, 2, 1.0, 128), (6, 4, 2.0, 256), (7, 4, 2.0, 256), (14, 6, 3.0, 384)];
/// (kernel edge, stages) of the published tokenizers.
const TOKENIZERS: [(usize, usize); 4] = [(3, 1), (3, 2), (7, 1), (7, 2)];
/// Edges of the patches of ViT-Lite and CVT.
const PATCHES: [usize; 3] = [4, 8, 16];

impl ModelConfig {
    /// The configuration called `name`; see [`ModelConfig::names`].
    ///
    /// - `cct_{2,4,6,7,14}_{3x1,3x2,7x1,7x2}`: 224x224 images behind the `7x2` tokenizer, else
    ///   32x32.
    /// - `vit_lite_{2,4,6,7}_{4,8,16}` and `cvt_{2,4,6,7}_{4,8,16}`: 32x32 images in patches of
    ///   that edge.
    /// - `cct_2_3x2_keras`: 32x32 images.
    /// - `mobilevit_{xxs,xs,s}`: 256x256 images, 1000 classes.
    ///
    /// Three channels and, but for MobileViT, ten classes. `_sine` behind the name of a CCT,
    /// ViT-Lite or CVT chooses sine embeddings.
    ///
    /// # Errors
    /// If no model has that name.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        let found = all().into_iter().find(|config| config.name == name);
        found.ok_or_else(|| ConfigError::UnknownName { name: name.into(), known: Self::names() })
    }

    /// Every name that [`ModelConfig::named`] knows.
    #[must_use]
    pub fn names() -> Vec<String> {
        all().into_iter().map(|config| config.name).collect()
    }
}

/// Every published configuration.
pub(crate) fn all() -> Vec<ModelConfig> {
    let mut configs = vec![];
    for size in SIZES {
        for tokenizer in TOKENIZERS {
            configs.extend(embeddings(|embedding, suffix| cct(size, tokenizer, embedding, suffix)));
        }
    }
    for (family, architecture) in [
        ("vit_lite", Architecture::VitLite as fn(VitConfig) -> Architecture),
        ("cvt", Architecture::Cvt),
    ] {
        for size in &SIZES[..4] {
            for patch in PATCHES {
                configs.extend(embeddings(|embedding, suffix| {
                    let name = format!("{family}_{}_{patch}{suffix}", size.0);
                    ModelConfig::new(&name, architecture(vit(*size, patch, embedding)))
                }));
            }
        }
    }
    configs.push(keras());
    configs.extend([
        mobilevit("xxs", [16, 24, 48, 64, 80], [64, 80, 96], 2, 320),
        mobilevit("xs", [32, 48, 64, 80, 96], [96, 120, 144], 4, 384),
        mobilevit("s", [32, 64, 96, 128, 160], [144, 192, 240], 4, 640),
    ]);
    configs
}

fn embeddings(make: impl Fn(PositionalEmbedding, &'static str) -> ModelConfig) -> [ModelConfig; 2] {
    [make(PositionalEmbedding::Learnable, ""), make(PositionalEmbedding::Sine, "_sine")]
}

fn cct(
    (layers, heads, mlp_ratio, embedding_dim): (usize, usize, f32, usize),
    (kernel_size, tokenizer_layers): (usize, usize),
    positional_embedding: PositionalEmbedding,
    suffix: &str,
) -> ModelConfig {
    let cct = CctConfig {
        kernel_size,
        tokenizer_layers,
        tokenizer_channels: 64,
        embedding_dim,
        layers,
        heads,
        mlp_ratio,
        positional_embedding,
        attention_dropout: default_rate(),
        stochastic_depth: default_rate(),
    };
    let edge = if (kernel_size, tokenizer_layers) == (7, 2) { 224 } else { 32 };
    let name = format!("cct_{layers}_{kernel_size}x{tokenizer_layers}{suffix}");
    ModelConfig::new(&name, Architecture::Cct(cct)).with_image_size(edge, edge)
}

fn vit(
    (layers, heads, mlp_ratio, embedding_dim): (usize, usize, f32, usize),
    patch_size: usize,
    positional_embedding: PositionalEmbedding,
) -> VitConfig {
    VitConfig {
        patch_size,
        embedding_dim,
        layers,
        heads,
        mlp_ratio,
        positional_embedding,
        attention_dropout: default_rate(),
        stochastic_depth: default_rate(),
    }
}

fn keras() -> ModelConfig {
    let keras = KerasCctConfig {
        kernel_size: 3,
        tokenizer_layers: 2,
        tokenizer_channels: 64,
        embedding_dim: 128,
        layers: 2,
        heads: 2,
        head_dim: 128,
        mlp_dim: 128,
        attention_dropout: default_rate(),
        dropout: default_rate(),
        stochastic_depth: default_rate(),
    };
    ModelConfig::new("cct_2_3x2_keras", Architecture::KerasCct(keras))
        .with_normalization(vec![0.0; 3], vec![1.0; 3])
}

fn mobilevit(
    size: &str,
    channels: [usize; 5],
    dims: [usize; 3],
    expansion: usize,
    head_channels: usize,
) -> ModelConfig {
    let mobilevit = MobileVitConfig {
        stem_channels: 16,
        channels,
        dims,
        depths: [2, 4, 3],
        heads: 4,
        mlp_ratio: 2,
        expansion,
        head_channels,
        attention_dropout: 0.0,
        dropout: default_rate(),
        stochastic_depth: 0.0,
    };
    ModelConfig::new(&format!("mobilevit_{size}"), Architecture::MobileVit(mobilevit))
        .with_image_size(256, 256)
        .with_classes(1000)
        .with_normalization(vec![0.0; 3], vec![1.0; 3])
}
