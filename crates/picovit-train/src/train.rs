//! The training loop.

use std::path::PathBuf;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use picovit_models::{ModelConfig, Network, RecordError, record, transfer};

use crate::backend::{BackendChoice, Task};
use crate::devices::multiplies_bf16;
use crate::distill::Teachers;
use crate::epoch::Trainer;
use crate::error::TrainError;
use crate::observer::{Console, Observer};
use crate::optimizer::Optimizers;
use crate::options::TrainOptions;
use crate::prepare::{check, checksums, load, open, same_teachers};
use crate::qat::Tuner;
use crate::state::{EpochMetrics, State, StateDir};
use crate::step::validate;
use crate::team::Team;

/// What a finished run leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSummary {
    /// The best checkpoint, its configuration beside it.
    pub checkpoint: PathBuf,
    /// The configuration.
    pub model: ModelConfig,
    /// The epoch it comes from.
    pub best: EpochMetrics,
    /// All epochs.
    pub history: Vec<EpochMetrics>,
}

/// Trains a network, with progress on the console.
///
/// # Errors
/// See [`TrainError`].
pub fn train(options: &TrainOptions, backend: BackendChoice) -> Result<TrainSummary, TrainError> {
    train_observed(options, backend, &mut Console::default())
}

/// Trains a network and tells `observer` how it goes.
///
/// # Errors
/// See [`TrainError`].
pub fn train_observed(
    options: &TrainOptions,
    backend: BackendChoice,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let backend = backend.resolve()?;
    check(options)?;
    backend.dispatch(options.devices, Train { options, observer, backend: backend.to_string() })?
}

pub(crate) struct Train<'a> {
    pub(crate) options: &'a TrainOptions,
    pub(crate) observer: &'a mut dyn Observer,
    /// Name of the backend.
    pub(crate) backend: String,
}

impl Task for Train<'_> {
    type Output = Result<TrainSummary, TrainError>;

    fn run<B: AutodiffBackend>(self, devices: &[B::Device]) -> Self::Output {
        let Self { options, observer, backend } = self;
        let device = &devices[0];
        if options.mixed_precision && !multiplies_bf16::<B>(device) {
            return Err(TrainError::Option {
                option: "mixed_precision",
                problem: format!(
                    "needs bf16, which `{backend}` does not compute with; leave it out"
                ),
            });
        }
        let dir = StateDir::new(&options.out_dir);
        let write = |source| TrainError::Write { path: options.out_dir.clone(), source };

        let resumed = open(&dir, options)?;
        let data = load(options, resumed.as_ref())?;
        let config = match &resumed {
            Some(state) => state.model.clone(),
            None => data.config.clone(),
        };
        let teachers = options.distillation.as_ref().map(|distillation| {
            Teachers::load(distillation, &config, options.mixed_precision, device)
        });
        let teachers = teachers.transpose()?;
        let checksums = checksums(options)?;
        let mut model = match (&options.from, &resumed) {
            (Some(checkpoint), None) => {
                let (model, notes) = transfer(checkpoint, &config, options.seed, device)?;
                notes.iter().for_each(|note| observer.note(note));
                model
            }
            // A run that goes on has weights of its own, below.
            _ => Network::<B>::init(&config, options.seed, device)?,
        };
        let mut optimizers = Optimizers::<Network<B>, B>::new(options);
        let averaging = options.average_decay > 0.0;
        let mut average = averaging.then(|| model.valid());
        let mut state = match resumed {
            Some(mut state) => {
                same_teachers(&state, options, &checksums)?;
                let epoch = state.epoch;
                let explain = |error: RecordError| dir.explain(error.into());
                model =
                    record::load_weights(&dir.model(epoch), &config, device).map_err(explain)?;
                if averaging {
                    let path = dir.average(epoch);
                    let loaded = record::load_weights::<B::InnerBackend>(&path, &config, device);
                    average = Some(loaded.map_err(explain)?);
                }
                optimizers = optimizers
                    .load(|name| dir.file(name, epoch), device)
                    .map_err(|error| dir.explain(error))?;
                // States of older versions learn what their data is, and their teachers.
                (state.data, state.teachers) = (Some(data.record.clone()), checksums);
                dir.publish(&state).map_err(write)?;
                state
            }
            None => {
                dir.create().map_err(write)?;
                State::new(options, &config, &data.record, checksums)
            }
        };
        observer.start(&backend, state.epoch, options.epochs, &options.out_dir);
        let tuner = match (options.qat, &options.from, &data.calibration) {
            (Some(qat), Some(from), Some(images)) => {
                let teacher = record::load_weights::<B::InnerBackend>(from, &config, device)?;
                Some(Tuner::new(qat, &config, images, teacher))
            }
            _ => None,
        };
        if let (Some(tuner), 0) = (&tuner, state.epoch) {
            observer.before(&tuner.evaluate(&model, &data.validation)?);
        }
        let team = Team::new(&config, options, teachers, devices);
        let mut trainer = Trainer::<B> { options, config: &config, data: &data, team, tuner };
        while state.epoch < options.epochs {
            let start = Instant::now();
            let epoch = state.epoch + 1;
            let trained = trainer.epoch(epoch, model, average, &mut optimizers, observer);
            let trained = trained.map_err(|error| match error {
                TrainError::Stopped(1) => TrainError::StoppedAtOnce,
                other => other,
            })?;
            (model, average) = (trained.model, trained.average);
            let seconds = start.elapsed().as_secs_f64();
            let validate = |model| {
                validate(model, &config, &data.validation, options.batch_size, device)
                    .per(data.validation.len())
            };
            let plain = model.valid();
            let val = validate(&plain);
            let averaged = average.as_ref().map(validate);
            // The step before the last one was fine; this network is none to keep.
            let losses = [Some(val.loss), averaged.map(|score| score.loss)];
            if let Some(loss) = losses.into_iter().flatten().find(|loss| !loss.is_finite()) {
                return Err(TrainError::Diverged { epoch, step: trained.steps, loss });
            }
            let int8 = |model: &Network<B::InnerBackend>| {
                let tuner = trainer.tuner.as_ref();
                tuner.map(|tuner| tuner.evaluate(model, &data.validation)).transpose()
            };
            let average_int8 = average.as_ref().map(int8).transpose()?.flatten();
            let train = trained.total.per(trained.images);
            let metrics = EpochMetrics {
                epoch,
                learning_rate: trained.learning_rate,
                train_loss: train.loss,
                train_accuracy: train.accuracy,
                val_loss: val.loss,
                val_accuracy: val.accuracy,
                average_loss: averaged.map(|score| score.loss),
                average_accuracy: averaged.map(|score| score.accuracy),
                int8: int8(&plain)?,
                average_int8,
                images_per_second: trained.images as f64 / seconds,
                seconds: start.elapsed().as_secs_f64(),
                backend: backend.clone(),
            };
            let best = state.push(metrics.clone());
            let mut files = vec![("model", record::to_bytes(&model))];
            files.extend(average.as_ref().map(|average| ("average", record::to_bytes(average))));
            files.extend(optimizers.to_files());
            dir.commit(&state, &files).map_err(write)?;
            dir.publish(&state).map_err(write)?;
            if observer.epoch(&metrics, best).is_break() {
                return Err(TrainError::Stopped(epoch));
            }
        }
        Ok(TrainSummary {
            checkpoint: options.out_dir.join("best.mpk"),
            model: config,
            best: state.history[state.best_epoch - 1].clone(),
            history: state.history,
        })
    }
}
