//! One pass over the training images.

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use picovit_models::{ModelConfig, Network};

use crate::average;
use crate::batch::Batches;
use crate::error::TrainError;
use crate::observer::Observer;
use crate::optimizer::{Optimizers, Rates};
use crate::options::TrainOptions;
use crate::prepare::Data;
use crate::random::{Random, Stream};
use crate::schedule::Schedule;
use crate::step::{BatchResult, Step};

/// A network without gradients.
type Plain<B> = Network<<B as AutodiffBackend>::InnerBackend>;

/// What stays the same over the epochs.
pub(crate) struct Trainer<'a, B: AutodiffBackend> {
    pub(crate) options: &'a TrainOptions,
    pub(crate) config: &'a ModelConfig,
    pub(crate) data: &'a Data,
    pub(crate) device: &'a B::Device,
}

/// Result of an epoch.
pub(crate) struct Trained<B: AutodiffBackend> {
    pub(crate) model: Network<B>,
    pub(crate) average: Option<Plain<B>>,
    pub(crate) total: BatchResult,
    pub(crate) images: usize,
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
        let Self { options, config, data, device } = self;
        let mut masking = Random::new(options.seed, epoch, Stream::Masks);
        let batches = Batches::new(&data.train, options, config.classes, epoch);
        let steps = batches.len();
        let schedule = Schedule {
            peak: options.learning_rate,
            least: options.min_learning_rate,
            warmup_steps: (options.warmup_epochs * steps as f64).round() as usize,
            steps: options.epochs * steps,
        };
        let step = Step::<B> { config, device };
        let mut total = BatchResult::default();
        let mut learning_rate = 0.0;
        std::thread::scope(|scope| {
            for (index, batch) in batches.prefetch(scope).enumerate() {
                let done = (epoch - 1) * steps + index;
                learning_rate = schedule.rate(done);
                let muon = learning_rate * options.muon_factor;
                let rates = Rates { adam: learning_rate, muon };
                let result;
                (model, result) = step.run(model.clone(), optimizers, rates, &batch, &mut masking);
                let number = index + 1;
                if !result.loss.is_finite() {
                    return Err(TrainError::Diverged { epoch, step: number, loss: result.loss });
                }
                if let Some(previous) = average.take() {
                    let kept = average::kept(options.average_decay, done);
                    average = Some(average::update(previous, &model.valid(), kept));
                }
                total.loss += result.loss * batch.labels.len() as f64;
                total.correct += result.correct;
                if observer.step(epoch, number, steps, result.loss).is_break() {
                    return Err(TrainError::Stopped(epoch));
                }
            }
            Ok(())
        })?;
        let images = steps * batches.batch_size();
        Ok(Trained { model, average, total, images, learning_rate })
    }
}
