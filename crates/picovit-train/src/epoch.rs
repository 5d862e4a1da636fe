//! One pass over the training images.

use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::AutodiffBackend;
use picovit_models::{ModelConfig, Network};

use crate::average;
use crate::batch::{Batch, Batches};
use crate::error::TrainError;
use crate::observer::Observer;
use crate::optimizer::{Optimizers, Rates};
use crate::options::TrainOptions;
use crate::prepare::Data;
use crate::qat::Tuner;
use crate::random::{Random, Stream};
use crate::schedule::Schedule;
use crate::step::BatchResult;
use crate::team::Team;

/// A network without gradients.
type Plain<B> = Network<<B as AutodiffBackend>::InnerBackend>;

/// What stays the same over the epochs.
pub(crate) struct Trainer<'a, B: AutodiffBackend> {
    pub(crate) options: &'a TrainOptions,
    pub(crate) config: &'a ModelConfig,
    pub(crate) data: &'a Data,
    pub(crate) team: Team<B>,
    /// Quantization-aware training.
    pub(crate) tuner: Option<Tuner<'a, B>>,
}

/// Result of an epoch.
pub(crate) struct Trained<B: AutodiffBackend> {
    pub(crate) model: Network<B>,
    pub(crate) average: Option<Plain<B>>,
    pub(crate) total: BatchResult,
    pub(crate) images: usize,
    pub(crate) steps: usize,
    /// Rate of the last step.
    pub(crate) learning_rate: f64,
}

impl<B: AutodiffBackend> Trainer<'_, B> {
    pub(crate) fn epoch(
        &mut self,
        epoch: usize,
        mut model: Network<B>,
        mut average: Option<Plain<B>>,
        optimizers: &mut Optimizers<Network<B>, B>,
        observer: &mut dyn Observer,
    ) -> Result<Trained<B>, TrainError> {
        let Self { options, config, data, team, tuner } = self;
        let mut masking = Random::new(options.seed, epoch, Stream::Masks);
        let batches = Batches::new(&data.train, options, config.classes, epoch);
        let accumulate = options.accumulate;
        // Batches that would not fill a step are left out.
        let steps = batches.len() / accumulate;
        let schedule = schedule(options, steps);
        let mut total = BatchResult::default();
        let mut learning_rate = 0.0;
        if let Some(tuner) = tuner {
            tuner.start_epoch(&model);
        }
        std::thread::scope(|scope| {
            let mut waiting = batches.prefetch(scope);
            for number in 1..=steps {
                let done = (epoch - 1) * steps + number - 1;
                learning_rate = schedule.rate(done);
                if let Some(tuner) = tuner {
                    tuner.start_step(number - 1, &model)?;
                }
                let batches = waiting.by_ref().take(accumulate);
                let tuner = tuner.as_ref();
                let (gradients, loss) =
                    gradients(team, &model, batches, &mut masking, tuner, &mut total);
                if !loss.is_finite() {
                    return Err(TrainError::Diverged { epoch, step: number, loss });
                }
                let muon = learning_rate * options.muon_factor;
                let rates = Rates { adam: learning_rate, muon };
                model = optimizers.step(rates, model.clone(), gradients);
                if let Some(previous) = average.take() {
                    let kept = average::kept(options.average_decay, done);
                    average = Some(average::update(previous, &model.valid(), kept));
                }
                if observer.step(epoch, number, steps, loss).is_break() {
                    return Err(TrainError::Stopped(epoch));
                }
            }
            Ok(())
        })?;
        let images = steps * accumulate * batches.batch_size();
        Ok(Trained { model, average, total, images, steps, learning_rate })
    }
}

/// The gradients of one step and their mean loss; adds to the epoch's result.
fn gradients<B: AutodiffBackend>(
    team: &mut Team<B>,
    model: &Network<B>,
    batches: impl Iterator<Item = Batch>,
    masking: &mut Random,
    tuner: Option<&Tuner<'_, B>>,
    total: &mut BatchResult,
) -> (GradientsParams, f64) {
    let mut accumulator = GradientsAccumulator::new();
    let mut mean = 0.0;
    for batch in batches {
        let images = batch.labels.len();
        let (gradients, result) = team.run(model, batch, masking, tuner);
        accumulator.accumulate(model, gradients);
        mean += result.loss / team.accumulate() as f64;
        total.loss += result.loss * images as f64;
        total.correct += result.correct;
    }
    (accumulator.grads(), mean)
}

fn schedule(options: &TrainOptions, steps: usize) -> Schedule {
    let count = |epochs: f64| (epochs * steps as f64).round() as usize;
    Schedule {
        kind: options.schedule,
        peak: options.learning_rate,
        least: options.min_learning_rate,
        start: options.warmup_learning_rate,
        warmup_steps: count(options.warmup_epochs),
        cooldown_steps: count(options.cooldown_epochs),
        steps: options.epochs * steps,
    }
}
