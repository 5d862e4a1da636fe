//! Sizes of the compact convolutional transformer of the Keras examples.

use serde::{Deserialize, Serialize};

use super::family::{BlockDropout, Family, Problem, Specs, drop_path, rate_problem, size_problem};
use super::{ImageSize, ModelConfig, default_rate};
use crate::weights::{ParameterKind, ParameterSpec};

/// Sizes of the compact convolutional transformer of the Keras examples.
///
/// It differs from CCT in the tokenizer (no border around the convolutions, a border of zeros in
/// front of the pooling), in the width of its heads, which does not depend on the token's, in the
/// plain residual connections, and in the second activation of the MLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KerasCctConfig {
    /// Edge of the tokenizer's convolution kernels.
    pub kernel_size: usize,
    /// Tokenizer stages: convolution, ReLU, border of one zero, max-pool.
    pub tokenizer_layers: usize,
    /// Channels of the tokenizer's stages before the last.
    pub tokenizer_channels: usize,
    /// Width of a token.
    pub embedding_dim: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Hidden width of the MLP.
    pub mlp_dim: usize,
    /// Dropout probability of attention weights in training.
    #[serde(default = "default_rate")]
    pub attention_dropout: f32,
    /// Dropout probability behind both layers of the MLP in training.
    #[serde(default = "default_rate")]
    pub dropout: f32,
    /// Probability of skipping the last block in training; grows linearly from 0.
    #[serde(default = "default_rate")]
    pub stochastic_depth: f32,
}

impl KerasCctConfig {
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

    /// Extent of a stage's convolution map; 0 where the kernel does not fit.
    pub(crate) fn convolved(&self, size: ImageSize) -> ImageSize {
        let edge = |n: usize| (n + 1).saturating_sub(self.kernel_size);
        ImageSize { height: edge(size.height), width: edge(size.width) }
    }

    /// Width of all heads.
    pub(crate) fn inner(&self) -> usize {
        self.heads * self.head_dim
    }
}

/// Border, in front and behind, that the pooling of a map of `size` needs: one zero, then what
/// TensorFlow's "same" adds to it for windows of 3 at stride 2.
pub(crate) const fn pool_border(size: usize) -> (usize, usize) {
    if size.is_multiple_of(2) { (1, 2) } else { (2, 2) }
}

/// The extent behind the pooling: half of the bordered map, rounded up.
pub(crate) fn pooled(size: ImageSize) -> ImageSize {
    let edge = |n: usize| (n + 2).div_ceil(2);
    ImageSize { height: edge(size.height), width: edge(size.width) }
}

impl Family for KerasCctConfig {
    fn validate(&self, config: &ModelConfig) -> Result<(), Problem> {
        let sizes = [
            ("tokenizer_layers", self.tokenizer_layers),
            ("tokenizer_channels", self.tokenizer_channels),
            ("embedding_dim", self.embedding_dim),
            ("layers", self.layers),
            ("heads", self.heads),
            ("head_dim", self.head_dim),
            ("mlp_dim", self.mlp_dim),
        ];
        for (field, value) in sizes {
            size_problem(field, value)?;
        }
        if !(2..=31).contains(&self.kernel_size) {
            return Err(("kernel_size", format!("is {}, must be 2 to 31", self.kernel_size)));
        }
        rate_problem("attention_dropout", self.attention_dropout)?;
        rate_problem("dropout", self.dropout)?;
        rate_problem("stochastic_depth", self.stochastic_depth)?;
        let mut size = config.image_size;
        for stage in 0..self.tokenizer_layers {
            size = self.convolved(size);
            if size.area() == 0 {
                let problem =
                    format!("{} is too small for tokenizer stage {stage}", config.image_size);
                return Err(("image_size", problem));
            }
            // The graph's pooling has one border for both axes.
            if size.height % 2 != size.width % 2 {
                let problem = format!(
                    "{} makes a map of {size} in tokenizer stage {stage}; height and width there \
                     must both be even or both be odd, as they are for square images",
                    config.image_size
                );
                return Err(("image_size", problem));
            }
            size = pooled(size);
        }
        Ok(())
    }

    fn parameters(&self, config: &ModelConfig) -> Vec<ParameterSpec> {
        let (dim, inner) = (self.embedding_dim, self.inner());
        let mut specs = Specs::default();
        for stage in 0..self.tokenizer_layers {
            let (input, output) = self.stage_channels(stage, config.channels);
            let shape = [output, input, self.kernel_size, self.kernel_size];
            specs.conv(&format!("tokenizer.{stage}"), shape);
        }
        let tokens = self.token_map(config.image_size).area();
        let kind = ParameterKind::GlorotPosition { fans: tokens + dim };
        specs.add("positional_emb", &[1, tokens, dim], kind);
        for block in 0..self.layers {
            let name = |part: &str| format!("blocks.{block}.{part}");
            specs.norm(&name("norm1"), dim);
            // Keras counts the fans of the kernels [dim, heads, head_dim] and [heads, head_dim, dim].
            let fans = dim * (self.heads + self.head_dim);
            glorot(&mut specs, &name("qkv"), [3 * inner, dim], fans);
            glorot(&mut specs, &name("proj"), [dim, inner], inner + self.heads * dim);
            specs.norm(&name("norm2"), dim);
            glorot(&mut specs, &name("linear1"), [self.mlp_dim, dim], self.mlp_dim + dim);
            glorot(&mut specs, &name("linear2"), [dim, self.mlp_dim], self.mlp_dim + dim);
        }
        specs.norm("norm", dim);
        glorot(&mut specs, "attention_pool", [1, dim], 1 + dim);
        glorot(&mut specs, "fc", [config.classes, dim], config.classes + dim);
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
        let (dim, inner, tokens) = (self.embedding_dim, self.inner(), size.area());
        let linear = tokens * dim * (4 * inner + 2 * self.mlp_dim);
        let attention = 2 * tokens * tokens * inner;
        macs + self.layers * (linear + attention) + 2 * tokens * dim + dim * config.classes
    }

    fn dropouts(&self, config: &ModelConfig) -> Vec<BlockDropout> {
        let tokens = self.token_map(config.image_size).area();
        let block = |index| BlockDropout {
            attention: self.attention_dropout,
            path: drop_path(self.stochastic_depth, index, self.layers),
            mlp_hidden: self.dropout,
            mlp_output: self.dropout,
            ..BlockDropout::none(tokens, self.heads, self.embedding_dim, self.mlp_dim)
        };
        (0..self.layers).map(block).collect()
    }
}

fn glorot(specs: &mut Specs, name: &str, shape: [usize; 2], fans: usize) {
    specs.add(&format!("{name}.weight"), &shape, ParameterKind::GlorotWeight { fans });
    specs.add(&format!("{name}.bias"), &shape[..1], ParameterKind::Zero);
}
