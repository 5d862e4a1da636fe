//! The training loop.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::optim::Optimizer;
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};
use burn::tensor::backend::AutodiffBackend;
use picovit_models::{ConfigError, ModelConfig, Network, RecordError, record};

use crate::augment::Augment;
use crate::backend::{BackendChoice, BackendError, Task};
use crate::data::{DataError, Dataset, Split};
use crate::observer::{Console, Observer};
use crate::options::TrainOptions;
use crate::random::{Random, Stream};
use crate::schedule::Schedule;
use crate::state::{EpochMetrics, State, StateDir};
use crate::step::{Adam, BatchResult, Step, optimizer, validate};

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

/// Why a run did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The backend cannot be had.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An option cannot be met.
    #[error("`{option}` {problem}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The output folder already holds a run.
    #[error("{} already holds a training run; pass --resume to go on with it, or choose another --out folder", .0.display())]
    Occupied(PathBuf),
    /// There is nothing to resume.
    #[error("{} holds no training run to resume; leave out --resume to start one", .0.display())]
    NothingToResume(PathBuf),
    /// The run in the folder was started with other options.
    #[error("{} was started with other options: {}; repeat them to resume, or choose another --out folder", .path.display(), .differences.join(", "))]
    OtherOptions {
        /// The output folder.
        path: PathBuf,
        /// Every option that differs.
        differences: Vec<String>,
    },
    /// The state cannot be used.
    #[error("{}: {problem}; remove the folder and train again", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the output folder cannot be written.
    #[error("cannot write the training state to {}: {source}", .path.display())]
    Write {
        /// The output folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The loss is no number any more.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; a lower learning rate or a longer warm-up helps"
    )]
    Diverged {
        /// The epoch.
        epoch: usize,
        /// The step.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// A checkpoint was trained on other classes.
    #[error("{} has {classes} classes, {data} has {found}; evaluate it on the data it was trained on", .checkpoint.display())]
    Classes {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Its classes.
        classes: usize,
        /// The data set.
        data: String,
        /// The data set's classes.
        found: usize,
    },
    /// The observer stopped the run.
    #[error("training was stopped in epoch {0}; pass --resume to go on")]
    Stopped(usize),
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
    backend.dispatch(Train { options, observer, backend: backend.to_string() })?
}

fn check(options: &TrainOptions) -> Result<(), TrainError> {
    let fail = |option, problem: String| Err(TrainError::Option { option, problem });
    if options.epochs == 0 {
        return fail("epochs", "is 0, must be at least 1".into());
    }
    if options.batch_size == 0 {
        return fail("batch_size", "is 0, must be at least 1".into());
    }
    let rates = [
        ("learning_rate", options.learning_rate),
        ("min_learning_rate", options.min_learning_rate),
        ("weight_decay", options.weight_decay),
        ("warmup_epochs", options.warmup_epochs),
    ];
    for (option, value) in rates {
        if !(value.is_finite() && value >= 0.0) {
            return fail(option, format!("is {value}, must be a number of at least 0"));
        }
    }
    if !(0.0..1.0).contains(&options.label_smoothing) {
        let problem = format!("is {}, must be at least 0 and below 1", options.label_smoothing);
        return fail("label_smoothing", problem);
    }
    Ok(())
}

struct Train<'a> {
    options: &'a TrainOptions,
    observer: &'a mut dyn Observer,
    backend: String,
}

impl Task for Train<'_> {
    type Output = Result<TrainSummary, TrainError>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { options, observer, backend } = self;
        let dir = StateDir::new(&options.out_dir);
        let write = |source| TrainError::Write { path: options.out_dir.clone(), source };

        let resumed = open(&dir, options)?;
        let data = load(options)?;
        let config = match &resumed {
            Some(state) => state.model.clone(),
            None => data.config.clone(),
        };
        let mut model = match &options.from {
            Some(checkpoint) => record::load_weights(checkpoint, &config, device)?,
            None => Network::<B>::init(&config, options.seed, device)?,
        };
        let mut adam = optimizer::<B>(options);
        let mut state = match resumed {
            Some(state) => {
                model = record::load_weights(&dir.model(state.epoch), &config, device)?;
                adam = adam.load_record(load_optimizer::<B>(&dir.optimizer(state.epoch), device)?);
                dir.publish(&state).map_err(write)?;
                state
            }
            None => {
                dir.create().map_err(write)?;
                State {
                    options: options.clone(),
                    model: config.clone(),
                    epoch: 0,
                    best_epoch: 0,
                    history: vec![],
                }
            }
        };
        observer.start(&backend, state.epoch, options.epochs, &options.out_dir);
        let mut trainer = Trainer::<B> { options, config: &config, data: &data, device };
        while state.epoch < options.epochs {
            let start = Instant::now();
            let epoch = state.epoch + 1;
            let trained = trainer.epoch(epoch, model, &mut adam, observer)?;
            model = trained.model;
            let seconds = start.elapsed().as_secs_f64();
            let val = validate(&model, &config, &data.validation, options.batch_size, device);
            let metrics = EpochMetrics {
                epoch,
                learning_rate: trained.learning_rate,
                train_loss: trained.total.loss / trained.images as f64,
                train_accuracy: trained.total.correct as f64 / trained.images as f64,
                val_loss: val.loss,
                val_accuracy: val.correct as f64 / data.validation.len() as f64,
                images_per_second: trained.images as f64 / seconds,
                seconds: start.elapsed().as_secs_f64(),
                backend: backend.clone(),
            };
            let best = state.best_epoch == 0 || metrics.beats(&state.history[state.best_epoch - 1]);
            state.epoch = epoch;
            if best {
                state.best_epoch = epoch;
            }
            state.history.push(metrics.clone());
            let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
            let optimizer = Recorder::<B>::record(&recorder, adam.to_record(), ())
                .expect("an optimizer's state is plain data");
            dir.commit(&state, &record::to_bytes(&model), &optimizer).map_err(write)?;
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

/// Data of a run, fitted to the model.
struct Data {
    config: ModelConfig,
    train: Dataset,
    validation: Dataset,
}

fn load(options: &TrainOptions) -> Result<Data, TrainError> {
    let model = &options.model;
    let channels = options.data.channels().unwrap_or(3).min(model.channels);
    model.clone().with_channels(channels).validate()?;
    let size = model.image_size;
    let all = options.data.load_for(Split::Train, size.height, size.width, channels)?;
    let (mean, std) = all.statistics();
    let config = model
        .clone()
        .with_channels(channels)
        .with_normalization(mean, std)
        .with_labels(all.class_names.clone())
        .with_dataset(&all.name);
    config.validate()?;
    let mut indices: Vec<usize> = (0..all.len()).collect();
    Random::new(options.seed, 0, Stream::Split).shuffle(&mut indices);
    indices.truncate(options.limit.unwrap_or(all.len()));
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
    let (validation, train) = indices.split_at(count);
    Ok(Data { train: all.select(train), validation: all.select(validation), config })
}

/// The state to resume from, or none for a new run.
fn open(dir: &StateDir, options: &TrainOptions) -> Result<Option<State>, TrainError> {
    let path = dir.index();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if options.resume {
                Err(TrainError::NothingToResume(options.out_dir.clone()))
            } else {
                Ok(None)
            };
        }
        Err(error) => return Err(TrainError::State { path, problem: error.to_string() }),
        Ok(_) if !options.resume => return Err(TrainError::Occupied(options.out_dir.clone())),
        Ok(text) => text,
    };
    let state: State = serde_json::from_str(&text)
        .map_err(|error| TrainError::State { path: path.clone(), problem: error.to_string() })?;
    let epochs = 1..=state.epoch;
    if state.history.len() != state.epoch || !epochs.contains(&state.best_epoch) {
        let problem = "the epochs do not add up".to_owned();
        return Err(TrainError::State { path, problem });
    }
    let differences = differences(&state.options, options);
    if differences.is_empty() {
        return Ok(Some(state));
    }
    Err(TrainError::OtherOptions { path: options.out_dir.clone(), differences })
}

/// Options that differ; where the data lies does not matter.
fn differences(old: &TrainOptions, new: &TrainOptions) -> Vec<String> {
    let value = |options: &TrainOptions| serde_json::to_value(options).expect("plain data");
    let (old, new) = (value(old), value(new));
    let fields = old.as_object().expect("options are a map").iter();
    let differing = fields.filter_map(|(field, old)| {
        let (old, new) = match field.as_str() {
            "data" => (&old["kind"], &new[field]["kind"]),
            _ => (old, &new[field]),
        };
        let text = match field.as_str() {
            "model" => field.clone(),
            _ => format!("{field} was {old}, is {new}"),
        };
        (old != new).then_some(text)
    });
    differing.collect()
}

fn load_optimizer<B: AutodiffBackend>(
    path: &Path,
    device: &B::Device,
) -> Result<<Adam<B> as Optimizer<Network<B>, B>>::Record, TrainError> {
    let fail = |problem: String| TrainError::State { path: path.into(), problem };
    let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    Recorder::<B>::load(&recorder, bytes, device).map_err(|error| fail(error.to_string()))
}

struct Trainer<'a, B: AutodiffBackend> {
    options: &'a TrainOptions,
    config: &'a ModelConfig,
    data: &'a Data,
    device: &'a B::Device,
}

struct Trained<B: AutodiffBackend> {
    model: Network<B>,
    total: BatchResult,
    images: usize,
    learning_rate: f64,
}

impl<B: AutodiffBackend> Trainer<'_, B> {
    fn epoch(
        &mut self,
        epoch: usize,
        mut model: Network<B>,
        adam: &mut Adam<B>,
        observer: &mut dyn Observer,
    ) -> Result<Trained<B>, TrainError> {
        let Self { options, config, data, device } = self;
        let random = |stream| Random::new(options.seed, epoch, stream);
        let mut order: Vec<usize> = (0..data.train.len()).collect();
        random(Stream::Shuffle).shuffle(&mut order);
        let mut augmenting = random(Stream::Augment);
        let mut masking = random(Stream::Masks);

        // The last batch is left out where it would not be full.
        let batch_size = options.batch_size.min(order.len());
        let steps = order.len() / batch_size;
        let schedule = Schedule {
            peak: options.learning_rate,
            least: options.min_learning_rate,
            warmup_steps: (options.warmup_epochs * steps as f64).round() as usize,
            steps: options.epochs * steps,
        };
        let step = Step::<B> { config, smoothing: options.label_smoothing, device };
        let mut total = BatchResult::default();
        let mut learning_rate = 0.0;
        for (index, batch) in order.chunks_exact(batch_size).enumerate() {
            let pixels = augmented(&data.train, batch, options.augment, &mut augmenting);
            let labels: Vec<u16> = batch.iter().map(|&i| data.train.labels[i]).collect();
            learning_rate = schedule.rate((epoch - 1) * steps + index);
            let result;
            (model, result) = step.run(model, adam, learning_rate, &pixels, &labels, &mut masking);
            let number = index + 1;
            if !result.loss.is_finite() {
                return Err(TrainError::Diverged { epoch, step: number, loss: result.loss });
            }
            total.loss += result.loss * batch_size as f64;
            total.correct += result.correct;
            if observer.step(epoch, number, steps, result.loss).is_break() {
                return Err(TrainError::Stopped(epoch));
            }
        }
        Ok(Trained { model, total, images: steps * batch_size, learning_rate })
    }
}

fn augmented(data: &Dataset, batch: &[usize], augment: Augment, random: &mut Random) -> Vec<u8> {
    let mut pixels = vec![0; batch.len() * data.image_len()];
    for (&index, output) in batch.iter().zip(pixels.chunks_exact_mut(data.image_len())) {
        let size = [data.height, data.width, data.channels];
        augment.apply(data.image(index), size, random, output);
    }
    pixels
}
