//! Recipes: named, versioned sets of training options.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::augment::{Mix, Policy};
use crate::optimizer::OptimizerKind;
use crate::options::TrainOptions;
use crate::schedule::ScheduleKind;

/// How to train. What a recipe leaves out stays as it is in the options it is applied to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Grows with every change of the values, so that results can name what made them.
    pub version: u32,
    /// Where the values come from, and what they leave out.
    pub description: Option<String>,
    /// Passes over the training images, warm-up and cool-down included.
    pub epochs: Option<usize>,
    /// Images per pass through the network.
    pub batch_size: Option<usize>,
    /// Batches whose gradients make one step.
    pub accumulate: Option<usize>,
    /// Whether matrix products are computed on bf16 values.
    pub mixed_precision: Option<bool>,
    /// How weights are updated.
    pub optimizer: Option<OptimizerKind>,
    /// Highest learning rate.
    pub learning_rate: Option<f64>,
    /// Muon's learning rate as a multiple of AdamW's.
    pub muon_factor: Option<f64>,
    /// Learning rate over time.
    pub schedule: Option<ScheduleKind>,
    /// Learning rate at the end.
    pub min_learning_rate: Option<f64>,
    /// Epochs over which the learning rate rises.
    pub warmup_epochs: Option<f64>,
    /// Learning rate that the warm-up starts from.
    pub warmup_learning_rate: Option<f64>,
    /// Epochs at the end that keep the last learning rate.
    pub cooldown_epochs: Option<f64>,
    /// Decoupled weight decay.
    pub weight_decay: Option<f64>,
    /// Whether biases, norms, positions and class tokens decay as well.
    pub decay_all: Option<bool>,
    /// Longest gradient over all parameters; 0 for any length.
    pub clip_norm: Option<f64>,
    /// Share of the weights' moving average that stays at a step; 0 for no average.
    pub average_decay: Option<f64>,
    /// Share of the target distribution that is spread over all classes.
    pub label_smoothing: Option<f32>,
    /// Dropout probability of attention weights.
    pub attention_dropout: Option<f32>,
    /// Probability of skipping the last block.
    pub stochastic_depth: Option<f32>,
    /// Least and greatest share of the area that a random crop takes; empty for crops of the
    /// image's own size.
    pub crop_scale: Option<Vec<f32>>,
    /// Border from which crops of the image's own size are taken, in pixels.
    pub crop_padding: Option<usize>,
    /// Whether half of the images are mirrored.
    pub flip: Option<bool>,
    /// Changes of geometry and tone.
    pub policy: Option<Policy>,
    /// Share of the images of which a rectangle is replaced by noise.
    pub erase: Option<f32>,
    /// Shape of mixup's Beta distribution; 0 for no mixup.
    pub mixup: Option<f64>,
    /// Shape of CutMix's Beta distribution; 0 for no CutMix.
    pub cutmix: Option<f64>,
    /// Last epoch that mixes; 0 for all.
    pub mix_until: Option<usize>,
    /// In quantization-aware training, steps from one quantization of the weights to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat_every: Option<usize>,
    /// In quantization-aware training, images that calibrate the ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat_images: Option<usize>,
    /// Where there are teachers, or in quantization-aware training, their share of the loss; the
    /// labels get the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<f32>,
    /// Where there are teachers, what logits are divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// In quantization-aware training, the float model's share of the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float_share: Option<f32>,
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// It is neither a name nor a file.
    #[error("`{0}` is neither a recipe nor a file; recipes: {names}", names = Recipe::names().join(", "))]
    Unknown(String),
    /// The file cannot be read.
    #[error("cannot read the recipe {}; check that the path is right and that it may be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The text is no recipe.
    #[error("{origin} is no recipe: {problem}")]
    Syntax {
        /// Name or file.
        origin: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// A value cannot be.
    #[error("{origin}: `{field}` {problem}")]
    Field {
        /// Name or file.
        origin: String,
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

const RECIPES: [(&str, &str); 6] = [
    ("cct-200", include_str!("../recipes/cct-200.toml")),
    ("cct-300", include_str!("../recipes/cct-300.toml")),
    ("keras-30", include_str!("../recipes/keras-30.toml")),
    ("mobilevit", include_str!("../recipes/mobilevit.toml")),
    ("muon-30", include_str!("../recipes/muon-30.toml")),
    ("qat", include_str!("../recipes/qat.toml")),
];

impl Recipe {
    /// Names of the recipes that come with this crate.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        RECIPES.iter().map(|recipe| recipe.0).collect()
    }

    /// The recipe of a name, or of a file.
    ///
    /// # Errors
    /// If it is neither, or the file holds no recipe.
    pub fn load(name: &str) -> Result<Self, RecipeError> {
        if let Some((name, text)) = RECIPES.iter().find(|recipe| recipe.0 == name) {
            return Self::parse(name, text);
        }
        let path = Path::new(name);
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(name, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(RecipeError::Unknown(name.into()))
            }
            Err(source) => Err(RecipeError::Read { path: path.into(), source }),
        }
    }

    fn parse(origin: &str, text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = toml::from_str(text).map_err(|error| RecipeError::Syntax {
            origin: origin.into(),
            problem: error.to_string(),
        })?;
        let scale = recipe.crop_scale.as_ref().map_or(0, Vec::len);
        if let Some(padding) = recipe.crop_padding.filter(|&padding| scale > 0 && padding > 0) {
            return Err(RecipeError::Field {
                origin: origin.into(),
                field: "crop_padding",
                problem: format!(
                    "is {padding}, but crops are enlarged by `crop_scale`; leave out one of them"
                ),
            });
        }
        if scale != 0 && scale != 2 {
            return Err(RecipeError::Field {
                origin: origin.into(),
                field: "crop_scale",
                problem: format!("has {scale} values, must have none or two"),
            });
        }
        Ok(recipe)
    }

    /// Sets what the recipe says. Rates of dropout go into the model's configuration, as far as
    /// its family has them; what is for quantization-aware training or distillation
    /// counts where that is asked for.
    pub fn apply(&self, options: &mut TrainOptions) {
        set(&mut options.epochs, self.epochs);
        set(&mut options.batch_size, self.batch_size);
        set(&mut options.accumulate, self.accumulate);
        set(&mut options.optimizer, self.optimizer);
        set(&mut options.learning_rate, self.learning_rate);
        set(&mut options.muon_factor, self.muon_factor);
        set(&mut options.schedule, self.schedule);
        set(&mut options.min_learning_rate, self.min_learning_rate);
        set(&mut options.warmup_epochs, self.warmup_epochs);
        set(&mut options.warmup_learning_rate, self.warmup_learning_rate);
        set(&mut options.cooldown_epochs, self.cooldown_epochs);
        set(&mut options.weight_decay, self.weight_decay);
        set(&mut options.decay_all, self.decay_all);
        set(&mut options.clip_norm, self.clip_norm);
        set(&mut options.mixed_precision, self.mixed_precision);
        set(&mut options.average_decay, self.average_decay);
        set(&mut options.label_smoothing, self.label_smoothing);
        let scale = self.crop_scale.as_ref().map(|scale| <[f32; 2]>::try_from(&scale[..]).ok());
        set(&mut options.augment.crop_scale, scale);
        // Enlarged crops have no border.
        let padding = scale.flatten().map(|_| 0);
        set(&mut options.augment.crop_padding, self.crop_padding.or(padding));
        set(&mut options.augment.flip, self.flip);
        set(&mut options.augment.policy, self.policy);
        set(&mut options.augment.erase, self.erase);
        let Mix { mixup, cutmix, until } = &mut options.mix;
        set(mixup, self.mixup);
        set(cutmix, self.cutmix);
        set(until, self.mix_until.map(|epoch| (epoch > 0).then_some(epoch)));
        let [attention, path] = options.model.architecture.dropout_rates_mut();
        set(attention, self.attention_dropout);
        set(path, self.stochastic_depth);
        if let Some(qat) = &mut options.qat {
            set(&mut qat.every, self.qat_every);
            set(&mut qat.images, self.qat_images);
            set(&mut qat.distill, self.distill);
            set(&mut qat.float_share, self.float_share);
        }
        if let Some(distillation) = &mut options.distillation {
            set(&mut distillation.share, self.distill);
            set(&mut distillation.temperature, self.temperature);
        }
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
mod tests {
    use picovit_models::ModelConfig;

    use picovit_models::Architecture;

    use super::*;
    use crate::augment::Augment;
    use crate::data::{DataKind, DataSource};
    use crate::prepare::check;

    fn options() -> TrainOptions {
        let source = DataSource { kind: DataKind::Cifar10, dir: None };
        let model = ModelConfig::named("cct_7_3x1").unwrap();
        TrainOptions::new(model, source, PathBuf::new())
    }

    #[test]
    fn every_recipe_says_everything_and_can_be_met() {
        for name in Recipe::names() {
            let recipe = Recipe::load(name).unwrap();
            let fields = serde_json::to_value(&recipe).unwrap();
            for (field, value) in fields.as_object().unwrap() {
                assert!(!value.is_null(), "{name} leaves out {field}");
            }
            assert!(recipe.version > 0);
            let mut options = options();
            recipe.apply(&mut options);
            check(&options).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn the_recipe_of_the_published_checkpoints() {
        let mut options = options();
        Recipe::load("cct-300").unwrap().apply(&mut options);
        assert_eq!((options.epochs, options.cooldown_epochs), (310, 10.0));
        assert_eq!(options.mix, Mix { mixup: 0.8, cutmix: 1.0, until: Some(175) });
        let crops = Some([0.8, 1.0]);
        let policy = Policy::RAND_AUGMENT;
        let augment = Augment { crop_scale: crops, flip: true, policy, ..Augment::NONE };
        assert_eq!(options.augment, augment);
        assert!(!options.decay_all);
    }

    #[test]
    fn what_is_left_out_stays() {
        let recipe = Recipe::parse("mine", "version = 1\nepochs = 7\nstochastic_depth = 0.0");
        let mut options = options();
        let mut expected = options.clone();
        recipe.unwrap().apply(&mut options);
        expected.epochs = 7;
        let Architecture::Cct(cct) = &mut expected.model.architecture else { panic!() };
        cct.stochastic_depth = 0.0;
        assert_eq!(options, expected);
    }

    #[test]
    fn enlarged_crops_have_no_border() {
        let mut options = options();
        assert!(options.augment.crop_padding > 0);
        let recipe = Recipe::parse("mine", "version = 1\ncrop_scale = [0.5, 1.0]").unwrap();
        recipe.apply(&mut options);
        assert_eq!(
            (options.augment.crop_scale, options.augment.crop_padding),
            (Some([0.5, 1.0]), 0)
        );
    }

    #[test]
    fn mistakes_are_explained() {
        let unknown = Recipe::load("cct-400").unwrap_err().to_string();
        assert!(
            unknown.contains("`cct-400`") && unknown.contains("cct-300, keras-30"),
            "{unknown}"
        );
        for (text, part) in [
            ("epochs = 7", "version"),
            ("version = 1\nepoch = 7", "epoch"),
            ("version = 1\nepochs = -7", "epochs"),
            ("version = 1\npolicy = \"best\"", "best"),
            ("version = 1\ncrop_scale = [0.5]", "none or two"),
            ("version = 1\ncrop_scale = [0.5, 1.0]\ncrop_padding = 4", "`crop_padding` is 4"),
        ] {
            let error = Recipe::parse("mine.toml", text).unwrap_err().to_string();
            assert!(error.contains("mine.toml") && error.contains(part), "{error}");
        }
    }
}
