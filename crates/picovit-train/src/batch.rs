//! Batches, made ahead of the step that takes them.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, available_parallelism};

use crate::augment::{Augment, Mix};
use crate::data::Dataset;
use crate::options::TrainOptions;
use crate::random::{Random, Stream};
use crate::targets;

/// Batches of each thread that wait for the step.
const AHEAD: usize = 2;

/// Images and what is wanted for them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// `[image][height][width][channels]`.
    pub(crate) pixels: Vec<u8>,
    /// Class of every image, for the training accuracy.
    pub(crate) labels: Vec<u16>,
    /// Target distributions, `[image][class]`.
    pub(crate) targets: Vec<f32>,
}

impl Batch {
    /// Takes the images away from the image `first` on.
    pub(crate) fn split_off(&mut self, first: usize) -> Self {
        let images = self.labels.len();
        Self {
            pixels: self.pixels.split_off(self.pixels.len() / images * first),
            targets: self.targets.split_off(self.targets.len() / images * first),
            labels: self.labels.split_off(first),
        }
    }
}

/// The batches of an epoch.
pub(crate) struct Batches<'a> {
    data: &'a Dataset,
    augment: Augment,
    mix: Mix,
    workers: usize,
    smoothing: f32,
    classes: usize,
    seed: u64,
    epoch: usize,
    order: Vec<usize>,
    batch_size: usize,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(
        data: &'a Dataset,
        options: &TrainOptions,
        classes: usize,
        epoch: usize,
    ) -> Self {
        let mut order: Vec<usize> = (0..data.len()).collect();
        Random::new(options.seed, epoch, Stream::Shuffle).shuffle(&mut order);
        Self {
            data,
            augment: options.augment,
            mix: options.mix,
            workers: workers(options.workers),
            smoothing: options.label_smoothing,
            classes,
            seed: options.seed,
            epoch,
            batch_size: options.batch_size.min(order.len()),
            order,
        }
    }

    /// Number of batches; the last one is left out where it would not be full.
    pub(crate) fn len(&self) -> usize {
        self.order.len() / self.batch_size
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// One batch. It depends on its index alone, not on what was drawn before.
    pub(crate) fn get(&self, index: usize) -> Batch {
        let first = index * self.batch_size;
        let chosen = &self.order[first..first + self.batch_size];
        let data = self.data;
        let size = [data.height, data.width, data.channels];
        let mut pixels = vec![0; chosen.len() * data.image_len()];
        let outputs = pixels.chunks_exact_mut(data.image_len());
        for ((place, &image), output) in (first..).zip(chosen).zip(outputs) {
            let mut random = Random::nth(self.seed, self.epoch, Stream::Augment, place);
            self.augment.apply(data.image(image), size, &mut random, output);
        }
        let labels: Vec<u16> = chosen.iter().map(|&i| data.labels[i]).collect();
        let targets = targets::smoothed(&labels, self.classes, self.smoothing);
        let mut batch = Batch { pixels, labels, targets };
        if self.mix.mixes(self.epoch) {
            let mut random = Random::nth(self.seed, self.epoch, Stream::Mix, index);
            self.mix.apply(size, &mut random, &mut batch);
        }
        batch
    }

    /// All batches in order, made by threads of their own.
    pub(crate) fn prefetch<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> impl Iterator<Item = Batch> + use<'scope> {
        // Each thread makes every so-manieth batch, so that their order is known.
        let start = |first: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let mut indices = (first..self.len()).step_by(self.workers);
            scope.spawn(move || {
                // Sending fails once the run has stopped and nobody listens.
                let _ = indices.try_for_each(|index| sender.send(self.get(index)));
            });
            receiver
        };
        let receivers: Vec<Receiver<Batch>> = (0..self.workers).map(start).collect();
        (0..self.len()).map(move |index| {
            receivers[index % receivers.len()].recv().expect("a thread makes every batch")
        })
    }
}

/// Number of threads for an option that may leave it open. The backend needs processors, too.
fn workers(option: usize) -> usize {
    let half = || available_parallelism().map_or(1, |count| count.get() / 2).clamp(1, 8);
    if option == 0 { half() } else { option }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use picovit_models::ModelConfig;

    use super::*;
    use crate::augment::Policy;
    use crate::data::{DataKind, DataSource};

    fn data() -> Dataset {
        Dataset {
            name: "noise".into(),
            height: 8,
            width: 9,
            channels: 3,
            pixels: (0..23 * 216).map(|i: usize| (i * i % 253) as u8).collect(),
            labels: (0..23).map(|i| i % 5).collect(),
            class_names: (0..5).map(|i| i.to_string()).collect(),
        }
    }

    fn options() -> TrainOptions {
        let source = DataSource { kind: DataKind::Cifar10, dir: None };
        let model = ModelConfig::named("cct_2_3x2").unwrap();
        let mut options = TrainOptions::new(model, source, PathBuf::new());
        options.batch_size = 4;
        options.augment.policy = Policy::AutoAugment;
        options.augment.erase = 0.5;
        options.mix = Mix { mixup: 0.8, cutmix: 1.0, until: Some(2) };
        options
    }

    fn batches(data: &Dataset, options: &TrainOptions, epoch: usize) -> Vec<Batch> {
        let batches = Batches::new(data, options, 5, epoch);
        std::thread::scope(|scope| batches.prefetch(scope).collect())
    }

    #[test]
    fn batches_do_not_depend_on_the_number_of_threads() {
        let (data, mut options) = (data(), options());
        options.workers = 1;
        let expected = batches(&data, &options, 1);
        assert_eq!(expected.len(), 5);
        for workers in [0, 2, 3, 9] {
            options.workers = workers;
            assert_eq!(batches(&data, &options, 1), expected, "{workers} threads");
        }
        assert_ne!(batches(&data, &options, 2), expected);
    }

    #[test]
    fn targets_are_distributions_and_mixing_ends() {
        let (data, options) = (data(), options());
        for epoch in 1..=3 {
            for batch in batches(&data, &options, epoch) {
                assert_eq!((batch.labels.len(), batch.pixels.len()), (4, 4 * 216));
                for target in batch.targets.chunks_exact(5) {
                    assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    let shared = target.iter().filter(|&&weight| weight > 0.021).count();
                    assert!(shared <= 2 && (epoch <= 2 || shared == 1), "{target:?}");
                }
            }
        }
    }

    #[test]
    fn a_run_that_stops_leaves_no_thread_behind() {
        let (data, options) = (data(), options());
        let batches = Batches::new(&data, &options, 5, 1);
        // The scope ends only when every thread has.
        let first = std::thread::scope(|scope| batches.prefetch(scope).next());
        assert_eq!(first, Some(batches.get(0)));
    }
}
