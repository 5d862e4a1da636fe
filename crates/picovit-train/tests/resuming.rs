//! A run goes on with the data that it was started with, wherever that lies now.

use std::fs;
use std::path::Path;

use common::{Losses, Once, assert_fails, run};
use image::{Rgb, RgbImage};
use picovit_train::data::DataSource;
use picovit_train::{
    BackendChoice, TrainError, TrainOptions, ValidationSize, run_options, train_observed,
};
use tempfile::{TempDir, tempdir};

mod common;

fn pictures(folder: &Path, count: u8) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let path = folder.join(format!("{i}.png"));
        RgbImage::from_pixel(10, 10, Rgb([9 * i, 0, 40])).save(path).unwrap();
    }
}

fn options(root: &Path) -> TrainOptions {
    let photos = root.join("photos");
    let data = DataSource::named(photos.to_str().unwrap(), None).unwrap();
    let mut options = TrainOptions { data, ..common::options(root) };
    options.epochs = 2;
    options.validation = ValidationSize::Count(4);
    options
}

/// A run on three classes, stopped after its first epoch, and the options to resume it.
fn stopped() -> (TempDir, TrainOptions) {
    let root = tempdir().unwrap();
    for class in ["cat", "dog", "fox"] {
        pictures(&root.path().join("photos").join(class), 10);
    }
    let mut options = options(root.path());
    let stopped = train_observed(&options, BackendChoice::Auto, &mut Once);
    assert!(matches!(stopped, Err(TrainError::Stopped(1))), "{stopped:?}");
    options.resume = true;
    (root, options)
}

#[test]
fn data_that_changed_is_refused_and_resumes_once_it_is_back() {
    let (root, options) = stopped();
    let photos = root.path().join("photos");
    let (dog, cow) = (photos.join("dog"), photos.join("cow"));
    let best = root.path().join("out/best.mpk");
    let remedy = format!("in another --out folder with --from {}", best.display());
    let refused = |now: &str| {
        let classes = format!("classes before: `cat`, `dog`, `fox`; now: {now}");
        let folder = photos.display().to_string();
        assert_fails(run(&options), &[&folder, &classes, "put the data back", &remedy]);
    };
    pictures(&photos.join("owl"), 10);
    refused("`cat`, `dog`, `fox`, `owl`");
    fs::remove_dir_all(photos.join("owl")).unwrap();
    fs::rename(&dog, &cow).unwrap();
    refused("`cat`, `cow`, `fox`");
    fs::rename(&cow, root.path().join("dog")).unwrap();
    refused("`cat`, `fox`");
    fs::rename(root.path().join("dog"), &dog).unwrap();
    // Other images in the same number of classes would be validated.
    fs::remove_file(dog.join("3.png")).unwrap();
    fs::remove_file(dog.join("4.png")).unwrap();
    assert_fails(run(&options), &["training images before: 24; now: 22", &remedy]);
    pictures(&dog, 10);
    assert_eq!(run(&options).unwrap().history.len(), 2);
}

#[test]
fn states_that_know_less_of_their_data_are_held_to_what_they_know() {
    let (root, options) = stopped();
    let path = root.path().join("out/state.json");
    let mut state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(state.as_object_mut().unwrap().remove("data").is_some());
    fs::write(&path, state.to_string()).unwrap();
    let photos = root.path().join("photos");
    fs::rename(photos.join("dog"), photos.join("cow")).unwrap();
    assert_fails(run(&options), &["`cat`, `dog`, `fox`; now: `cat`, `cow`, `fox`"]);
    pictures(&photos.join("dog"), 10);
    // A network without names still knows how many.
    state["model"]["labels"] = serde_json::json!([]);
    fs::write(&path, state.to_string()).unwrap();
    assert_fails(run(&options), &["classes before: 3; now: 4"]);
    fs::remove_dir_all(photos.join("cow")).unwrap();
    run(&options).unwrap();
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(state["data"]["images"], 24);
}

#[test]
fn a_run_does_not_lie_among_the_classes() {
    let (root, mut options) = stopped();
    options.resume = false;
    let photos = root.path().join("photos");
    for out in ["photos", "photos/runs", "photos/./new/run", "photos/cat/run"] {
        options.out_dir = root.path().join(out);
        assert_fails(run(&options), &["`out` lies in the data set", "photos"]);
    }
    assert!(!photos.join("state").exists() && !photos.join("new").exists());

    // Beside its parts there is room.
    let parted = root.path().join("parted");
    for part in ["train", "test"] {
        pictures(&parted.join(part).join("cat"), 4);
        pictures(&parted.join(part).join("dog"), 4);
    }
    options.data = DataSource::named(parted.to_str().unwrap(), None).unwrap();
    options.out_dir = parted.join("train/run");
    assert_fails(run(&options), &["`out` lies in the data set"]);
    options.out_dir = parted.join("run");
    options.batch_size = 2;
    run(&options).unwrap();
}

#[test]
fn what_a_run_has_started_from_may_be_gone() {
    let (root, mut options) = stopped();
    let start = root.path().join("start.mpk");
    for end in ["mpk", "json"] {
        let best = root.path().join("out/best").with_extension(end);
        fs::copy(best, start.with_extension(end)).unwrap();
    }
    options.resume = false;
    options.from = Some(start.clone());
    options.out_dir = root.path().join("next");
    options.model = picovit_models::record::load_config(&start).unwrap();
    let stopped = train_observed(&options, BackendChoice::Auto, &mut Once);
    assert!(matches!(stopped, Err(TrainError::Stopped(1))), "{stopped:?}");
    fs::remove_file(&start).unwrap();
    fs::remove_file(start.with_extension("json")).unwrap();
    assert_eq!(run_options(&options.out_dir).unwrap().model, options.model);
    options.resume = true;
    assert_eq!(run(&options).unwrap().history.len(), 2);
}

#[test]
fn the_data_may_lie_elsewhere() {
    let (root, mut options) = stopped();
    let moved = root.path().join("pictures");
    fs::rename(root.path().join("photos"), &moved).unwrap();
    let name = format!("{}/", moved.display());
    options.data = DataSource::named(&name, None).unwrap();
    let mut losses = Losses::default();
    train_observed(&options, BackendChoice::Auto, &mut losses).unwrap();
    assert_eq!(losses.0.len(), 2);

    options.data = common::data(root.path());
    assert_fails(run(&options), &["data was", "fashion-mnist"]);
}
