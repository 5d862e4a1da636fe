//! The command line as a user meets it: the whole way, and every kind of bad input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn command(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picovit"));
    command.args(args).current_dir(dir).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn picovit(args: &[&str], dir: &Path) -> Output {
    command(args, dir).output().expect("the tool can be started")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeed(args: &[&str], dir: &Path) -> String {
    let output = picovit(args, dir);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

/// What a failing command says, without the frame around it.
fn complaint(args: &[&str], dir: &Path) -> String {
    let output = picovit(args, dir);
    assert!(!output.status.success(), "{args:?} succeeded: {}", said(&output));
    let text = said(&output);
    assert!(!text.contains("panicked"), "{args:?}: {text}");
    let words = text.split(|c: char| c.is_whitespace() || c == '│');
    words.filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Ten classes of colour pictures, each class a hue, in one subfolder a class.
fn pictures(dir: &Path, per_class: u32) {
    for class in 0..10u32 {
        let folder = dir.join(format!("class{class}"));
        fs::create_dir_all(&folder).unwrap();
        for index in 0..per_class {
            let picture = RgbImage::from_fn(40, 36, |x, y| {
                let wave = ((x + index) * (class + 1) + y * 3) % 256;
                Rgb([(class * 25) as u8, wave as u8, (255 - wave) as u8])
            });
            picture.save(folder.join(format!("{index}.png"))).unwrap();
        }
    }
}

/// A folder with an imported checkpoint and pictures.
fn workshop() -> TempDir {
    let dir = TempDir::new().unwrap();
    let weights = golden("cct_2_3x2.pth");
    // The golden network is a narrow one; its sizes come from the state dict's own names.
    let args = [
        "import",
        weights.to_str().unwrap(),
        "--model",
        "cct_2_3x2",
        "--embedding-dim",
        "64",
        "--image-size",
        "32",
        "--channels",
        "3",
        "--classes",
        "10",
        "--mean",
        "0.49,0.48,0.45",
        "--std",
        "0.25,0.24,0.26",
        "--out",
        "best.mpk",
    ];
    succeed(&args, dir.path());
    pictures(&dir.path().join("pictures"), 3);
    dir
}

#[test]
fn models_lists_every_configuration() {
    let dir = TempDir::new().unwrap();
    let text = succeed(&["models", "--json", "models.json"], dir.path());
    assert!(text.contains("cct_7_3x1") && text.contains("3,760,139"), "{text}");
    let rows = json(&dir.path().join("models.json"));
    let row = rows.as_array().unwrap().iter().find(|r| r["model"] == "cct_2_3x2").unwrap();
    assert_eq!(
        (row["parameters"].as_u64(), row["macs"].as_u64()),
        (Some(283_723), Some(35_341_568))
    );
}

#[test]
fn half_precision_sensitivity_and_kept_layers() {
    let dir = workshop();
    let path = dir.path();
    let quantize = |extra: &[&'static str]| {
        let mut args = vec!["quantize", "best.mpk", "--calibration", "pictures", "--images", "12"];
        args.extend(extra);
        args
    };
    let evaluated = ["--dataset", "pictures", "--json", "drift.json", "--out"];

    succeed(&quantize(&[&evaluated[..], &["half.pvit", "--format", "f16"]].concat()), path);
    let half = json(&path.join("drift.json"));
    assert_eq!(half["format"], "f16");
    assert!(half["logit_sqnr_db"].as_f64().unwrap() > 50.0, "{half}");
    let text = succeed(&["inspect", "half.pvit"], path);
    assert!(text.contains("FloatAttention") && text.contains("f32 64x64"), "{text}");
    succeed(&["predict", "half.pvit", "pictures/class0/0.png"], path);

    // The worst layer of the measured list is the one kept.
    succeed(&quantize(&[&evaluated[..], &["mixed.pvit", "--keep-f16", "1"]].concat()), path);
    let mixed = json(&path.join("drift.json"));
    assert_eq!(mixed["format"], "mixed");
    assert_eq!(mixed["kept_f16"], mixed["sensitivity"][0]["layers"]);
    let named = ["named.pvit", "--keep-f16", "blocks.0.mlp, fc"];
    succeed(&quantize(&[&evaluated[..], &named].concat()), path);
    assert_eq!(json(&path.join("drift.json"))["kept_f16"][1], "fc");

    let refused = ["--no-eval", "--out", "refused.pvit"];
    let said =
        complaint(&quantize(&[&refused[..], &["--keep-f16", "blocks.9.mlp"]].concat()), path);
    assert!(said.contains("no layer `blocks.9.mlp`") && said.contains("blocks.0.mlp"), "{said}");
    let said = complaint(&quantize(&[&refused[..], &["--min-sqnr-db", "500"]].concat()), path);
    assert!(said.contains("--min-sqnr-db asks for 500") && said.contains("--keep-f16"), "{said}");
    let both = ["--format", "f16", "--keep-f16", "1"];
    complaint(&quantize(&[&refused[..], &both].concat()), path);
    assert!(!path.join("refused.pvit").exists());
}

#[test]
fn an_arena_budget_is_met_or_refused() {
    let dir = workshop();
    let path = dir.path();
    let quantize = |extra: &[&'static str]| {
        let mut args = vec!["quantize", "best.mpk", "--calibration", "pictures", "--images", "4"];
        args.extend(extra);
        args
    };
    let predicted = |artifact: &'static str| {
        let args = ["predict", artifact, "pictures/class3/0.png", "--json", "p.json"];
        succeed(&args, path);
        json(&path.join("p.json"))[0]["logits"].clone()
    };

    // The second convolution holds the arena: its maps, and what Winograd's algorithm needs.
    succeed(&quantize(&["--no-eval", "--out", "free.pvit"]), path);
    let met = ["--no-eval", "--out", "met.pvit", "--arena-budget", "25600"];
    let text = succeed(&quantize(&met), path);
    assert!(text.contains("arena 25,600 bytes (lower bound 25,600)"), "{text}");
    assert!(!text.contains("to fit the arena"), "{text}");
    let read = |name: &str| fs::read(path.join(name)).unwrap();
    assert_eq!(read("met.pvit"), read("free.pvit"));

    let tight = ["--out", "tight.pvit", "--arena-budget", "24K", "--dataset", "pictures"];
    let text = succeed(&quantize(&[&tight[..], &["--json", "tight.json"]].concat()), path);
    assert!(text.contains("arena 24,384 bytes"), "{text}");
    assert!(text.contains("to fit the arena: `tokenizer.1` without Winograd's"), "{text}");
    let report = json(&path.join("tight.json"));
    assert_eq!(report["economies"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(predicted("tight.pvit"), predicted("free.pvit"));

    let refused = ["--no-eval", "--out", "refused.pvit", "--arena-budget"];
    let text = complaint(&quantize(&[&refused[..], &["20K"]].concat()), path);
    for part in
        ["best.mpk", "20480 bytes", "at least 24384", "`tokenizer.1`", "--arena-budget 24384"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let half = ["24K", "--format", "f16"];
    let text = complaint(&quantize(&[&refused[..], &half].concat()), path);
    assert!(text.contains("or take int8"), "{text}");
    let text = complaint(&quantize(&[&refused[..], &["32 apples"]].concat()), path);
    assert!(text.contains("32 apples") && text.contains("write 33000, 32K"), "{text}");
    assert!(!path.join("refused.pvit").exists());
}

#[test]
fn import_quantize_inspect_predict_eval() {
    let dir = workshop();
    let path = dir.path();
    let text = succeed(
        &[
            "quantize",
            "best.mpk",
            "--calibration",
            "pictures",
            "--images",
            "20",
            "--dataset",
            "pictures",
            "--json",
            "drift.json",
        ],
        path,
    );
    assert!(text.contains("blocks.0"), "{text}");
    let report = json(&path.join("drift.json"));
    for key in [
        "model",
        "format",
        "target",
        "artifact_bytes",
        "weight_bytes",
        "arena_bytes",
        "arena_lower_bound",
        "macs",
        "images",
        "top1_float",
        "top1_quantized",
        "top1_drop",
        "agreement",
        "logit_sqnr_db",
        "layers",
    ] {
        assert!(!report[key].is_null(), "{key} is missing in {report}");
    }
    assert_eq!(report["format"], "int8");
    let artifact = fs::read(path.join("model.pvit")).unwrap();
    assert_eq!(report["artifact_bytes"].as_u64(), Some(artifact.len() as u64));
    assert!(report["logit_sqnr_db"].as_f64().unwrap() > 20.0, "{report}");
    let layers = report["layers"].as_array().unwrap();
    assert!(layers.len() > 20 && layers.iter().all(|l| l["sqnr_db"].as_f64().unwrap() > 15.0));

    // The same command gives the same bytes.
    succeed(
        &[
            "quantize",
            "best.mpk",
            "--calibration",
            "pictures",
            "--images",
            "20",
            "--no-eval",
            "--out",
            "again.pvit",
        ],
        path,
    );
    assert_eq!(fs::read(path.join("again.pvit")).unwrap(), artifact);

    let text = succeed(&["inspect", "model.pvit", "--json", "inspect.json"], path);
    assert!(text.contains("Attention") && text.contains("arena map"), "{text}");
    let inspected = json(&path.join("inspect.json"));
    for key in ["arena_bytes", "arena_lower_bound"] {
        assert_eq!(inspected[key], report[key]);
    }

    GrayImage::from_pixel(20, 90, Luma([77])).save(path.join("grey.png")).unwrap();
    succeed(
        &["predict", "model.pvit", "grey.png", "pictures/class3/0.png", "--json", "p.json"],
        path,
    );
    let predictions = json(&path.join("p.json"));
    assert_eq!(predictions.as_array().unwrap().len(), 2);
    assert_eq!(predictions[0]["logits"].as_array().unwrap().len(), 10);

    succeed(
        &[
            "eval",
            "model.pvit",
            "--against",
            "best.mpk",
            "--dataset",
            "pictures",
            "--json",
            "eval.json",
        ],
        path,
    );
    assert_eq!(json(&path.join("eval.json"))["agreement"], report["agreement"]);
}

#[test]
fn engines_are_compared_on_one_network() {
    let dir = workshop();
    let at = dir.path();
    let calibration = ["--calibration", "pictures", "--images", "8"];
    let quantize = ["quantize", "best.mpk", "--target", "x86", "--no-eval"];
    succeed(&[&quantize[..], &calibration].concat(), at);
    let bench = ["bench", "model.pvit", "--against", "best.mpk", "--rounds", "2", "--runs", "1"];
    let bench = [&bench[..], &calibration].concat();
    succeed(&[&bench[..], &["--peers", "burn", "--json", "bench.json"]].concat(), at);
    let report = json(&at.join("bench.json"));
    let engines = report["engines"].as_array().unwrap();
    assert_eq!((engines.len(), &report["images"]), (2, &8.into()));
    assert_eq!(
        (&engines[0]["median_ratio"], &engines[0]["least_ratio"]),
        (&1.0.into(), &1.0.into())
    );
    assert!(engines[0]["logit_sqnr_db"].as_f64().unwrap() > 20.0, "{report}");
    // Floats sum in another order, so they differ by something.
    let error = engines[1]["max_logit_error"].as_f64().unwrap();
    assert!(error > 0.0 && error <= 1e-4, "{report}");

    if !cfg!(feature = "bench-peers") {
        let text = complaint(&[&bench[..], &["--peers", "tract"]].concat(), at);
        assert!(text.contains("--features bench-peers"), "{text}");
    }
}

#[test]
fn damaged_artifacts_are_refused_by_name() {
    let dir = workshop();
    let path = dir.path();
    succeed(
        &["quantize", "best.mpk", "--calibration", "pictures", "--images", "4", "--no-eval"],
        path,
    );
    let artifact = fs::read(path.join("model.pvit")).unwrap();
    fs::write(path.join("short.pvit"), &artifact[..artifact.len() / 2]).unwrap();
    let mut flipped = artifact.clone();
    flipped[artifact.len() / 3] ^= 0x10;
    fs::write(path.join("flipped.pvit"), flipped).unwrap();
    fs::write(path.join("text.pvit"), "hello").unwrap();
    for command in [&["inspect"][..], &["eval"][..], &["predict"][..]] {
        let run = |file: &str| {
            let mut args = command.to_vec();
            args.push(file);
            if command[0] == "predict" {
                args.push("pictures/class0/0.png");
            }
            complaint(&args, path)
        };
        let text = run("short.pvit");
        assert!(text.contains("short.pvit") && text.contains("truncated"), "{text}");
        let text = run("flipped.pvit");
        assert!(text.contains("flipped.pvit") && text.contains("checksum"), "{text}");
        let text = run("text.pvit");
        assert!(text.contains("not a picovit artifact") && text.contains("quantize"), "{text}");
        let text = run("missing.pvit");
        assert!(text.contains("missing.pvit"), "{text}");
    }
}

#[test]
fn bad_checkpoints_are_refused_and_nothing_is_written() {
    let dir = workshop();
    let path = dir.path();
    let text = complaint(&["quantize", "missing.mpk"], path);
    assert!(text.contains("missing.mpk"), "{text}");

    fs::copy(path.join("best.mpk"), path.join("alone.mpk")).unwrap();
    let text = complaint(&["quantize", "alone.mpk"], path);
    assert!(text.contains("alone.json"), "{text}");

    // The record of one model under the configuration of another.
    let config = fs::read_to_string(path.join("best.json")).unwrap();
    let mut other: Value = serde_json::from_str(&config).unwrap();
    other["architecture"]["cct"]["layers"] = 4.into();
    fs::write(path.join("alone.json"), other.to_string()).unwrap();
    let text = complaint(&["quantize", "alone.mpk"], path);
    assert!(text.contains("alone.mpk"), "{text}");

    let bytes = fs::read(path.join("best.mpk")).unwrap();
    fs::write(path.join("alone.json"), config).unwrap();
    fs::write(path.join("alone.mpk"), &bytes[..bytes.len() / 2]).unwrap();
    let text = complaint(&["quantize", "alone.mpk"], path);
    assert!(text.contains("alone.mpk"), "{text}");
    assert!(!path.join("model.pvit").exists());
}

#[test]
fn bad_imports_name_the_keys_and_write_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    let weights = golden("cct_2_3x2.pth");
    let weights = weights.to_str().unwrap();
    let text = complaint(&["import", weights], path);
    assert!(text.contains("--heads"), "{text}");
    let text = complaint(&["import", weights, "--heads", "2", "--classes", "7"], path);
    assert!(text.contains("--classes is 7") && text.contains("has 10 classes"), "{text}");
    let text = complaint(&["import", weights, "--model", "cct_2_3x2"], path);
    assert!(text.contains("qkv"), "{text}");
    let text = complaint(&["import", weights, "--heads", "2", "--key", "ema"], path);
    assert!(text.contains("below `ema`") && text.contains("classifier, tokenizer"), "{text}");
    let text = complaint(&["import", weights, "--model", "cct_9_9x9"], path);
    assert!(text.contains("cct_9_9x9") && text.contains("cct_2_3x2"), "{text}");
    let text = complaint(&["import", "nothing.pth", "--model", "cct_2_3x2"], path);
    assert!(text.contains("nothing.pth"), "{text}");
    fs::write(path.join("noise.pth"), [7u8; 300]).unwrap();
    let text = complaint(&["import", "noise.pth", "--model", "cct_2_3x2"], path);
    assert!(text.contains("noise.pth") && text.contains("torch.save(ckpt['state_dict']"), "{text}");
    assert!(!path.join("best.mpk").exists() && !path.join("best.json").exists());
}

#[test]
fn weights_travel_in_and_out_without_being_described() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    let weights = golden("vit_lite_2_4.pth");
    let text = succeed(&["import", weights.to_str().unwrap(), "--heads", "2"], path);
    assert!(text.contains("vit_lite_2_4 for 32x32x3 images and 10 classes"), "{text}");
    assert!(text.contains("deviation 0.5 assumed") && text.contains("0.4914,0.4822"), "{text}");
    assert!(!text.contains("heads: 2 assumed"), "{text}");
    let known = ["--heads", "2", "--mean", "0.4,0.4,0.4", "--std", "0.2,0.2,0.2"];
    let import = [&["import", weights.to_str().unwrap()], &known[..]].concat();
    // What is there is not replaced unless it is named.
    let before = fs::read(path.join("best.json")).unwrap();
    let text = complaint(&import, path);
    assert!(text.contains("best.mpk is there already") && text.contains("--out"), "{text}");
    assert_eq!(fs::read(path.join("best.json")).unwrap(), before);
    let text = succeed(&[&import[..], &["--out", "best.mpk"]].concat(), path);
    assert!(!text.contains("assumed"), "{text}");
    succeed(&["export", "best.mpk", "--out", "vit.safetensors"], path);
    let args = ["import", "vit.safetensors", "--out", "again.mpk"];
    let text = succeed(&args, path);
    // Nothing has to be told twice.
    assert!(!text.contains("assumed"), "{text}");
    assert_eq!(json(&path.join("best.json")), json(&path.join("again.json")));
    // 64x64 images have four times the tokens of the file's positional embedding.
    let text = succeed(&[&args[..], &["--image-size", "64"]].concat(), path);
    assert!(text.contains("resampled from 8x8 to 16x16 tokens"), "{text}");
    let text = complaint(&["export", "nothing.mpk", "--out", "x.safetensors"], path);
    assert!(text.contains("nothing.mpk") && !path.join("x.safetensors").exists(), "{text}");
}

#[test]
fn imports_and_exports_do_not_overwrite_what_they_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    let weights = fs::read(golden("cct_2_3x2.pth")).unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    fs::write(path.join("w.pth"), &weights).unwrap();
    fs::write(path.join("w.json"), &weights).unwrap();
    let import =
        |file: &str, out: &str| complaint(&["import", file, "--heads", "2", "--out", out], path);
    let text = import("w.pth", "folder/../w.pth");
    assert!(text.contains("writing folder/../w.pth would replace w.pth"), "{text}");
    // The configuration would go there.
    let text = import("w.json", "./w.mpk");
    assert!(text.contains("w.json would replace w.json"), "{text}");
    let text = import("w.pth", "new.json");
    assert!(text.contains("--out new.json") && text.contains(".mpk"), "{text}");
    assert!(!path.join("w.mpk").exists() && !path.join("new.json").exists());

    succeed(&["import", "w.pth", "--heads", "2", "--out", "best.mpk"], path);
    let before = ["best.mpk", "best.json"].map(|name| fs::read(path.join(name)).unwrap());
    for out in ["best.json", "folder/../best.mpk"] {
        let text = complaint(&["export", "best.mpk", "--out", out], path);
        assert!(text.contains(&format!("{out} would replace best.")), "{text}");
    }
    assert_eq!(before, ["best.mpk", "best.json"].map(|name| fs::read(path.join(name)).unwrap()));
    assert_eq!(
        ["w.pth", "w.json"].map(|name| fs::read(path.join(name)).unwrap()),
        [&weights[..]; 2]
    );
}

#[test]
fn imports_say_what_was_assumed_and_refuse_what_cannot_be_meant() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    let made = golden("../../models/mobilevit_xxs_fmnist/best.mpk");
    succeed(&["export", made.to_str().unwrap(), "--out", "m.safetensors"], path);
    // As others write it, without this crate's notes.
    let content = fs::read(path.join("m.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&content).unwrap();
    let bare = safetensors::serialize(tensors.tensors(), None).unwrap();
    fs::write(path.join("m.safetensors"), bare).unwrap();
    let import = ["import", "m.safetensors", "--out", "m.mpk"];
    let text = succeed(&import, path);
    assert!(text.contains("image size: 256x256 assumed"), "{text}");
    assert!(text.contains("attention heads: 4 assumed"), "{text}");
    assert!(text.contains("mean 0 and deviation 1 assumed"), "{text}");
    let known = ["--image-size", "192", "--heads", "4", "--mean", "0", "--std", "1"];
    let text = succeed(&[&import[..], &known].concat(), path);
    assert!(!text.contains("assumed"), "{text}");
    let text = complaint(&[&import[..], &["--position-grid", "8"]].concat(), path);
    assert!(text.contains("no positional embedding"), "{text}");
    let text = complaint(&["import", "m.safetensors", "--mean", "120", "--std", "58"], path);
    assert!(text.contains("`mean` holds 120") && text.contains("by 255"), "{text}");

    let weights = golden("cct_2_3x2.pth");
    let labels = "a,b,c,d,e,f,g,h,i,tea\ncup";
    let args = ["import", weights.to_str().unwrap(), "--heads", "2", "--labels", labels];
    let text = complaint(&[&args[..], &["--out", "named.mpk"]].concat(), path);
    assert!(text.contains(r#"`labels` holds "tea\ncup""#), "{text}");
    assert!(!path.join("named.mpk").exists());
}

#[test]
fn bad_data_is_refused_by_name() {
    let dir = workshop();
    let path = dir.path();
    let quantize = |calibration: &str| {
        complaint(&["quantize", "best.mpk", "--calibration", calibration, "--no-eval"], path)
    };
    let text = quantize("no-such-thing");
    assert!(text.contains("no-such-thing"), "{text}");
    fs::create_dir(path.join("empty")).unwrap();
    let text = quantize("empty");
    assert!(text.contains("empty"), "{text}");
    fs::create_dir(path.join("broken")).unwrap();
    fs::write(path.join("broken/picture.png"), "no picture").unwrap();
    let text = quantize("broken");
    assert!(text.contains("picture.png"), "{text}");
    // Two classes for a model of ten.
    fs::create_dir_all(path.join("few/a")).unwrap();
    fs::create_dir_all(path.join("few/b")).unwrap();
    for class in ["a", "b"] {
        GrayImage::new(32, 32).save(path.join("few").join(class).join("0.png")).unwrap();
        GrayImage::new(32, 32).save(path.join("few").join(class).join("1.png")).unwrap();
    }
    let text =
        complaint(&["quantize", "best.mpk", "--calibration", "pictures", "--dataset", "few"], path);
    assert!(text.contains("10 classes") && text.contains("--dataset"), "{text}");
    let text =
        complaint(&["train", "--model", "cct_2_3x2", "--dataset", "nowhere", "--out", "o"], path);
    assert!(text.contains("nowhere"), "{text}");
    let text = complaint(
        &[
            "train",
            "--model",
            "cct_2_3x2",
            "--dataset",
            "pictures",
            "--backend",
            "abacus",
            "--out",
            "o",
        ],
        path,
    );
    assert!(text.contains("abacus"), "{text}");
}

#[test]
fn a_killed_training_resumes() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    pictures(&path.join("pictures"), 12);
    let args = [
        "train",
        "--model",
        "cct_2_3x2",
        "--dataset",
        "pictures",
        "--image-size",
        "16",
        "--epochs",
        "4",
        "--batch-size",
        "8",
        "--validation",
        "20",
        "--backend",
        "flex",
        "--out",
        "run",
    ];
    let mut child =
        command(&args, path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let lines =
        || fs::read_to_string(path.join("run/metrics.jsonl")).unwrap_or_default().lines().count();
    while lines() < 1 {
        // Only a guard against hanging: the test does not measure time.
        assert!(start.elapsed() < Duration::from_secs(300), "no epoch was finished");
        assert!(child.try_wait().unwrap().is_none() || lines() > 0, "training ended early");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let text = complaint(&args, path);
    assert!(text.contains("--resume"), "{text}");
    let mut resume = args.to_vec();
    resume.push("--resume");
    succeed(&resume, path);
    let metrics = fs::read_to_string(path.join("run/metrics.jsonl")).unwrap();
    let epochs: Vec<u64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, [1, 2, 3, 4]);
    succeed(
        &["quantize", "run/best.mpk", "--calibration", "pictures", "--images", "8", "--no-eval"],
        path,
    );
}

#[test]
fn a_checkpoint_is_tuned_for_int8() {
    let dir = workshop();
    let path = dir.path();
    let tune = ["train", "--qat", "--from", "best.mpk", "--out", "tuned"];
    let text = complaint(&tune, path);
    assert!(text.contains("trained on") && text.contains("--dataset"), "{text}");
    let options = ["--dataset", "pictures", "--validation", "10", "--batch-size", "10"];
    let more = ["--epochs", "1", "--qat-images", "8", "--backend", "flex"];
    let text = succeed(&[&tune[..], &options, &more].concat(), path);
    assert!(text.contains("its int8 model: accuracy"), "{text}");
    let line = fs::read_to_string(path.join("tuned/metrics.jsonl")).unwrap();
    let metrics: Value = serde_json::from_str(&line).unwrap();
    assert!(metrics["int8"]["logit_sqnr_db"].as_f64().unwrap() > 20.0, "{line}");
    // Model and normalisation are the checkpoint's.
    assert_eq!(json(&path.join("tuned/best.json")), json(&path.join("best.json")));

    let text = complaint(
        &[
            "train",
            "--qat",
            "--from",
            "best.mpk",
            "--model",
            "cvt_2_4",
            "--dataset",
            "pictures",
            "--out",
            "o",
        ],
        path,
    );
    assert!(text.contains("cvt_2_4") && text.contains("leave out --model"), "{text}");
    let text = complaint(&[&tune[..], &options, &["--image-size", "64"]].concat(), path);
    assert!(text.contains("--image-size is 64x64") && text.contains("--from alone"), "{text}");
    let named = ["train", "--model", "cct_2_3x2", "--dataset", "pictures", "--out", "o"];
    let text = complaint(&[&named[..], &["--qat"]].concat(), path);
    assert!(text.contains("--from"), "{text}");
    let text = complaint(&[&named[..], &["--distill", "0.5"]].concat(), path);
    assert!(text.contains("--qat") && text.contains("--teacher"), "{text}");
}

#[test]
fn a_network_learns_from_a_teacher() {
    let dir = workshop();
    let path = dir.path();
    let named = ["train", "--from", "best.mpk", "--dataset", "pictures", "--out", "taught"];
    let options = ["--validation", "10", "--batch-size", "10", "--epochs", "1"];
    let taught = ["--backend", "flex", "--teacher", "best.mpk", "--distill", "1"];
    let text = succeed(&[&named[..], &options, &taught, &["--temperature", "3"]].concat(), path);
    assert!(text.contains("best: epoch 1"), "{text}");
    let (before, after) = (json(&path.join("best.json")), json(&path.join("taught/best.json")));
    assert_eq!([&after["mean"], &after["std"]], [&before["mean"], &before["std"]]);
    let state = json(&path.join("taught/state.json"));
    let distillation = &state["options"]["distillation"];
    assert_eq!((&distillation["share"], &distillation["temperature"]), (&json!(1.0), &json!(3.0)));

    let text = complaint(&[&named[..], &["--temperature", "3"]].concat(), path);
    assert!(text.contains("--teacher"), "{text}");
    let text = complaint(&[&named[..], &taught, &["--qat"]].concat(), path);
    assert!(text.contains("--qat") && text.contains("--teacher"), "{text}");
    fs::remove_dir_all(path.join("taught")).unwrap();
    let text = complaint(&[&named[..], &options, &["--teacher", "nobody.mpk"]].concat(), path);
    assert!(text.contains("nobody"), "{text}");
    assert!(!path.join("taught").exists());
}

#[test]
fn what_is_read_is_never_written_and_a_file_that_cannot_be_is_named_at_once() {
    let dir = workshop();
    let path = dir.path();
    let before =
        [fs::read(path.join("best.mpk")).unwrap(), fs::read(path.join("best.json")).unwrap()];
    let quantize = |more: &[&str]| {
        let args = ["quantize", "best.mpk", "--calibration", "pictures"];
        complaint(&[&args[..], more].concat(), path)
    };
    for out in ["best.mpk", "./best.json", "pictures/../best.mpk"] {
        let text = quantize(&["--no-eval", "--out", out]);
        assert!(text.contains("would replace") && text.contains("name another file"), "{text}");
    }
    // Without a data set the evaluation would fail, too: the paths come first.
    let text = quantize(&["--out", "m.pvit", "--json", "best.json"]);
    assert!(text.contains("writing best.json would replace best.json"), "{text}");
    let text = quantize(&["--no-eval", "--out", "missing/m.pvit"]);
    assert!(text.contains("cannot write missing/m.pvit: there is no folder missing"), "{text}");
    let text = quantize(&["--no-eval", "--out", "pictures"]);
    assert!(text.contains("cannot write pictures: it is a folder"), "{text}");
    let text = quantize(&["--out", "m.pvit", "--json", "./m.pvit", "--dataset", "pictures"]);
    assert!(text.contains("is to be written twice"), "{text}");
    let text = quantize(&["--out", "m.pvit", "--dataset", "nowhere"]);
    assert!(text.contains("`nowhere` is neither a data set nor a folder"), "{text}");
    assert!(!path.join("m.pvit").exists());

    let args =
        ["quantize", "best.mpk", "--calibration", "pictures", "--no-eval", "--out", "m.pvit"];
    succeed(&args, path);
    let artifact = fs::read(path.join("m.pvit")).unwrap();
    for args in [
        &["eval", "m.pvit", "--dataset", "pictures", "--json", "m.pvit"][..],
        &[
            "eval",
            "m.pvit",
            "--against",
            "best.mpk",
            "--dataset",
            "pictures",
            "--json",
            "best.json",
        ],
        &["inspect", "m.pvit", "--json", "m.pvit"],
        &["predict", "m.pvit", "pictures/class1/0.png", "--json", "pictures/class1/0.png"],
    ] {
        let text = complaint(args, path);
        assert!(text.contains("would replace"), "{args:?}: {text}");
    }
    // A report lies beside it under the name that a configuration would have.
    succeed(&["inspect", "m.pvit", "--json", "m.json"], path);
    let text = complaint(&["quantize", "m.pvit", "--no-eval", "--out", "n.pvit"], path);
    assert!(text.contains("m.pvit is an artifact, no checkpoint"), "{text}");
    assert_eq!(fs::read(path.join("m.pvit")).unwrap(), artifact);
    let after =
        [fs::read(path.join("best.mpk")).unwrap(), fs::read(path.join("best.json")).unwrap()];
    assert_eq!(before, after);
}

#[test]
fn a_gate_is_a_number() {
    let dir = workshop();
    let path = dir.path();
    let gate = ["quantize", "best.mpk", "--calibration", "pictures", "--no-eval", "--min-sqnr-db"];
    let text = complaint(&[&gate[..], &["nan"]].concat(), path);
    assert!(text.contains("not a number of decibels"), "{text}");
    let text = complaint(&[&gate[..], &["90"]].concat(), path);
    assert!(text.contains("--min-sqnr-db asks for 90; nothing written"), "{text}");
}

#[test]
fn classes_in_another_order_are_no_test_set() {
    let dir = workshop();
    let path = dir.path();
    let mut config = json(&path.join("best.json"));
    let mut labels: Vec<String> = (0..10).map(|class| format!("class{class}")).collect();
    config["labels"] = json!(labels);
    config["dataset"] = json!("gone");
    fs::write(path.join("best.json"), config.to_string()).unwrap();
    let quantize = ["quantize", "best.mpk", "--calibration", "pictures", "--out", "m.pvit"];
    let text = complaint(&quantize, path);
    assert!(text.contains("`gone` is neither") && text.contains("best.json says so"), "{text}");
    assert!(text.contains("--dataset"), "{text}");
    let with_test = [&quantize[..], &["--dataset", "pictures"]].concat();
    let text = succeed(&with_test, path);
    assert!(!text.contains("warning"), "{text}");
    let text = complaint(&["eval", "m.pvit"], path);
    assert!(text.contains("`gone` is neither") && text.contains("m.pvit says so"), "{text}");
    let text = complaint(&["eval", "m.pvit", "--dataset", "pictures", "--images", "0"], path);
    assert!(text.contains("--images"), "{text}");

    labels.swap(2, 5);
    config["labels"] = json!(labels);
    fs::write(path.join("best.json"), config.to_string()).unwrap();
    fs::remove_file(path.join("m.pvit")).unwrap();
    let text = complaint(&with_test, path);
    assert!(text.contains("class0, class1, class5, class3"), "{text}");
    assert!(text.contains("class0, class1, class2, class3") && text.contains("--labels"), "{text}");
    assert!(!path.join("m.pvit").exists());

    labels[2] = "fifth".into();
    config["labels"] = json!(labels);
    fs::write(path.join("best.json"), config.to_string()).unwrap();
    let text = succeed(&with_test, path);
    assert!(text.contains("warning") && text.contains("compared by number"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_to_the_standard_output_comes_behind_what_is_there() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("all.txt");
    let out = fs::File::create(&path).unwrap();
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let out = out.try_clone().unwrap();
        out.set_len(0).unwrap();
        let mut command = command(&["models", "--json", name], dir.path());
        assert!(command.stdout(out).status().unwrap().success());
        let text = fs::read_to_string(&path).unwrap();
        let (table, report) = text.split_at(text.find('[').unwrap());
        assert!(table.contains("cct_7_3x1"), "{name}: {text}");
        assert!(serde_json::from_str::<Value>(report).unwrap().is_array(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_ends_the_command_quietly() {
    let dir = TempDir::new().unwrap();
    let mut command = command(&["models", "--json", "models.json"], dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // The report is there all the same.
    assert!(json(&dir.path().join("models.json")).is_array());

    // Also where much is said before the work is done.
    let dir = workshop();
    let quantize = ["quantize", "best.mpk", "--calibration", "pictures", "--dataset", "pictures"];
    let args = [&quantize[..], &["--sensitivity", "--out", "m.pvit", "--json", "m.json"]].concat();
    let mut child = self::command(&args, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.path().join("m.pvit").exists());
    assert!(json(&dir.path().join("m.json"))["layers"].is_array());
}

#[test]
fn what_must_not_be_written_is_refused_before_the_work() {
    let dir = workshop();
    let report = dir.path().join("report.json");
    fs::write(&report, "mine").unwrap();
    let mut permissions = fs::metadata(&report).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&report, permissions).unwrap();
    let text = complaint(&["models", "--json", "report.json"], dir.path());
    assert!(text.contains("report.json: it is read-only") && !text.contains("cct_7_3x1"), "{text}");
    assert_eq!(fs::read_to_string(&report).unwrap(), "mine");
}
