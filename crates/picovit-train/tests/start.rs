//! Training from a checkpoint.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use common::{Losses, assert_fails, model, options, run};
use picovit_models::{Network, save};
use picovit_train::data::Split;
use picovit_train::{
    BackendChoice, Distillation, Observer, Qat, TrainError, TrainOptions, train_observed,
};
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
    assert!(matches!(stopped, TrainError::StoppedAtOnce), "{stopped}");
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

/// A checkpoint with these names for the classes of the data.
fn named(path: &Path, change: impl Fn(&mut Vec<String>)) {
    let folder = tempdir().unwrap();
    let data = options(folder.path()).data.load_for(Split::Test, 8, 8, 1).unwrap();
    let mut labels = data.class_names;
    change(&mut labels);
    let mut config = model().with_channels(1).with_classes(10);
    config = config.with_normalization(vec![0.5], vec![0.5]);
    config.labels = labels;
    let network = Network::<Flex>::init(&config, 4, &Default::default()).unwrap();
    save(&network, &config, path).unwrap();
}

/// Options of a run that starts from a checkpoint; quantization-aware training on request.
fn from(root: &Path, checkpoint: &Path, qat: bool) -> TrainOptions {
    let mut options = options(root);
    options.epochs = 1;
    options.from = Some(checkpoint.into());
    options.qat = qat.then(|| Qat { images: 8, ..Qat::default() });
    options
}

#[test]
fn a_classifier_of_another_order_is_refused() {
    let root = tempdir().unwrap();
    let checkpoint = root.path().join("start.mpk");
    let refused = |qat, expected: &[&str]| {
        let options = from(root.path(), &checkpoint, qat);
        assert_fails(run(&options), expected);
        assert!(!options.out_dir.exists());
    };
    named(&checkpoint, |names| names.swap(0, 1));
    let lists = [
        "start.mpk: `Trouser`, `T-shirt/top`, `Pullover`",
        "fashion-mnist: `T-shirt/top`, `Trouser`, `Pullover`",
        "correct `labels` in",
        "start.json",
    ];
    refused(false, &[&["in another order"], &lists[..]].concat());
    refused(true, &[&["knows other classes"], &lists[..]].concat());

    // Other names are another task; a teacher must know the same ones, and may have no names.
    let accepted = |qat| {
        let mut notes = Notes::default();
        let options = from(root.path(), &checkpoint, qat);
        let stopped = train_observed(&options, BackendChoice::Auto, &mut notes);
        assert!(matches!(stopped, Err(TrainError::StoppedAtOnce)), "{stopped:?}");
        fs::remove_dir_all(root.path().join("out")).unwrap();
        notes.0
    };
    named(&checkpoint, |names| names[3] = "Gown".into());
    refused(true, &["knows other classes", "`Gown`", "`Dress`"]);
    assert_eq!(accepted(false), ["fc: keeps what it knows of `Gown`, for `Dress`"]);
    named(&checkpoint, |names| names.iter_mut().for_each(|name| name.push('s')));
    let several =
        "fc: keeps what it knows of `T-shirt/tops` and 9 more, for `T-shirt/top` and others";
    assert_eq!(accepted(false), [several]);
    named(&checkpoint, Vec::clear);
    assert!(accepted(false).is_empty() && accepted(true).is_empty());
    named(&checkpoint, |_| {});
    assert!(accepted(true).is_empty());
}

#[test]
fn what_a_run_reads_is_not_written_over() {
    let root = tempdir().unwrap();
    let out = root.path().join("out");
    fs::create_dir_all(out.join("state")).unwrap();
    let best = out.join("best.mpk");
    named(&best, |_| {});
    let before = fs::read(&best).unwrap();
    let write_over = ["best.mpk, which the run would write over", "another --out"];
    for path in [best.clone(), root.path().join("out/state/../best.mpk")] {
        for qat in [false, true] {
            assert_fails(run(&from(root.path(), &path, qat)), &write_over);
        }
        let mut taught = options(root.path());
        taught.distillation = Some(Distillation::new(vec![path]));
        assert_fails(run(&taught), &["`teacher` is", write_over[0], write_over[1]]);
    }
    #[cfg(unix)]
    {
        let link = root.path().join("link.mpk");
        std::os::unix::fs::symlink(&best, &link).unwrap();
        std::os::unix::fs::symlink(out.join("best.json"), root.path().join("link.json")).unwrap();
        assert_fails(run(&from(root.path(), &link, false)), &["link.mpk, which the run would"]);
    }
    // Nor is what it does not read.
    assert_fails(run(&options(root.path())), &["best.mpk is there already", "another --out"]);
    assert_eq!(fs::read(&best).unwrap(), before);
    assert!(!out.join("state.json").exists());
}

#[test]
fn a_run_whose_teacher_it_wrote_over_does_not_resume() {
    let root = tempdir().unwrap();
    let elsewhere = root.path().join("start.mpk");
    named(&elsewhere, |_| {});
    let mut options = from(root.path(), &elsewhere, true);
    run(&options).unwrap();
    // As versions that did not look left it.
    let index = root.path().join("out/state.json");
    let text = fs::read_to_string(&index).unwrap();
    let best = root.path().join("out/best.mpk");
    let path = |path: &Path| format!("\"{}\"", path.display());
    fs::write(&index, text.replace(&path(&elsewhere), &path(&best))).unwrap();
    options.resume = true;
    options.from = Some(best);
    assert_fails(run(&options), &["`from` is", "which the run would write over"]);
    fs::write(&index, text).unwrap();
    options.from = Some(elsewhere);
    run(&options).unwrap();
}
