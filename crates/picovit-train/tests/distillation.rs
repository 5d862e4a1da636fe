//! Learning from trained networks' answers.

use std::fs;
use std::path::{Path, PathBuf};

use common::{Losses, Once, assert_fails, options, run};
use picovit_models::{Architecture, Network, record};
use picovit_train::{BackendChoice, Distillation, TrainError, TrainOptions, train_observed};
use tempfile::tempdir;

mod common;

/// A trained network, without dropout, whose checkpoint has a place of its own.
fn teacher(root: &Path) -> PathBuf {
    let mut options = still(root);
    options.out_dir = root.join("teacher");
    run(&options).unwrap().checkpoint
}

/// Neither dropout nor variations: a network's answers are those of its checkpoint.
fn still(root: &Path) -> TrainOptions {
    let mut options = options(root);
    let Architecture::Cct(cct) = &mut options.model.architecture else { panic!() };
    (cct.attention_dropout, cct.stochastic_depth) = (0.0, 0.0);
    (options.augment.crop_padding, options.augment.flip) = (0, false);
    options.label_smoothing = 0.0;
    options.epochs = 1;
    options
}

fn losses(options: &TrainOptions) -> Vec<f64> {
    let mut losses = Losses::default();
    train_observed(options, BackendChoice::Auto, &mut losses).unwrap();
    losses.0
}

#[test]
fn who_gives_the_teachers_answers_has_no_more_to_learn() {
    let root = tempdir().unwrap();
    let teacher = teacher(root.path());
    let first = |share: Option<f32>, temperature| {
        let root = tempdir().unwrap();
        let mut options = still(root.path());
        options.from = Some(teacher.clone());
        let distillation = Distillation::new(vec![teacher.clone()]);
        options.distillation =
            share.map(|share| Distillation { share, temperature, ..distillation });
        losses(&options)[0]
    };
    let labels = first(None, 1.0);
    assert!(labels > 0.1, "{labels} leaves nothing to learn");
    for temperature in [1.0, 3.0] {
        let all = first(Some(1.0), temperature);
        assert!(all.abs() < 1e-6, "{all}");
        for share in [0.0, 0.25] {
            let (part, expected) =
                (first(Some(share), temperature), f64::from(1.0 - share) * labels);
            assert!((part - expected).abs() < 1e-6, "{part}, not {expected}");
        }
    }
}

#[test]
fn a_student_comes_close_to_its_teacher() {
    let root = tempdir().unwrap();
    let teacher = teacher(root.path());
    let mut options = still(root.path());
    options.epochs = 8;
    options.seed = 12;
    let mut distillation = Distillation::new(vec![teacher]);
    distillation.share = 1.0;
    options.distillation = Some(distillation);
    let losses = losses(&options);
    let last = losses[losses.len() - 1];
    assert!(last < losses[0] / 10.0, "from {} to {last}", losses[0]);
}

#[test]
fn every_teacher_sees_images_in_its_own_normalisation() {
    let root = tempdir().unwrap();
    let teacher = teacher(root.path());
    // Images of half the size, for kernels of twice the size: the same network.
    let (network, mut config) =
        record::load::<burn::backend::Flex>(&teacher, &Default::default()).unwrap();
    let Network::Cct(mut cct) = network else { panic!() };
    let first = &mut cct.tokenizer[0].weight;
    *first = first.clone().map(|kernel| kernel * 2.0);
    config.std[0] *= 2.0;
    let other = root.path().join("half.mpk");
    record::save(&Network::Cct(cct), &config, &other).unwrap();
    let mut options = still(root.path());
    options.from = Some(teacher);
    let distillation = Distillation::new(vec![other]);
    options.distillation = Some(Distillation { share: 1.0, ..distillation });
    let first = losses(&options)[0];
    assert!(first.abs() < 1e-6, "{first}");
}

#[test]
fn teachers_and_students_compute_in_bf16_when_asked_to() {
    let root = tempdir().unwrap();
    let teacher = teacher(root.path());
    let taught = |mixed_precision| {
        let root = tempdir().unwrap();
        let mut options = still(root.path());
        options.mixed_precision = mixed_precision;
        options.distillation = Some(Distillation::new(vec![teacher.clone()]));
        losses(&options)
    };
    let (single, mixed) = (taught(false), taught(true));
    assert!(single != mixed);
    for (step, (a, b)) in single.iter().zip(&mixed).enumerate() {
        assert!((a - b).abs() < 0.02 * a, "step {step}: {a}, in bf16 {b}");
    }
}

#[test]
fn a_teacher_that_was_replaced_does_not_go_on() {
    let root = tempdir().unwrap();
    let teacher = teacher(root.path());
    let mut options = still(root.path());
    options.epochs = 2;
    options.distillation = Some(Distillation::new(vec![teacher.clone()]));
    let stopped = train_observed(&options, BackendChoice::Auto, &mut Once);
    assert!(matches!(stopped, Err(TrainError::Stopped(1))), "{stopped:?}");
    options.resume = true;
    let before = fs::read(&teacher).unwrap();
    fs::copy(root.path().join("out/best.mpk"), &teacher).unwrap();
    let expected = ["is not the checkpoint any more that", "put it back to resume"];
    assert_fails(run(&options), &expected);
    fs::write(&teacher, before).unwrap();
    assert_eq!(run(&options).unwrap().history.len(), 2);
}

#[test]
fn several_teachers_answer_with_their_mean() {
    let root = tempdir().unwrap();
    let one = teacher(root.path());
    let other = {
        let mut options = still(root.path());
        options.out_dir = root.path().join("other");
        options.seed = 13;
        run(&options).unwrap().checkpoint
    };
    let taught = |teachers: &[&PathBuf]| {
        let root = tempdir().unwrap();
        let mut options = still(root.path());
        let teachers = teachers.iter().copied().cloned().collect();
        options.distillation = Some(Distillation::new(teachers));
        losses(&options)
    };
    let largest =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let (first, both) = (taught(&[&one]), taught(&[&one, &other]));
    assert!(largest(&first, &taught(&[&one, &one])) < 1e-5);
    assert!(largest(&both, &taught(&[&other, &one])) < 1e-5);
    assert!(largest(&first, &both) > 1e-3, "the second teacher is not asked");
}

#[test]
fn teachers_that_do_not_fit_are_explained() {
    let root = tempdir().unwrap();
    let teacher = teacher(root.path());
    let check = |change: &dyn Fn(&mut TrainOptions), expected: &[&str]| {
        let mut options = still(root.path());
        options.distillation = Some(Distillation::new(vec![teacher.clone()]));
        change(&mut options);
        assert_fails(run(&options), expected);
        assert!(!root.path().join("out").exists());
    };
    let distill = |o: &mut TrainOptions, change: &dyn Fn(&mut Distillation)| {
        change(o.distillation.as_mut().unwrap());
    };
    check(&|o| distill(o, &|d| d.share = 1.5), &["`distill` is 1.5", "0..=1"]);
    check(&|o| distill(o, &|d| d.temperature = 0.0), &["`temperature` is 0", "above 0"]);
    check(&|o| distill(o, &|d| d.teachers.clear()), &["`teacher` names no checkpoint"]);
    let missing = root.path().join("missing.mpk");
    check(&|o| distill(o, &|d| d.teachers = vec![missing.clone()]), &["missing."]);
    let size = |o: &mut TrainOptions| o.model = o.model.clone().with_image_size(12, 12);
    check(&size, &["best.mpk takes images of 10x10x1, not 12x12x1", "student's image size"]);

    let (network, mut config) =
        record::load::<burn::backend::Flex>(&teacher, &Default::default()).unwrap();
    config.labels.reverse();
    let other = root.path().join("other.mpk");
    record::save(&network, &config, &other).unwrap();
    check(
        &|o| distill(o, &|d| d.teachers = vec![other.clone()]),
        &["other.mpk knows other classes"],
    );
    fs::write(&other, "no record").unwrap();
    check(&|o| distill(o, &|d| d.teachers = vec![other.clone()]), &["other.mpk"]);
}
