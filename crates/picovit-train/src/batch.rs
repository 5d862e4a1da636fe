//! Batches, made ahead of the step that takes them.

use std::sync::mpsc;
use std::thread::Scope;

use crate::augment::Augment;
use crate::data::Dataset;
use crate::options::TrainOptions;
use crate::random::{Random, Stream};
use crate::targets;

/// Batches waiting for the step.
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

/// The batches of an epoch.
pub(crate) struct Batches<'a> {
    data: &'a Dataset,
    augment: Augment,
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
        Batch { pixels, labels, targets }
    }

    /// All batches in order, made by a thread of their own.
    pub(crate) fn prefetch<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
    ) -> mpsc::IntoIter<Batch> {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || {
            // Sending fails once the run has stopped and nobody listens.
            let _ = (0..self.len()).try_for_each(|index| sender.send(self.get(index)));
        });
        receiver.into_iter()
    }
}
