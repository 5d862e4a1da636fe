//! Model configurations: every published size by name, and arbitrary ones.

mod cct;
mod encoder;
pub(crate) mod family;
pub(crate) mod keras_cct;
pub(crate) mod mobilevit;
pub(crate) mod named;
mod vit;

use std::fmt;

pub use cct::CctConfig;
pub use family::BlockDropout;
pub use keras_cct::KerasCctConfig;
pub use mobilevit::MobileVitConfig;
pub use vit::VitConfig;

use family::{Family, Problem};
use picovit::image::MAX_EDGE;
use serde::{Deserialize, Serialize};
use vit::Patches;

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
    /// Per-channel mean of the training images, in 0..1 units: 0 to 1.
    pub mean: Vec<f32>,
    /// Per-channel standard deviation of the training images, in 0..1 units: above 0, at most 1.
    pub std: Vec<f32>,
    /// Class names in logit order, each on one line; empty when unknown.
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
    /// Compact vision transformer: patches, and sequence pooling as in CCT.
    Cvt(VitConfig),
    /// Small vision transformer: patches and a class token.
    VitLite(VitConfig),
    /// Compact convolutional transformer of the Keras examples.
    KerasCct(KerasCctConfig),
    /// MobileViT.
    MobileVit(MobileVitConfig),
}

impl Architecture {
    /// Probabilities, in training, of dropping an attention weight and of skipping the last block.
    pub fn dropout_rates_mut(&mut self) -> [&mut f32; 2] {
        match self {
            Self::Cct(c) => [&mut c.attention_dropout, &mut c.stochastic_depth],
            Self::Cvt(c) | Self::VitLite(c) => [&mut c.attention_dropout, &mut c.stochastic_depth],
            Self::KerasCct(c) => [&mut c.attention_dropout, &mut c.stochastic_depth],
            Self::MobileVit(c) => [&mut c.attention_dropout, &mut c.stochastic_depth],
        }
    }
}

pub(crate) const fn default_rate() -> f32 {
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

impl ModelConfig {
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

    /// Checks that the configuration describes a network.
    ///
    /// # Errors
    /// Names the first field that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check().map_err(|(field, problem)| ConfigError::Field {
            model: self.name.clone(),
            field,
            problem,
        })
    }

    fn check(&self) -> Result<(), Problem> {
        let fail = |field: &'static str, problem: String| Err((field, problem));
        // What the engine's pre-processing takes.
        let edges = [self.image_size.height, self.image_size.width];
        if let Some(edge) = edges.iter().find(|edge| !(1..=MAX_EDGE).contains(*edge)) {
            return fail("image_size", format!("is {edge}, must be 1 to {MAX_EDGE}"));
        }
        if !matches!(self.channels, 1 | 3) {
            return fail("channels", format!("is {}, must be 1 (grey) or 3 (RGB)", self.channels));
        }
        // Artifacts count them in 16 bits.
        if !(2..1 << 16).contains(&self.classes) {
            return fail("classes", format!("is {}, must be 2 to 65535", self.classes));
        }
        self.architecture.family().validate(self)?;
        for (field, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != self.channels {
                let problem = format!("has {} values for {} channels", values.len(), self.channels);
                return fail(field, problem);
            }
            // Not finite ones, too; a deviation of 0 would divide by 0.
            let fits = |v: f32| (0.0..=1.0).contains(&v) && (field == "mean" || v > 0.0);
            if let Some(value) = values.iter().find(|&&v| !fits(v)) {
                let range = if field == "mean" { "0 to 1" } else { "above 0 and at most 1" };
                let remedy = "divide values for pixels of 0 to 255 by 255";
                return fail(field, format!("holds {value}, must be {range}; {remedy}"));
            }
        }
        if !self.labels.is_empty() && self.labels.len() != self.classes {
            let problem = format!("has {} names for {} classes", self.labels.len(), self.classes);
            return fail("labels", problem);
        }
        // Artifacts keep one name a line.
        let on_one_line = |name: &str| !name.is_empty() && !name.contains(['\n', '\r']);
        if let Some(class) = self.labels.iter().position(|name| !on_one_line(name)) {
            let name = &self.labels[class];
            let problem = format!("holds {name:?} for class {class}, must be a name on one line");
            return fail("labels", problem);
        }
        Ok(())
    }

    /// Number of parameters, a frozen positional embedding included, running statistics of
    /// batch normalisation excluded.
    #[must_use]
    pub fn params(&self) -> u64 {
        let specs = self.parameters();
        let counted = specs.iter().filter(|spec| !spec.kind.is_statistic());
        counted.map(|spec| spec.len() as u64).sum()
    }

    /// Multiply-accumulates of one inference: convolutions, linear layers, both attention
    /// products and sequence pooling.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.architecture.family().macs(self) as u64
    }

    /// Every parameter in the order in which it is initialised.
    #[must_use]
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        self.architecture.family().parameters(self)
    }

    /// What training drops, transformer block by transformer block.
    #[must_use]
    pub fn dropouts(&self) -> Vec<BlockDropout> {
        self.architecture.family().dropouts(self)
    }
}

impl Architecture {
    pub(crate) fn family(&self) -> Box<dyn Family + '_> {
        match self {
            Self::Cct(cct) => Box::new(cct.clone()),
            Self::VitLite(sizes) => Box::new(Patches { sizes, class_token: true }),
            Self::Cvt(sizes) => Box::new(Patches { sizes, class_token: false }),
            Self::KerasCct(keras) => Box::new(keras.clone()),
            Self::MobileVit(mobilevit) => Box::new(mobilevit.clone()),
        }
    }

    /// Attention heads, which no weight tells.
    #[must_use]
    pub fn heads(&self) -> usize {
        match self {
            Self::Cct(cct) => cct.heads,
            Self::VitLite(vit) | Self::Cvt(vit) => vit.heads,
            Self::KerasCct(keras) => keras.heads,
            Self::MobileVit(mobilevit) => mobilevit.heads,
        }
    }

    /// Sets the number of attention heads, all of them together as wide as before: whether that can be.
    /// Of most families [`ModelConfig::validate`] says it, too.
    pub fn set_heads(&mut self, heads: usize) -> bool {
        match self {
            Self::Cct(cct) => cct.heads = heads,
            Self::VitLite(vit) | Self::Cvt(vit) => vit.heads = heads,
            Self::KerasCct(keras) => {
                let inner = keras.inner();
                if heads == 0 || !inner.is_multiple_of(heads) {
                    return false;
                }
                (keras.heads, keras.head_dim) = (heads, inner / heads);
            }
            Self::MobileVit(mobilevit) => mobilevit.heads = heads,
        }
        true
    }

    /// Extent of the map whose tokens have positions; none for MobileViT.
    pub(crate) fn token_grid(&self, image: ImageSize) -> Option<ImageSize> {
        match self {
            Self::Cct(cct) => Some(cct.token_map(image)),
            Self::VitLite(vit) | Self::Cvt(vit) => Some(vit.token_map(image)),
            Self::KerasCct(keras) => Some(keras.token_map(image)),
            Self::MobileVit(_) => None,
        }
    }
}

impl ImageSize {
    /// Number of pixels.
    #[must_use]
    pub const fn area(self) -> usize {
        self.height * self.width
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
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
            ("vit_lite_7_4", 3_716_874, "254.5"),
            ("cvt_7_4", 3_716_619, "250.4"),
            ("mobilevit_xxs", 1_272_024, "407"),
            ("mobilevit_xs", 2_317_848, "1026"),
            ("mobilevit_s", 5_578_632, "2001"),
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
        assert_eq!(names.len(), 40 + 2 * 24 + 1 + 3);
        for name in names {
            let config = ModelConfig::named(&name).unwrap();
            config.validate().unwrap();
            assert_eq!(config.name, name);
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ModelConfig>(&json).unwrap(), config);
        }
        let large = ModelConfig::named("cct_14_7x2").unwrap();
        assert_eq!(large.dropouts()[13].tokens, 196);
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
            let Architecture::Cct(cct) = &mut config.architecture else { unreachable!() };
            cct
        }
        check(&|c| c.channels = 2, "`channels` is 2");
        check(&|c| c.classes = 1, "`classes` is 1");
        check(&|c| c.classes = 65_536, "`classes` is 65536, must be 2 to 65535");
        check(&|c| c.image_size.width = 0, "`image_size` is 0");
        check(&|c| c.image_size.height = 4097, "`image_size` is 4097, must be 1 to 4096");
        check(&|c| *c = c.clone().with_image_size(4, 4), "`image_size` 4x4 leaves a single token");
        check(&|c| c.mean.clear(), "`mean` has 0 values for 3");
        check(&|c| c.mean[2] = 120.0, "`mean` holds 120, must be 0 to 1; divide");
        check(&|c| c.mean[0] = -0.1, "`mean` holds -0.1");
        check(&|c| c.mean[0] = f32::NAN, "`mean` holds NaN");
        check(&|c| c.std[1] = 0.0, "`std` holds 0, must be above 0");
        check(&|c| c.std[1] = 58.0, "`std` holds 58");
        let named = |name: &str| {
            let name = name.to_owned();
            move |c: &mut ModelConfig| {
                let names = (0..9).map(|class| class.to_string()).chain([name.clone()]);
                c.labels = names.collect();
            }
        };
        check(&named("tea\ncup"), r#"`labels` holds "tea\ncup" for class 9"#);
        check(&named("tea\r"), r#"`labels` holds "tea\r" for class 9"#);
        check(&named(""), r#"`labels` holds "" for class 9"#);
        let mut edge = good.clone().with_normalization(vec![0.0, 1.0, 0.5], vec![1.0, 1e-3, 0.5]);
        named("tea cup")(&mut edge);
        edge.validate().unwrap();
        check(&|c| c.labels = vec!["one".into()], "`labels` has 1 names for 10");
        check(&|c| cct(c).heads = 3, "`heads` is 3, does not divide embedding_dim 128");
        check(&|c| cct(c).kernel_size = 4, "`kernel_size` is 4");
        check(&|c| cct(c).mlp_ratio = 0.0, "`mlp_ratio` is 0");
        check(&|c| cct(c).attention_dropout = 1.0, "`attention_dropout` is 1");
        check(&|c| cct(c).layers = 0, "`layers` is 0");
        let named = |name: &str| ModelConfig::named(name).unwrap();
        let refused = |config: ModelConfig| config.validate().unwrap_err().to_string();
        let message = refused(named("cvt_2_8").with_image_size(36, 32));
        assert!(message.contains("`image_size` 36x32 is not made of 8x8 patches"), "{message}");
        let message = refused(named("mobilevit_xxs").with_image_size(96, 96));
        assert!(message.contains("`image_size` 96x96 makes a map of 3x3"), "{message}");
        assert!(message.contains("multiples of 64"), "{message}");
        let message = refused(named("cct_2_3x2_keras").with_image_size(32, 33));
        assert!(message.contains("`image_size` 32x33 makes a map of 30x31"), "{message}");
    }
}
