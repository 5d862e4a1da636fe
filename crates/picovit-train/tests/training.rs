//! The training loop: backends agree, runs resume, mistakes are explained.

use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Losses, assert_fails, options, run};
use picovit_models::{Architecture, load_graph};
use picovit_train::data::Split;
use picovit_train::{
    BackendChoice, EpochMetrics, Mix, Observer, OptimizerKind, Policy, Silent, TrainError,
    TrainOptions, TrainSummary, ValidationSize, evaluate, train_observed,
};
use tempfile::{TempDir, tempdir};

mod common;

#[test]
fn every_backend_follows_the_same_curve() {
    let curve = |backend| {
        let root = tempdir().unwrap();
        let mut losses = Losses::default();
        let summary = train_observed(&options(root.path()), backend, &mut losses).unwrap();
        (losses.0, summary.history)
    };
    let backends = BackendChoice::compiled_in();
    let (expected, expected_history) = curve(backends[0]);
    assert_eq!(expected.len(), 15);
    assert!(expected[14] < expected[0] - 0.2, "the loss does not fall: {expected:?}");
    for &backend in &backends[1..] {
        let (found, history) = curve(backend);
        for (step, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert!((a - b).abs() < 1e-3, "step {step}: {} {a}, {backend} {b}", backends[0]);
        }
        for (a, b) in expected_history.iter().zip(&history) {
            assert!((a.val_loss - b.val_loss).abs() < 1e-3, "{} and {backend}", backends[0]);
        }
    }
}

/// Stops a run in the middle of an epoch.
struct StopAt(usize, usize);

impl Observer for StopAt {
    fn step(&mut self, epoch: usize, step: usize, _: usize, _: f64) -> ControlFlow<()> {
        if (epoch, step) == (self.0, self.1) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// What a run leaves, without what the clock had a hand in.
fn outcome(summary: &TrainSummary) -> (Vec<EpochMetrics>, picovit_compiler::graph::Graph) {
    let timeless =
        |m: &EpochMetrics| EpochMetrics { images_per_second: 0.0, seconds: 0.0, ..m.clone() };
    let (graph, _) = load_graph(&summary.checkpoint).unwrap();
    (summary.history.iter().map(timeless).collect(), graph)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_interrupted_run_resumes_as_if_nothing_had_happened() {
    let whole = tempdir().unwrap();
    let expected = run(&options(whole.path())).unwrap();
    assert_eq!(
        names(&whole.path().join("out")),
        ["best.json", "best.mpk", "metrics.jsonl", "state", "state.json"]
    );

    let root = tempdir().unwrap();
    let mut options = options(root.path());
    for (epoch, step) in [(2, 3), (3, 5)] {
        let stopped = train_observed(&options, BackendChoice::Auto, &mut StopAt(epoch, step));
        assert!(matches!(stopped, Err(TrainError::Stopped(e)) if e == epoch));
        options.resume = true;
    }
    // What a crash may leave behind: files of an epoch that never counted, nothing published.
    let out = root.path().join("out");
    fs::write(out.join("state/model-0003.mpk"), "half a file").unwrap();
    fs::write(out.join("state/optimizer-0002.mpk.4711.tmp"), "").unwrap();
    fs::write(out.join("metrics.jsonl"), "{\"epoch\":").unwrap();
    fs::remove_file(out.join("best.mpk")).unwrap();
    let resumed = run(&options).unwrap();
    assert_eq!(outcome(&resumed), outcome(&expected));
    assert!(!out.join("state/optimizer-0002.mpk.4711.tmp").exists());

    let lines = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let metrics: Vec<EpochMetrics> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(metrics, resumed.history);
    let best = resumed.best.epoch;
    let mut kept =
        vec![format!("model-{best:04}.mpk"), "model-0003.mpk".into(), "optimizer-0003.mpk".into()];
    kept.dedup();
    assert_eq!(names(&out.join("state")), kept);

    // A finished run has nothing left to do.
    assert_eq!(outcome(&run(&options).unwrap()), outcome(&expected));
}

/// Everything that keeps a state of its own.
fn rich_options(root: &Path) -> TrainOptions {
    let mut options = options(root);
    let Architecture::Cct(cct) = &mut options.model.architecture else { panic!() };
    (cct.embedding_dim, cct.tokenizer_channels) = (16, 16);
    options.batch_size = 5;
    options.accumulate = 2;
    options.optimizer = OptimizerKind::Muon;
    options.decay_all = false;
    options.clip_norm = 1.0;
    options.average_decay = 0.9;
    options.augment.policy = Policy::RAND_AUGMENT;
    options.augment.erase = 0.3;
    options.mix = Mix { mixup: 0.8, cutmix: 1.0, until: Some(2) };
    options
}

#[test]
fn muon_averages_and_mixing_resume_as_well() {
    let whole = tempdir().unwrap();
    let mut options = rich_options(whole.path());
    options.workers = 1;
    let expected = run(&options).unwrap();
    assert!(expected.history.iter().all(|metrics| metrics.average_accuracy.is_some()));

    let root = tempdir().unwrap();
    let mut options = rich_options(root.path());
    options.workers = 3;
    let stopped = train_observed(&options, BackendChoice::Auto, &mut StopAt(3, 2));
    assert!(matches!(stopped, Err(TrainError::Stopped(3))));
    let out = root.path().join("out/state");
    let kept = ["average-0002.mpk", "model-0002.mpk", "muon-0002.mpk", "optimizer-0002.mpk"];
    assert!(kept.iter().all(|name| names(&out).contains(&(*name).to_owned())), "{:?}", names(&out));
    options.resume = true;
    options.workers = 2;
    assert_eq!(outcome(&run(&options).unwrap()), outcome(&expected));
}

#[test]
fn two_half_batches_make_the_same_step_as_a_whole_one() {
    let losses = |batch_size, accumulate| {
        let root = tempdir().unwrap();
        let mut options = options(root.path());
        let Architecture::Cct(cct) = &mut options.model.architecture else { panic!() };
        (cct.attention_dropout, cct.stochastic_depth) = (0.0, 0.0);
        (options.batch_size, options.accumulate) = (batch_size, accumulate);
        let mut losses = Losses::default();
        train_observed(&options, BackendChoice::Auto, &mut losses).unwrap();
        losses.0
    };
    let (whole, halves) = (losses(10, 1), losses(5, 2));
    assert_eq!((whole.len(), halves.len()), (15, 15));
    for (whole, halves) in whole.iter().zip(&halves) {
        assert!((whole - halves).abs() < 1e-3, "{whole} {halves}");
    }
}

#[test]
fn states_of_older_versions_resume() {
    let root = tempdir().unwrap();
    let mut options = options(root.path());
    let _ = train_observed(&options, BackendChoice::Auto, &mut StopAt(2, 1));
    let path = root.path().join("out/state.json");
    let mut state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let old = state["options"].as_object_mut().unwrap();
    for field in [
        "accumulate",
        "optimizer",
        "muon_factor",
        "decay_all",
        "clip_norm",
        "average_decay",
        "mix",
        "schedule",
        "warmup_learning_rate",
        "cooldown_epochs",
    ] {
        assert!(old.remove(field).is_some(), "{field} is not in the state");
    }
    let augment = old["augment"].as_object_mut().unwrap();
    augment.retain(|field, _| field == "crop_padding" || field == "flip");
    fs::write(&path, state.to_string()).unwrap();
    options.resume = true;
    let resumed = run(&options).unwrap();
    // What the fields stood for is what versions without them did.
    options.resume = false;
    options.out_dir = root.path().join("whole");
    assert!(outcome(&resumed) == outcome(&run(&options).unwrap()));
}

#[test]
fn a_network_that_is_no_number_any_more_is_not_kept() {
    for average_decay in [0.0, 0.9] {
        let root = tempdir().unwrap();
        let mut options = options(root.path());
        // The loss of the only step is that before it.
        (options.batch_size, options.learning_rate, options.warmup_epochs) = (50, 1e30, 0.0);
        options.weight_decay = 0.0;
        options.average_decay = average_decay;
        assert_fails(
            run(&options),
            &["the loss became", "in epoch 1, step 1", "lower learning rate"],
        );
        assert!(!root.path().join("out/best.mpk").exists());
        assert!(!root.path().join("out/state.json").exists());
    }
}

#[test]
fn candle_multiplies_no_bf16_on_a_cpu() {
    let root = tempdir().unwrap();
    let mut options = options(root.path());
    options.mixed_precision = true;
    if BackendChoice::compiled_in().contains(&BackendChoice::Candle) {
        let result = train_observed(&options, BackendChoice::Candle, &mut Silent);
        assert_fails(result, &["`mixed_precision` needs bf16, which `candle`"]);
    }
    options.epochs = 1;
    train_observed(&options, BackendChoice::Flex, &mut Silent).unwrap();
}

/// Not a test: the process that the next test kills.
#[test]
fn child() {
    let Some(root) = std::env::var_os("PICOVIT_TEST_CHILD") else { return };
    struct Hang;
    impl Observer for Hang {
        fn step(&mut self, epoch: usize, step: usize, _: usize, _: f64) -> ControlFlow<()> {
            if (epoch, step) == (2, 3) {
                println!("\nin the middle of epoch 2");
                loop {
                    std::thread::park();
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = train_observed(&options(&PathBuf::from(root)), BackendChoice::Auto, &mut Hang);
}

#[test]
fn a_killed_process_resumes() {
    let whole = tempdir().unwrap();
    let expected = run(&options(whole.path())).unwrap();

    let root = tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env("PICOVIT_TEST_CHILD", root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("in the middle of epoch 2")));
    child.kill().unwrap();
    child.wait().unwrap();

    let mut options = options(root.path());
    options.resume = true;
    assert_eq!(outcome(&run(&options).unwrap()), outcome(&expected));
}

fn stopped(root: &TempDir) -> TrainOptions {
    let options = options(root.path());
    let _ = train_observed(&options, BackendChoice::Auto, &mut StopAt(2, 1));
    options
}

#[test]
fn a_folder_in_use_is_not_overwritten() {
    let root = tempdir().unwrap();
    let mut options = stopped(&root);
    assert_fails(run(&options), &["already holds a training run", "--resume"]);
    options.resume = true;
    options.learning_rate = 1e-3;
    options.epochs = 4;
    options.model = options.model.with_image_size(12, 12);
    assert_fails(
        run(&options),
        &["learning_rate was 0.005, is 0.001", "epochs was 3, is 4", "model"],
    );
}

#[test]
fn resuming_needs_a_state_that_is_whole() {
    let root = tempdir().unwrap();
    let mut fresh = options(root.path());
    fresh.resume = true;
    assert_fails(run(&fresh), &["no training run to resume"]);
    fresh.resume = false;

    let mut options = stopped(&root);
    options.resume = true;
    let state = root.path().join("out/state");
    let best = root.path().join("out/best.mpk");
    let anew = format!("start anew in another --out folder with --from {}", best.display());
    let optimizer = fs::read(state.join("optimizer-0001.mpk")).unwrap();
    fs::write(state.join("optimizer-0001.mpk"), "no record").unwrap();
    assert_fails(run(&options), &["optimizer-0001.mpk", "put the file back", &anew]);
    fs::remove_file(state.join("optimizer-0001.mpk")).unwrap();
    assert_fails(run(&options), &["optimizer-0001.mpk: No such file", &anew]);
    fs::write(state.join("optimizer-0001.mpk"), optimizer).unwrap();
    fs::write(state.join("model-0001.mpk"), "no record").unwrap();
    assert_fails(run(&options), &["model-0001.mpk"]);
    fs::remove_file(state.join("model-0001.mpk")).unwrap();
    assert_fails(run(&options), &["model-0001.mpk: No such file", &anew]);
    let index = root.path().join("out/state.json");
    fs::write(&index, "{").unwrap();
    assert_fails(run(&options), &["state.json", &anew]);
    fs::remove_file(&index).unwrap();
    assert_fails(run(&options), &["state.json: it is missing", &anew]);
    // What is offered is there.
    fs::remove_file(&best).unwrap();
    fs::write(&index, "{").unwrap();
    let message = run(&options).unwrap_err().to_string();
    assert!(message.ends_with("start anew in another --out folder"), "{message}");
}

#[test]
fn an_output_that_is_a_file_is_named() {
    let root = tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "mine").unwrap();
    let mut options = options(root.path());
    for out in [file.clone(), file.join("below")] {
        options.out_dir = out;
        let expected = format!("`out` needs a folder, but {} is a file", file.display());
        for resume in [false, true] {
            options.resume = resume;
            assert_fails(run(&options), &[&expected]);
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn files_of_others_stay() {
    let root = tempdir().unwrap();
    let state = root.path().join("out/state");
    fs::create_dir_all(state.join("folder-0001.mpk.d")).unwrap();
    for name in ["notes.txt", "cat-2.mpk", "best-2024.mpk", "model-best.mpk"] {
        fs::write(state.join(name), "mine").unwrap();
    }
    fs::write(state.join("model-0007.mpk.tmp"), "half a file").unwrap();
    let mut options = options(root.path());
    options.epochs = 1;
    run(&options).unwrap();
    let kept = [
        "best-2024.mpk",
        "cat-2.mpk",
        "folder-0001.mpk.d",
        "model-0001.mpk",
        "model-best.mpk",
        "notes.txt",
        "optimizer-0001.mpk",
    ];
    assert_eq!(names(&state), kept);
}

#[test]
fn options_that_cannot_be_met_are_explained() {
    let root = tempdir().unwrap();
    let check = |change: &dyn Fn(&mut TrainOptions), expected: &[&str]| {
        let mut options = options(root.path());
        change(&mut options);
        assert_fails(run(&options), expected);
        assert!(!root.path().join("out").exists());
    };
    check(&|o| o.epochs = 0, &["`epochs` is 0"]);
    check(&|o| o.epochs = usize::MAX, &["`epochs` is 18446744073709551615", "1 to 1000000"]);
    check(&|o| o.warmup_epochs = 1e12, &["`warmup_epochs` is 1000000000000"]);
    check(&|o| o.min_learning_rate = 1.0, &["`min_learning_rate` is 1", "rate of 0.005"]);
    check(&|o| o.warmup_learning_rate = 0.1, &["`warmup_learning_rate` is 0.1"]);
    check(&|o| o.augment.crop_padding = 11, &["`crop_padding` is 11", "image of 10x10"]);
    check(&|o| o.batch_size = 0, &["`batch_size` is 0"]);
    check(&|o| o.learning_rate = f64::NAN, &["`learning_rate` is NaN"]);
    check(&|o| o.accumulate = 0, &["`accumulate` is 0"]);
    check(&|o| o.devices = 0, &["`devices` is 0", "at most the batch size of 10"]);
    check(&|o| o.devices = 11, &["`devices` is 11", "at most the batch size of 10"]);
    check(&|o| o.accumulate = 6, &["`accumulate` asks for 6 batches of 10", "50 training images"]);
    check(&|o| o.average_decay = 1.0, &["`average_decay` is 1"]);
    check(&|o| o.mix.cutmix = -1.0, &["`cutmix` is -1"]);
    check(&|o| o.augment.erase = 1.5, &["`erase` is 1.5"]);
    check(&|o| o.augment.crop_scale = Some([0.9, 0.8]), &["`crop_scale` is 0.9 to 0.8"]);
    check(&|o| o.label_smoothing = 1.0, &["`label_smoothing` is 1"]);
    check(&|o| o.validation = ValidationSize::Count(60), &["`validation` takes 60 of 60"]);
    check(&|o| o.validation = ValidationSize::Count(0), &["`validation` takes 0 of 60"]);
}

#[test]
fn a_cpu_is_one_device() {
    let root = tempdir().unwrap();
    let mut options = options(root.path());
    options.devices = 2;
    for backend in [BackendChoice::Flex, BackendChoice::Candle] {
        if BackendChoice::compiled_in().contains(&backend) {
            let expected = format!("`devices` is 2, backend `{backend}` has 1");
            assert_fails(train_observed(&options, backend, &mut Silent), &[&expected]);
        }
    }
    assert!(!root.path().join("out").exists());
}

#[test]
fn a_checkpoint_is_evaluated_on_test_images() {
    let root = tempdir().unwrap();
    let mut options = options(root.path());
    options.epochs = 10;
    options.learning_rate = 1e-2;
    let summary = run(&options).unwrap();
    let test = options.data.load_for(Split::Test, 10, 10, 1).unwrap();
    let whole = evaluate(&summary.checkpoint, &test, 60, BackendChoice::Auto).unwrap();
    let batched = evaluate(&summary.checkpoint, &test, 7, BackendChoice::Auto).unwrap();
    assert_eq!(whole.correct, batched.correct);
    assert_eq!(whole.logits.len(), 60);
    assert!((whole.top1 - whole.correct as f64 / 60.0).abs() < 1e-12);
    assert!(whole.top1 > 0.34, "nothing was learned: {}", whole.top1);
    let mut other = test;
    other.class_names.pop();
    assert_fails(
        evaluate(&summary.checkpoint, &other, 7, BackendChoice::Auto),
        &["best.mpk has 10 classes, fashion-mnist has 9"],
    );
}
