//! What must hold, and lie ready, before the first step.

mod classes;
mod output;
mod teachers;

use std::path::Path;

use picovit_models::{ModelConfig, record};

use crate::augment::Policy;
use crate::data::{Dataset, Split};
use crate::distill::Distillation;
use crate::error::TrainError;
use crate::options::TrainOptions;
use crate::qat::Qat;
use crate::random::{Random, Stream};
use crate::state::{DataRecord, State};

pub(crate) use output::open;
pub(crate) use teachers::{checksums, same_teachers};

/// Epochs a run may have, so that its steps can be counted.
const MAX_EPOCHS: usize = 1_000_000;

pub(crate) fn check(options: &TrainOptions) -> Result<(), TrainError> {
    let fail = |option, problem: String| Err(TrainError::Option { option, problem });
    if !(1..=MAX_EPOCHS).contains(&options.epochs) {
        return fail("epochs", format!("is {}, must be 1 to {MAX_EPOCHS}", options.epochs));
    }
    if options.batch_size == 0 {
        return fail("batch_size", "is 0, must be at least 1".into());
    }
    if options.accumulate == 0 {
        return fail("accumulate", "is 0, must be at least 1".into());
    }
    if options.devices == 0 || options.devices > options.batch_size {
        let problem = format!(
            "is {}, must be at least 1 and at most the batch size of {}",
            options.devices, options.batch_size
        );
        return fail("devices", problem);
    }
    let rates = [
        ("learning_rate", options.learning_rate),
        ("min_learning_rate", options.min_learning_rate),
        ("weight_decay", options.weight_decay),
        ("warmup_epochs", options.warmup_epochs),
        ("muon_factor", options.muon_factor),
        ("clip_norm", options.clip_norm),
        ("warmup_learning_rate", options.warmup_learning_rate),
        ("cooldown_epochs", options.cooldown_epochs),
        ("mixup", options.mix.mixup),
        ("cutmix", options.mix.cutmix),
    ];
    for (option, value) in rates {
        if !(value.is_finite() && value >= 0.0) {
            return fail(option, format!("is {value}, must be a number of at least 0"));
        }
    }
    for (option, epochs) in
        [("warmup_epochs", options.warmup_epochs), ("cooldown_epochs", options.cooldown_epochs)]
    {
        if epochs > MAX_EPOCHS as f64 {
            return fail(option, format!("is {epochs}, must be at most {MAX_EPOCHS}"));
        }
    }
    for (option, rate) in [
        ("min_learning_rate", options.min_learning_rate),
        ("warmup_learning_rate", options.warmup_learning_rate),
    ] {
        if rate > options.learning_rate {
            let highest = options.learning_rate;
            return fail(option, format!("is {rate}, above the highest rate of {highest}"));
        }
    }
    let shares = [
        ("label_smoothing", f64::from(options.label_smoothing)),
        ("average_decay", options.average_decay),
    ];
    for (option, value) in shares {
        if !(0.0..1.0).contains(&value) {
            return fail(option, format!("is {value}, must be at least 0 and below 1"));
        }
    }
    if let Some(qat) = options.qat {
        check_qat(qat, options)?;
    }
    if let Some((option, problem)) = options.distillation.as_ref().and_then(Distillation::problem) {
        return fail(option, problem);
    }
    if !(0.0..=1.0).contains(&options.augment.erase) {
        return fail("erase", format!("is {}, must be in 0..=1", options.augment.erase));
    }
    let (size, padding) = (options.model.image_size, options.augment.crop_padding);
    if padding > size.height.min(size.width) {
        let problem = format!("is {padding}, wider than the image of {size}");
        return fail("crop_padding", problem);
    }
    if let Some([least, most]) = options.augment.crop_scale
        && !(least > 0.0 && least <= most && most <= 1.0)
    {
        let problem = format!("is {least} to {most}, must rise and lie above 0 and up to 1");
        return fail("crop_scale", problem);
    }
    if let Policy::RandAugment { magnitude, deviation, .. } = options.augment.policy
        && !((0.0..=10.0).contains(&magnitude) && (0.0..=10.0).contains(&deviation))
    {
        let problem =
            format!("has magnitude {magnitude} and deviation {deviation}, both must be in 0..=10");
        return fail("policy", problem);
    }
    Ok(())
}

fn check_qat(qat: Qat, options: &TrainOptions) -> Result<(), TrainError> {
    let fail = |option, problem: String| Err(TrainError::Option { option, problem });
    if options.devices != 1 {
        let problem = "is {}, must be 1 with qat: the chip's values are computed on the host";
        return fail("devices", problem.replace("{}", &options.devices.to_string()));
    }
    if options.from.is_none() {
        let problem = "starts from a trained checkpoint; name it with --from";
        return fail("qat", problem.into());
    }
    if options.distillation.is_some() {
        let problem = "is not for quantization-aware training, whose teacher is the checkpoint itself; leave out one of them";
        return fail("teacher", problem.into());
    }
    if options.mixed_precision {
        let problem = "rounds as coarsely as int8 does, which quantization-aware training would learn; leave out one of them";
        return fail("mixed_precision", problem.into());
    }
    for (option, value) in [("qat_every", qat.every), ("qat_images", qat.images)] {
        if value == 0 {
            return fail(option, "is 0, must be at least 1".into());
        }
    }
    for (option, value) in [("distill", qat.distill), ("float_share", qat.float_share)] {
        if !(0.0..=1.0).contains(&value) {
            return fail(option, format!("is {value}, must be in 0..=1"));
        }
    }
    if qat.float_share == 1.0 {
        return fail("float_share", "is 1, which leaves nothing to the int8 model".into());
    }
    Ok(())
}

/// Data of a run, fitted to the model.
pub(crate) struct Data {
    pub(crate) config: ModelConfig,
    /// What a run that resumes holds its data against.
    pub(crate) record: DataRecord,
    pub(crate) train: Dataset,
    pub(crate) validation: Dataset,
    /// What calibrates ranges in quantization-aware training.
    pub(crate) calibration: Option<Dataset>,
}

/// Loads the data and holds it against what the run goes on or starts from.
pub(crate) fn load(options: &TrainOptions, resumed: Option<&State>) -> Result<Data, TrainError> {
    let start = match (&options.from, resumed) {
        (Some(checkpoint), _) if options.qat.is_some() => Some(start(options, checkpoint)?),
        // What a run has started from may be gone when it goes on.
        (_, Some(state)) => Some(state.model.clone()),
        (Some(checkpoint), None) => Some(start(options, checkpoint)?),
        (None, None) => None,
    };
    let (config, all) = match (start.clone(), options.qat) {
        (Some(start), Some(_)) => tuned_model(options, start)?,
        (start, _) => new_model(options, start)?,
    };
    if let Some(state) = resumed {
        output::same_data(state, options, &all)?;
    }
    // Weights that a run has started from do not come back; a teacher's do.
    if let (Some(checkpoint), Some(start)) = (&options.from, &start)
        && (resumed.is_none() || options.qat.is_some())
    {
        classes::check(options, checkpoint, start, &all)?;
    }
    let calibration = options.qat.map(|qat| {
        let (size, split) = (config.image_size, Split::Calibration(qat.images));
        let data = options.data.load_for(split, size.height, size.width, config.channels)?;
        let indices: Vec<usize> = (0..data.len().min(qat.images)).collect();
        Ok::<_, TrainError>(data.select(&indices))
    });
    let calibration = calibration.transpose()?;
    let (train, validation) = split(options, all.len())?;
    if train.len() / options.batch_size.min(train.len()) < options.accumulate {
        return Err(TrainError::Option {
            option: "accumulate",
            problem: format!(
                "asks for {} batches of {} a step, {} training images are too few",
                options.accumulate,
                options.batch_size,
                train.len()
            ),
        });
    }
    if train.len() < options.devices {
        let problem =
            format!("is {}, {} training images are too few", options.devices, train.len());
        return Err(TrainError::Option { option: "devices", problem });
    }
    let (train, validation) = (all.select(&train), all.select(&validation));
    let record = DataRecord::of(&all);
    Ok(Data { config, record, train, validation, calibration })
}

/// Positions of the training and validation images, which the seed draws, of `limit` images at most.
fn split(options: &TrainOptions, images: usize) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    let mut indices: Vec<usize> = (0..images).collect();
    Random::new(options.seed, 0, Stream::Split).shuffle(&mut indices);
    indices.truncate(options.limit.unwrap_or(images));
    let count = options.validation.of(indices.len());
    if count == 0 || count >= indices.len() {
        return Err(TrainError::Option {
            option: "validation",
            problem: format!(
                "takes {count} of {} training images, must leave at least one on either side",
                indices.len()
            ),
        });
    }
    let train = indices.split_off(count);
    Ok((train, indices))
}

/// Configuration of the checkpoint that a run starts from.
fn start(options: &TrainOptions, checkpoint: &Path) -> Result<ModelConfig, TrainError> {
    let config = record::load_config(checkpoint)?;
    if config.name == options.model.name {
        return Ok(config);
    }
    let problem = format!(
        "is {}, but {} holds {}; leave out --model",
        options.model.name,
        checkpoint.display(),
        config.name
    );
    Err(TrainError::Option { option: "model", problem })
}

/// A model to train, fitted to the data. One that starts from a checkpoint keeps the checkpoint's
/// channels and normalisation, which its weights are made for.
fn new_model(
    options: &TrainOptions,
    start: Option<ModelConfig>,
) -> Result<(ModelConfig, Dataset), TrainError> {
    let model = &options.model;
    let channels = match &start {
        Some(start) => start.channels,
        None => options.data.channels().unwrap_or(3).min(model.channels),
    };
    model.clone().with_channels(channels).validate()?;
    let size = model.image_size;
    let all = options.data.load_for(Split::Train, size.height, size.width, channels)?;
    let (mean, std) = match start {
        Some(start) => (start.mean, start.std),
        None => all.statistics(),
    };
    let config = model
        .clone()
        .with_channels(channels)
        .with_normalization(mean, std)
        .with_labels(all.class_names.clone())
        .with_dataset(&all.name);
    config.validate()?;
    Ok((config, all))
}

/// The model of a checkpoint as it is.
fn tuned_model(
    options: &TrainOptions,
    config: ModelConfig,
) -> Result<(ModelConfig, Dataset), TrainError> {
    let size = config.image_size;
    let all = options.data.load_for(Split::Train, size.height, size.width, config.channels)?;
    Ok((config, all))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::data::{DataKind, DataSource};
    use crate::options::ValidationSize;

    #[test]
    fn the_seed_parts_the_images() {
        let source = DataSource { kind: DataKind::FashionMnist, dir: None };
        let model = ModelConfig::named("cct_2_3x2").unwrap();
        let mut options = TrainOptions::new(model, source, PathBuf::new());
        options.validation = ValidationSize::Count(30);
        let parts = |options: &TrainOptions| split(options, 100).unwrap();
        let (train, validation) = parts(&options);
        assert_eq!((train.len(), validation.len()), (70, 30));
        let mut all = [&train[..], &validation].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
        assert!(parts(&options) == (train.clone(), validation.clone()));

        options.limit = Some(50);
        let (few, same) = parts(&options);
        // A limit leaves out training images only.
        assert!(same == validation && few.len() == 20 && train.starts_with(&few));
        options.seed = 1;
        assert!(parts(&options).1 != validation);
    }
}
