//! Data parallelism: every device does its part of each batch on a copy of the weights, and the
//! first one adds up the gradients and updates.
//!
//! This is what Burn's learner does for several devices when its main one optimises, with the
//! same means (`GradientsParams::to_device`, `GradientsAccumulator`), but in a loop that resumes.
//! Its other strategy reduces within the backward pass, on CUDA alone. `burn-collective` adds up
//! in the order of a hash map, which is another one in every run.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};

use burn::module::{AutodiffModule, Module};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::AutodiffBackend;
use picovit_models::{ModelConfig, Network};

use crate::batch::Batch;
use crate::distill::Teachers;
use crate::masks::{self, Masks};
use crate::options::TrainOptions;
use crate::qat::Tuner;
use crate::random::Random;
use crate::shard::{Shard, shards};
use crate::step::{BatchResult, Step};

/// The devices of a run.
pub(crate) struct Team<B: AutodiffBackend> {
    config: ModelConfig,
    accumulate: usize,
    mixed: bool,
    teachers: Option<Teachers<B::InnerBackend>>,
    /// Works on the caller's thread.
    first: B::Device,
    others: Vec<Worker<B>>,
}

impl<B: AutodiffBackend> Team<B> {
    /// A team of one device or more.
    pub(crate) fn new(
        config: &ModelConfig,
        options: &TrainOptions,
        teachers: Option<Teachers<B::InnerBackend>>,
        devices: &[B::Device],
    ) -> Self {
        let (accumulate, mixed) = (options.accumulate, options.mixed_precision);
        let (first, others) = devices.split_first().expect("a backend has a device");
        let others = others.iter().map(|device| {
            let (config, device) = (config.clone(), device.clone());
            let teachers = teachers.clone().map(|teachers| teachers.fork(&device));
            Worker::start(move |model, shard| {
                // Moved as weights that need gradients: moving plain ones forgets that they do.
                let model = Network::<B>::from_inner(model).fork(&device);
                let teachers = teachers.as_ref();
                let step = Step { config: &config, accumulate, mixed, teachers, device: &device };
                step.run(&model, shard, None)
            })
        });
        let others = others.collect();
        Self { config: config.clone(), accumulate, mixed, teachers, first: first.clone(), others }
    }

    /// Batches whose gradients make one step.
    pub(crate) const fn accumulate(&self) -> usize {
        self.accumulate
    }

    /// A batch's share of the step's gradients, on the first device, and its result. Batch
    /// normalisation takes each device's part by itself and follows the first one's.
    pub(crate) fn run(
        &mut self,
        model: &Network<B>,
        batch: Batch,
        random: &mut Random,
        tuner: Option<&Tuner<'_, B>>,
    ) -> (GradientsParams, BatchResult) {
        let masks = match tuner {
            Some(_) => Masks::none(),
            None => masks::draw(&self.config, batch.labels.len(), random),
        };
        let mut shards = shards(batch, masks, 1 + self.others.len()).into_iter();
        let own = shards.next().expect("one part at least");
        let mut shares = vec![];
        for (worker, shard) in self.others.iter().zip(shards) {
            shares.push(shard.share);
            // Cloned weights share the statistics of batch normalisation; these do not.
            worker.give(model.valid(), shard);
        }
        let share = own.share;
        let Self { config, accumulate, mixed, first, .. } = &*self;
        let teachers = self.teachers.as_ref();
        let step = Step { config, accumulate: *accumulate, mixed: *mixed, teachers, device: first };
        let (gradients, own) = step.run(model, own, tuner);
        if self.others.is_empty() {
            return (gradients, own);
        }
        let mut sum = GradientsAccumulator::new();
        sum.accumulate(model, gradients);
        let mut total = BatchResult { loss: own.loss * share, correct: own.correct };
        // In the order of the devices, so that rounding does not depend on who is first.
        for (worker, share) in self.others.iter_mut().zip(shares) {
            let (gradients, result) = worker.take();
            sum.accumulate(model, gradients.to_device(&self.first, model));
            total.loss += result.loss * share;
            total.correct += result.correct;
        }
        (sum.grads(), total)
    }
}

type Plain<B> = Network<<B as AutodiffBackend>::InnerBackend>;

/// A device and the thread that keeps it busy. It lives as long as the run, because backends keep
/// memory for every thread that ever used them.
struct Worker<B: AutodiffBackend> {
    work: Option<Sender<(Plain<B>, Shard)>>,
    done: Receiver<(GradientsParams, BatchResult)>,
    thread: Option<JoinHandle<()>>,
}

impl<B: AutodiffBackend> Worker<B> {
    fn start(
        step: impl Fn(Plain<B>, Shard) -> (GradientsParams, BatchResult) + Send + 'static,
    ) -> Self {
        let (work, waiting) = channel::<(Plain<B>, Shard)>();
        let (results, done) = channel();
        let thread = spawn(move || {
            for (weights, shard) in waiting {
                if results.send(step(weights, shard)).is_err() {
                    break;
                }
            }
        });
        Self { work: Some(work), done, thread: Some(thread) }
    }

    fn give(&self, weights: Plain<B>, shard: Shard) {
        let work = self.work.as_ref().expect("there until the end");
        // Sending fails once the thread has panicked, which `take` passes on.
        let _ = work.send((weights, shard));
    }

    fn take(&mut self) -> (GradientsParams, BatchResult) {
        match (self.done.recv(), &mut self.thread) {
            (Ok(done), _) => done,
            (Err(_), thread) => match thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => resume_unwind(panic),
                _ => unreachable!("the thread ends after its last answer, or by a panic"),
            },
        }
    }
}

impl<B: AutodiffBackend> Drop for Worker<B> {
    fn drop(&mut self) {
        drop(self.work.take());
        // A panic has been passed on by `take`, if anybody asked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::ControlFlow;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use burn::backend::{Autodiff, Flex};
    use picovit_models::record::{self, load_weights};

    use super::*;
    use crate::augment::Mix;
    use crate::backend::Task;
    use crate::data::{DataKind, DataSource, Split};
    use crate::distill::Distillation;
    use crate::observer::{Observer, Silent};
    use crate::optimizer::OptimizerKind;
    use crate::options::ValidationSize;
    use crate::test_model::parameters;
    use crate::train::Train;

    type B = Autodiff<Flex>;

    /// Sixty images of 32x32 in three classes: a bright band at the top, the middle, the bottom.
    fn data(folder: &Path) -> DataSource {
        let idx = |extents: &[u32], content: &[u8]| {
            let mut bytes = vec![0, 0, 8, extents.len() as u8];
            extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
            bytes.extend(content);
            bytes
        };
        let labels: Vec<u8> = (0..60).map(|i| i % 3).collect();
        let pixel = |i: usize| {
            let (image, row) = (i / 1024, i % 1024 / 32);
            let bright = if row / 12 == image % 3 { 160 } else { 0 };
            (bright + i * 31 % 64) as u8
        };
        let pixels: Vec<u8> = (0..60 * 1024).map(pixel).collect();
        let path = |kind: &str| folder.join(format!("train-{kind}-ubyte"));
        fs::write(path("images-idx3"), idx(&[60, 32, 32], &pixels)).unwrap();
        fs::write(path("labels-idx1"), idx(&[60], &labels)).unwrap();
        DataSource { kind: DataKind::FashionMnist, dir: Some(folder.into()) }
    }

    fn options(root: &Path, model: &str) -> TrainOptions {
        let edge = if model == "mobilevit_xxs" { 64 } else { 32 };
        let model = ModelConfig::named(model).unwrap().with_image_size(edge, edge);
        let mut options = TrainOptions::new(model, data(root), root.join("out"));
        options.epochs = 2;
        options.batch_size = 7;
        options.accumulate = 2;
        options.warmup_epochs = 0.5;
        options.optimizer = OptimizerKind::Muon;
        options.clip_norm = 1.0;
        options.average_decay = 0.9;
        options.mix = Mix { mixup: 0.8, cutmix: 1.0, until: None };
        options.validation = ValidationSize::Count(4);
        options
    }

    #[derive(Default)]
    struct Losses(Vec<f64>);

    impl Observer for Losses {
        fn step(&mut self, _: usize, _: usize, _: usize, loss: f64) -> ControlFlow<()> {
            self.0.push(loss);
            ControlFlow::Continue(())
        }
    }

    /// Losses of all steps, and all weights of the last epoch. The CPU is every device.
    fn run(options: &TrainOptions, devices: usize) -> (Vec<f64>, Vec<f32>) {
        let mut observer = Losses::default();
        let task = Train { options, observer: &mut observer, backend: "flex".into() };
        let summary = task.run::<B>(&vec![Default::default(); devices]).unwrap();
        let path = options.out_dir.join(format!("state/model-{:04}.mpk", options.epochs));
        let model = load_weights::<B>(&path, &summary.model, &Default::default()).unwrap();
        (observer.0, parameters(&model).into_iter().flat_map(|(_, values, _)| values).collect())
    }

    fn largest(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn several_devices_do_what_one_does() {
        several_devices_agree(&|_| None);
    }

    #[test]
    fn several_devices_learn_from_a_teacher_as_one_does() {
        several_devices_agree(&|root| {
            let checkpoint = root.join("teacher.mpk");
            let config = data(root).load_for(Split::Train, 32, 32, 1).unwrap();
            let mut student = ModelConfig::named("cct_2_3x2").unwrap().with_channels(1);
            student.classes = config.class_names.len();
            let teacher = Network::<Flex>::init(&student, 9, &Default::default()).unwrap();
            record::save(&teacher, &student, &checkpoint).unwrap();
            Some(Distillation::new(vec![checkpoint]))
        });
    }

    fn several_devices_agree(distillation: &dyn Fn(&Path) -> Option<Distillation>) {
        let train = |devices| {
            let root = tempfile::tempdir().unwrap();
            let mut options = options(root.path(), "cct_2_3x2");
            options.distillation = distillation(root.path());
            run(&options, devices)
        };
        let (losses, weights) = train(1);
        assert_eq!(losses.len(), 8);
        for devices in [2, 3] {
            let (found, found_weights) = train(devices);
            for (step, (a, b)) in losses.iter().zip(&found).enumerate() {
                assert!((a - b).abs() < 1e-5, "step {step}: 1 device {a}, {devices} devices {b}");
            }
            let error = largest(&weights, &found_weights);
            assert!(error > 0.0, "{devices} devices added up as one does: were they used?");
            assert!(error < 1e-3, "{devices} devices: weights differ by {error}");
            println!("{devices} devices: weights differ by {error}");
        }
    }

    #[test]
    fn several_devices_do_the_same_every_time_and_resume() {
        let root = tempfile::tempdir().unwrap();
        let (losses, weights) = run(&options(root.path(), "mobilevit_xxs"), 3);
        let root = tempfile::tempdir().unwrap();
        let mut options = options(root.path(), "mobilevit_xxs");
        struct Stop;
        impl Observer for Stop {
            fn step(&mut self, epoch: usize, step: usize, _: usize, _: f64) -> ControlFlow<()> {
                if (epoch, step) == (2, 2) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
        }
        let task = Train { options: &options, observer: &mut Stop, backend: "flex".into() };
        task.run::<B>(&[Default::default(); 3]).unwrap_err();
        options.resume = true;
        let (rest, resumed) = run(&options, 3);
        assert_eq!(rest, losses[4..]);
        // Not all of them in the message.
        assert!(resumed == weights, "weights differ by {}", largest(&resumed, &weights));
    }

    #[test]
    fn every_device_needs_an_image() {
        let root = tempfile::tempdir().unwrap();
        let mut options = options(root.path(), "cct_2_3x2");
        (options.devices, options.batch_size, options.accumulate) = (57, 60, 1);
        let task = Train { options: &options, observer: &mut Silent, backend: "flex".into() };
        let error = task.run::<B>(&[Default::default(); 57]).unwrap_err().to_string();
        assert!(error.contains("`devices` is 57, 56 training images are too few"), "{error}");
    }

    #[test]
    fn a_panic_of_a_device_comes_through() {
        let batch = Batch { pixels: vec![], labels: vec![], targets: vec![] };
        let shard = Shard { batch, masks: Masks::none(), share: 1.0 };
        let mut worker = Worker::<B>::start(|_, _| panic!("out of memory"));
        worker.give(crate::test_model::model().valid(), shard);
        let panic = catch_unwind(AssertUnwindSafe(|| worker.take())).map(|_| ()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"out of memory"));
    }
}
