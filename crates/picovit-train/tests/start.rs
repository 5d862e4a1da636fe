//! Training from a checkpoint.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use common::{Losses, assert_fails, model, options, run};
use picovit_models::{Network, save};
use picovit_train::{BackendChoice, Observer, TrainError, train_observed};
use tempfile::tempdir;

mod common;

/// Hears what is done to the weights; stops after the first step.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.into());
    }

    fn step(&mut self, _: usize, _: usize, _: usize, _: f64) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// A grey network of five classes that wants its images from 0 to 1.
fn published(root: &Path) -> PathBuf {
    let config = model().with_channels(1).with_classes(5);
    let config = config.with_normalization(vec![0.0], vec![1.0]);
    let network = Network::<Flex>::init(&config, 4, &Default::default()).unwrap();
    let checkpoint = root.join("published.mpk");
    save(&network, &config, &checkpoint).unwrap();
    checkpoint
}

#[test]
fn normalisation_stays_and_the_classifier_follows_the_data() {
    let root = tempdir().unwrap();
    let mut options = options(root.path());
    options.epochs = 1;
    options.from = Some(published(root.path()));
    let mut losses = Losses::default();
    let summary = train_observed(&options, BackendChoice::Auto, &mut losses).unwrap();
    assert!(losses.0.iter().all(|loss| loss.is_finite()), "{:?}", losses.0);
    assert_eq!((summary.model.mean, summary.model.std), (vec![0.0], vec![1.0]));
    assert_eq!((summary.model.channels, summary.model.classes), (1, 10));

    let mut notes = Notes::default();
    options.out_dir = root.path().join("other");
    options.model = options.model.with_image_size(20, 20);
    let stopped = train_observed(&options, BackendChoice::Auto, &mut notes).unwrap_err();
    assert!(matches!(stopped, TrainError::Stopped(_)), "{stopped}");
    assert_eq!(
        notes.0,
        [
            "positional_emb: resampled from 3x3 to 5x5 tokens",
            "fc.weight: starts anew for 10 classes, had 5",
            "fc.bias: starts anew for 10 classes, had 5"
        ]
    );
}

#[test]
fn another_network_is_refused() {
    let root = tempdir().unwrap();
    let mut options = options(root.path());
    options.from = Some(published(root.path()));
    options.model.name = "larger".into();
    assert_fails(run(&options), &["holds tiny", "leave out --model"]);
    assert!(!options.out_dir.exists());
}
