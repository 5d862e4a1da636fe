//! Sizes of a compact convolutional transformer.

use serde::{Deserialize, Serialize};

use super::encoder::Encoder;
use super::family::{BlockDropout, Family, Problem, Specs, size_problem};
use super::{ImageSize, ModelConfig, PositionalEmbedding, default_rate};
use crate::weights::ParameterSpec;

/// Sizes of a compact convolutional transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CctConfig {
    /// Edge of the tokenizer's convolution kernels (odd).
    pub kernel_size: usize,
    /// Tokenizer stages: convolution, ReLU, max-pool.
    pub tokenizer_layers: usize,
    /// Channels of the tokenizer's stages before the last.
    pub tokenizer_channels: usize,
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

impl CctConfig {
    /// Step of the tokenizer's convolutions: 1 for 3x3, 2 for 7x7.
    #[must_use]
    pub fn stride(&self) -> usize {
        (self.kernel_size / 2).saturating_sub(1).max(1)
    }

    /// Zero border of the tokenizer's convolutions.
    #[must_use]
    pub fn padding(&self) -> usize {
        (self.kernel_size / 2).max(1)
    }

    /// Hidden width of the MLP.
    #[must_use]
    pub fn mlp_dim(&self) -> usize {
        self.encoder().hidden()
    }

    /// Input and output channels of a tokenizer stage.
    #[must_use]
    pub fn stage_channels(&self, stage: usize, image_channels: usize) -> (usize, usize) {
        let input = if stage == 0 { image_channels } else { self.tokenizer_channels };
        let last = stage + 1 == self.tokenizer_layers;
        (input, if last { self.embedding_dim } else { self.tokenizer_channels })
    }

    /// Extent of the token map of an image.
    #[must_use]
    pub fn token_map(&self, image: ImageSize) -> ImageSize {
        (0..self.tokenizer_layers).fold(image, |size, _| pooled(self.convolved(size)))
    }

    pub(crate) fn encoder(&self) -> Encoder {
        Encoder {
            dim: self.embedding_dim,
            layers: self.layers,
            heads: self.heads,
            mlp_ratio: self.mlp_ratio,
            positional_embedding: self.positional_embedding,
            attention_dropout: self.attention_dropout,
            stochastic_depth: self.stochastic_depth,
            class_token: false,
        }
    }

    fn convolved(&self, size: ImageSize) -> ImageSize {
        let edge = |n: usize| (n + 2 * self.padding() - self.kernel_size) / self.stride() + 1;
        ImageSize { height: edge(size.height), width: edge(size.width) }
    }
}

fn pooled(size: ImageSize) -> ImageSize {
    ImageSize { height: size.height.div_ceil(2), width: size.width.div_ceil(2) }
}

impl Family for CctConfig {
    fn validate(&self, config: &ModelConfig) -> Result<(), Problem> {
        size_problem("tokenizer_layers", self.tokenizer_layers)?;
        size_problem("tokenizer_channels", self.tokenizer_channels)?;
        if self.kernel_size.is_multiple_of(2) || !(3..=31).contains(&self.kernel_size) {
            let problem = format!("is {}, must be odd and 3 to 31", self.kernel_size);
            return Err(("kernel_size", problem));
        }
        self.encoder().validate()?;
        let size = config.image_size;
        if self.token_map(size).area() < 2 {
            let problem = format!(
                "{size} leaves a single token behind {} tokenizer stages; take a larger image or \
                 fewer stages",
                self.tokenizer_layers
            );
            return Err(("image_size", problem));
        }
        Ok(())
    }

    fn parameters(&self, config: &ModelConfig) -> Vec<ParameterSpec> {
        let mut specs = Specs::default();
        for stage in 0..self.tokenizer_layers {
            let (input, output) = self.stage_channels(stage, config.channels);
            let shape = [output, input, self.kernel_size, self.kernel_size];
            specs.conv(&format!("tokenizer.{stage}"), shape);
        }
        let encoder = self.encoder();
        encoder.add_embeddings(&mut specs, self.token_map(config.image_size).area());
        encoder.add_blocks(&mut specs, config.classes);
        specs.0
    }

    fn macs(&self, config: &ModelConfig) -> usize {
        let mut size = config.image_size;
        let mut macs = 0;
        for stage in 0..self.tokenizer_layers {
            size = self.convolved(size);
            let (input, output) = self.stage_channels(stage, config.channels);
            macs += size.area() * input * output * self.kernel_size.pow(2);
            size = pooled(size);
        }
        macs + self.encoder().macs(config, size.area())
    }

    fn dropouts(&self, config: &ModelConfig) -> Vec<BlockDropout> {
        self.encoder().dropouts(self.token_map(config.image_size).area())
    }
}
