//! Sizes of a transformer over square patches: ViT-Lite and CVT.

use serde::{Deserialize, Serialize};

use super::encoder::Encoder;
use super::family::{BlockDropout, Family, Problem, Specs};
use super::{ImageSize, ModelConfig, PositionalEmbedding, default_rate};
use crate::weights::{ParameterKind, ParameterSpec};

/// Sizes of a transformer over square patches: ViT-Lite and CVT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Edge of a patch in pixels; divides the image.
    pub patch_size: usize,
    /// Width of a token.
    pub embedding_dim: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP, as a multiple of the token's.
    pub mlp_ratio: f32,
    /// Positional embedding.
    pub positional_embedding: PositionalEmbedding,
    /// Dropout probability of attention weights in training.
    #[serde(default = "default_rate")]
    pub attention_dropout: f32,
    /// Probability of skipping the last block in training; grows linearly from 0.
    #[serde(default = "default_rate")]
    pub stochastic_depth: f32,
}

impl VitConfig {
    /// Extent of the token map of an image.
    #[must_use]
    pub fn token_map(&self, image: ImageSize) -> ImageSize {
        ImageSize { height: image.height / self.patch_size, width: image.width / self.patch_size }
    }

    pub(crate) fn encoder(&self, class_token: bool) -> Encoder {
        Encoder {
            dim: self.embedding_dim,
            layers: self.layers,
            heads: self.heads,
            mlp_ratio: self.mlp_ratio,
            positional_embedding: self.positional_embedding,
            attention_dropout: self.attention_dropout,
            stochastic_depth: self.stochastic_depth,
            class_token,
        }
    }
}

/// The sizes with what tells the two families apart.
pub(crate) struct Patches<'a> {
    pub(crate) sizes: &'a VitConfig,
    /// Whether a class token is classified (ViT-Lite) or the pooled sequence (CVT).
    pub(crate) class_token: bool,
}

impl Patches<'_> {
    fn encoder(&self) -> Encoder {
        self.sizes.encoder(self.class_token)
    }

    fn tokens(&self, config: &ModelConfig) -> usize {
        self.sizes.token_map(config.image_size).area()
    }
}

impl Family for Patches<'_> {
    fn validate(&self, config: &ModelConfig) -> Result<(), Problem> {
        let (patch, size) = (self.sizes.patch_size, config.image_size);
        if !(2..=256).contains(&patch) {
            return Err(("patch_size", format!("is {patch}, must be 2 to 256")));
        }
        self.encoder().validate()?;
        if !(size.height.is_multiple_of(patch) && size.width.is_multiple_of(patch)) {
            let problem =
                format!("{size} is not made of {patch}x{patch} patches; take multiples of {patch}");
            return Err(("image_size", problem));
        }
        if self.tokens(config) < 2 {
            let problem = format!("{size} is a single patch; take a larger image");
            return Err(("image_size", problem));
        }
        Ok(())
    }

    fn parameters(&self, config: &ModelConfig) -> Vec<ParameterSpec> {
        let (dim, patch) = (self.sizes.embedding_dim, self.sizes.patch_size);
        let mut specs = Specs::default();
        specs.conv("tokenizer.0", [dim, config.channels, patch, patch]);
        specs.add("tokenizer.0.bias", &[dim], ParameterKind::Zero);
        let encoder = self.encoder();
        encoder.add_embeddings(&mut specs, self.tokens(config));
        encoder.add_blocks(&mut specs, config.classes);
        specs.0
    }

    fn macs(&self, config: &ModelConfig) -> usize {
        let (dim, patch) = (self.sizes.embedding_dim, self.sizes.patch_size);
        let tokens = self.tokens(config);
        tokens * dim * config.channels * patch * patch + self.encoder().macs(config, tokens)
    }

    fn dropouts(&self, config: &ModelConfig) -> Vec<BlockDropout> {
        self.encoder().dropouts(self.tokens(config))
    }
}
