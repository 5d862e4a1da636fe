//! Model configurations: every published CCT size by name, and arbitrary ones.

use serde::{Deserialize, Serialize};

use crate::weights::ParameterSpec;

/// Everything that is needed to rebuild a network and to feed it: stored as JSON beside every
/// checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Model name, as in `cct_2_3x2`.
    pub name: String,
    /// Extent of the input image.
    pub image_size: ImageSize,
    /// Input channels: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Family and its sizes.
    pub architecture: Architecture,
    /// Per-channel mean of the training images, in 0..1 units.
    pub mean: Vec<f32>,
    /// Per-channel standard deviation of the training images, in 0..1 units.
    pub std: Vec<f32>,
    /// Class names in logit order; empty when unknown.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Name of the data set the weights were trained on.
    #[serde(default)]
    pub dataset: Option<String>,
}

/// Extent of an image in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A model family with its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// Not internally tagged: serde_json's `arbitrary_precision`, which any crate of a build may turn on,
// cannot read numbers behind an internal tag.
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Architecture {
    /// Compact convolutional transformer.
    Cct(CctConfig),
}

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

const fn default_rate() -> f32 {
    0.1
}

/// How tokens learn where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionalEmbedding {
    /// Trained with the network.
    Learnable,
    /// Fixed sines and cosines, stored with the weights.
    Sine,
    /// None.
    None,
}

/// Why a configuration does not describe a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No configuration has this name.
    #[error("no model is called `{name}`; known models: {}", .known.join(", "))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// A field has a value that no network can have.
    #[error("model `{model}`: `{field}` {problem}")]
    Field {
        /// Name of the model.
        model: String,
        /// The offending field.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// (layers, heads, MLP ratio, width) of the published sizes.
const SIZES: [(usize, usize, f32, usize); 5] =
    [(2, 2, 1.0, 128), (4, 2, 1.0, 128), (6, 4, 2.0, 256), (7, 4, 2.0, 256), (14, 6, 3.0, 384)];
/// (kernel edge, stages) of the published tokenizers.
const TOKENIZERS: [(usize, usize); 4] = [(3, 1), (3, 2), (7, 1), (7, 2)];

impl ModelConfig {
    /// The configuration called `name`: `cct_{2,4,6,7,14}_{3x1,3x2,7x1,7x2}`, with `_sine`
    /// appended for sine embeddings. Models with the `7x2` tokenizer take 224x224 images, all
    /// others 32x32; three channels, ten classes.
    ///
    /// # Errors
    /// If no model has that name.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        let unknown = || ConfigError::UnknownName { name: name.into(), known: Self::names() };
        let (base, positional_embedding) = match name.strip_suffix("_sine") {
            Some(base) => (base, PositionalEmbedding::Sine),
            None => (name, PositionalEmbedding::Learnable),
        };
        for (layers, heads, mlp_ratio, embedding_dim) in SIZES {
            for (kernel_size, tokenizer_layers) in TOKENIZERS {
                if base != base_name(layers, kernel_size, tokenizer_layers) {
                    continue;
                }
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
                return Ok(Self::new(name, Architecture::Cct(cct))
                    .with_image_size(edge, edge)
                    .with_channels(3));
            }
        }
        Err(unknown())
    }

    /// Every name that [`ModelConfig::named`] knows.
    #[must_use]
    pub fn names() -> Vec<String> {
        let bases = SIZES
            .iter()
            .flat_map(|size| TOKENIZERS.map(|(kernel, stages)| base_name(size.0, kernel, stages)));
        bases.flat_map(|base| [base.clone(), base + "_sine"]).collect()
    }

    /// A configuration of one's own: 32x32 RGB images, ten classes.
    #[must_use]
    pub fn new(name: &str, architecture: Architecture) -> Self {
        Self {
            name: name.into(),
            image_size: ImageSize { height: 32, width: 32 },
            channels: 3,
            classes: 10,
            architecture,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
            labels: vec![],
            dataset: None,
        }
    }

    /// Sets the extent of the input image.
    #[must_use]
    pub fn with_image_size(mut self, height: usize, width: usize) -> Self {
        self.image_size = ImageSize { height, width };
        self
    }

    /// Sets the number of input channels; mean and deviation become 0.5.
    #[must_use]
    pub fn with_channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self.with_normalization(vec![0.5; channels], vec![0.5; channels])
    }

    /// Sets the number of classes and forgets the labels.
    #[must_use]
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self.labels.clear();
        self
    }

    /// Sets the class names and their number.
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.classes = labels.len();
        self.labels = labels;
        self
    }

    /// Sets how pixels are normalised: `(pixel / 255 - mean) / std`.
    #[must_use]
    pub fn with_normalization(mut self, mean: Vec<f32>, std: Vec<f32>) -> Self {
        self.mean = mean;
        self.std = std;
        self
    }

    /// Sets the name of the data set.
    #[must_use]
    pub fn with_dataset(mut self, dataset: &str) -> Self {
        self.dataset = Some(dataset.into());
        self
    }

    /// The family's sizes.
    #[must_use]
    pub fn cct(&self) -> &CctConfig {
        let Architecture::Cct(cct) = &self.architecture;
        cct
    }

    /// Checks that the configuration describes a network.
    ///
    /// # Errors
    /// Names the first field that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let cct = self.cct();
        let fail = |field: &'static str, problem: String| {
            Err(ConfigError::Field { model: self.name.clone(), field, problem })
        };
        let positive = [
            ("image_size", self.image_size.height.min(self.image_size.width)),
            ("embedding_dim", cct.embedding_dim),
            ("tokenizer_layers", cct.tokenizer_layers),
            ("tokenizer_channels", cct.tokenizer_channels),
            ("heads", cct.heads),
            ("layers", cct.layers),
        ];
        for (field, value) in positive {
            if value == 0 || value > 1 << 16 {
                return fail(field, format!("is {value}, must be 1 to 65536"));
            }
        }
        if !matches!(self.channels, 1 | 3) {
            return fail("channels", format!("is {}, must be 1 (grey) or 3 (RGB)", self.channels));
        }
        if !(2..=1 << 16).contains(&self.classes) {
            return fail("classes", format!("is {}, must be 2 to 65536", self.classes));
        }
        if cct.kernel_size.is_multiple_of(2) || !(3..=31).contains(&cct.kernel_size) {
            let problem = format!("is {}, must be odd and 3 to 31", cct.kernel_size);
            return fail("kernel_size", problem);
        }
        if !cct.embedding_dim.is_multiple_of(cct.heads) {
            let problem =
                format!("is {}, does not divide embedding_dim {}", cct.heads, cct.embedding_dim);
            return fail("heads", problem);
        }
        if !(cct.mlp_ratio.is_finite() && cct.mlp_ratio <= 64.0 && cct.mlp_dim() > 0) {
            return fail("mlp_ratio", format!("is {}, must be above 0, at most 64", cct.mlp_ratio));
        }
        let rates = [
            ("attention_dropout", cct.attention_dropout),
            ("stochastic_depth", cct.stochastic_depth),
        ];
        for (field, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                return fail(field, format!("is {rate}, must be at least 0 and below 1"));
            }
        }
        if self.tokens() < 2 {
            let problem = format!(
                "{}x{} leaves a single token behind {} tokenizer stages; take a larger image or \
                 fewer stages",
                self.image_size.height, self.image_size.width, cct.tokenizer_layers
            );
            return fail("image_size", problem);
        }
        for (field, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != self.channels {
                let problem = format!("has {} values for {} channels", values.len(), self.channels);
                return fail(field, problem);
            }
            if !values.iter().all(|v| v.is_finite()) {
                return fail(field, "holds a value that is not finite".into());
            }
        }
        if !self.std.iter().all(|&v| v > 0.0) {
            return fail("std", "holds a value that is not above 0".into());
        }
        if !self.labels.is_empty() && self.labels.len() != self.classes {
            let problem = format!("has {} names for {} classes", self.labels.len(), self.classes);
            return fail("labels", problem);
        }
        Ok(())
    }

    /// Extent of the token map behind the tokenizer.
    #[must_use]
    pub fn token_map(&self) -> ImageSize {
        let cct = self.cct();
        (0..cct.tokenizer_layers).fold(self.image_size, |size, _| cct.pooled(cct.convolved(size)))
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let map = self.token_map();
        map.height * map.width
    }

    /// Number of parameters, a frozen positional embedding included.
    #[must_use]
    pub fn params(&self) -> u64 {
        self.parameters().iter().map(|spec| spec.len() as u64).sum()
    }

    /// Multiply-accumulates of one inference: convolutions, linear layers, both attention
    /// products and sequence pooling.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let cct = self.cct();
        let (dim, tokens) = (cct.embedding_dim, self.tokens());
        let mut size = self.image_size;
        let mut macs = 0;
        for stage in 0..cct.tokenizer_layers {
            size = cct.convolved(size);
            let (input, output) = cct.stage_channels(stage, self.channels);
            macs += size.height * size.width * input * output * cct.kernel_size.pow(2);
            size = cct.pooled(size);
        }
        let linear = tokens * dim * (4 * dim + 2 * cct.mlp_dim());
        let attention = 2 * tokens * tokens * dim;
        macs += cct.layers * (linear + attention);
        macs += 2 * tokens * dim + dim * self.classes;
        macs as u64
    }

    /// Every parameter in the order in which it is initialised.
    #[must_use]
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        use crate::weights::ParameterKind::{Conv, LinearWeight, One, Position, Zero};
        let cct = self.cct();
        let dim = cct.embedding_dim;
        let mut specs = vec![];
        let mut add = |name: &str, shape: &[usize], kind| {
            specs.push(ParameterSpec { name: name.into(), shape: shape.into(), kind });
        };
        for stage in 0..cct.tokenizer_layers {
            let (input, output) = cct.stage_channels(stage, self.channels);
            let shape = [output, input, cct.kernel_size, cct.kernel_size];
            add(&format!("tokenizer.{stage}.weight"), &shape, Conv);
        }
        if cct.positional_embedding != PositionalEmbedding::None {
            let kind = Position { sine: cct.positional_embedding == PositionalEmbedding::Sine };
            add("positional_emb", &[1, self.tokens(), dim], kind);
        }
        for block in 0..cct.layers {
            let mut add = |name: &str, shape: &[usize], kind| {
                add(&format!("blocks.{block}.{name}"), shape, kind);
            };
            let hidden = cct.mlp_dim();
            add("pre_norm.weight", &[dim], One);
            add("pre_norm.bias", &[dim], Zero);
            add("qkv.weight", &[3 * dim, dim], LinearWeight);
            add("proj.weight", &[dim, dim], LinearWeight);
            add("proj.bias", &[dim], Zero);
            add("norm1.weight", &[dim], One);
            add("norm1.bias", &[dim], Zero);
            add("linear1.weight", &[hidden, dim], LinearWeight);
            add("linear1.bias", &[hidden], Zero);
            add("linear2.weight", &[dim, hidden], LinearWeight);
            add("linear2.bias", &[dim], Zero);
        }
        add("norm.weight", &[dim], One);
        add("norm.bias", &[dim], Zero);
        add("attention_pool.weight", &[1, dim], LinearWeight);
        add("attention_pool.bias", &[1], Zero);
        add("fc.weight", &[self.classes, dim], LinearWeight);
        add("fc.bias", &[self.classes], Zero);
        specs
    }
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
        (self.embedding_dim as f32 * self.mlp_ratio) as usize
    }

    /// Input and output channels of a tokenizer stage.
    #[must_use]
    pub fn stage_channels(&self, stage: usize, image_channels: usize) -> (usize, usize) {
        let input = if stage == 0 { image_channels } else { self.tokenizer_channels };
        let last = stage + 1 == self.tokenizer_layers;
        (input, if last { self.embedding_dim } else { self.tokenizer_channels })
    }

    /// Probability of skipping block `index` in training.
    #[must_use]
    pub fn drop_path(&self, index: usize) -> f32 {
        if self.layers < 2 {
            return 0.0;
        }
        self.stochastic_depth * index as f32 / (self.layers - 1) as f32
    }

    fn convolved(&self, size: ImageSize) -> ImageSize {
        let edge = |n: usize| (n + 2 * self.padding() - self.kernel_size) / self.stride() + 1;
        ImageSize { height: edge(size.height), width: edge(size.width) }
    }

    fn pooled(&self, size: ImageSize) -> ImageSize {
        ImageSize { height: size.height.div_ceil(2), width: size.width.div_ceil(2) }
    }
}

fn base_name(layers: usize, kernel: usize, stages: usize) -> String {
    format!("cct_{layers}_{kernel}x{stages}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_equal_the_published_ones() {
        // Published parameters, and MACs in millions to as many digits as were published.
        let table = [
            ("cct_2_3x2", 283_723, "35.3"),
            ("cct_4_3x2", 482_123, "50.0"),
            ("cct_6_3x2", 3_326_923, "253.5"),
            ("cct_7_3x2", 3_853_259, "289.1"),
            ("cct_6_3x1", 3_233_803, "1014"),
            ("cct_7_3x1", 3_760_139, "1182"),
        ];
        for (name, params, millions) in table {
            let config = ModelConfig::named(name).unwrap();
            assert_eq!(config.params(), params, "{name}");
            let digits = millions.split_once('.').map_or(0, |(_, digits)| digits.len());
            let macs = config.macs() as f64 / 1e6;
            assert_eq!(format!("{macs:.digits$}"), millions, "{name}");
        }
        assert_eq!(ModelConfig::named("cct_2_3x2").unwrap().macs(), 35_341_568);
    }

    #[test]
    fn every_name_is_a_valid_model() {
        let names = ModelConfig::names();
        assert_eq!(names.len(), 40);
        for name in names {
            let config = ModelConfig::named(&name).unwrap();
            config.validate().unwrap();
            assert_eq!(config.name, name);
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ModelConfig>(&json).unwrap(), config);
        }
        let large = ModelConfig::named("cct_14_7x2").unwrap();
        assert_eq!(large.tokens(), 196);
        assert!(ModelConfig::named("cct_3_3x2").unwrap_err().to_string().contains("cct_2_3x2"));
    }

    #[test]
    fn impossible_configurations_name_the_field() {
        let good = ModelConfig::named("cct_2_3x2").unwrap();
        let check = |change: &dyn Fn(&mut ModelConfig), expected: &str| {
            let mut config = good.clone();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        fn cct(config: &mut ModelConfig) -> &mut CctConfig {
            let Architecture::Cct(cct) = &mut config.architecture;
            cct
        }
        check(&|c| c.channels = 2, "`channels` is 2");
        check(&|c| c.classes = 1, "`classes` is 1");
        check(&|c| c.image_size.width = 0, "`image_size` is 0");
        check(&|c| *c = c.clone().with_image_size(4, 4), "`image_size` 4x4 leaves a single token");
        check(&|c| c.mean.clear(), "`mean` has 0 values for 3");
        check(&|c| c.std[1] = 0.0, "`std` holds");
        check(&|c| c.labels = vec!["one".into()], "`labels` has 1 names for 10");
        check(&|c| cct(c).heads = 3, "`heads` is 3, does not divide embedding_dim 128");
        check(&|c| cct(c).kernel_size = 4, "`kernel_size` is 4");
        check(&|c| cct(c).mlp_ratio = 0.0, "`mlp_ratio` is 0");
        check(&|c| cct(c).attention_dropout = 1.0, "`attention_dropout` is 1");
        check(&|c| cct(c).layers = 0, "`layers` is 0");
    }
}
