//! The kernels of AArch64, emulated: the portable bytes, in far fewer instructions.
//!
//! Needs `qemu-aarch64` and a C compiler that links for it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::artifacts::quantized_for;
use crate::{firmware, random_network, said};

/// What a model takes by each of these kernels that a processor has.
fn count(model: &Path, cpu: &str, more: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let [model, report_path] = [model, &report].map(|path| path.to_str().unwrap());
    let args = ["aarch64", "--model", model, "--json", report_path, "--cpu", cpu];
    let output = firmware(args.iter().chain(more));
    assert!(output.status.success(), "{cpu}: {}", said(&output));
    let mut report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let Value::Array(rows) = report["instruction_sets"].take() else { panic!("{report}") };
    rows
}

#[test]
fn aarch64_kernels_take_few_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.pvit");
    fs::write(&model, random_network(32, 7)).unwrap();
    let rows = count(&model, "max", &["--check"]);
    let least = [1.0, 4.0, 6.0];
    assert_eq!(rows.len(), least.len(), "{rows:?}");
    for (row, least) in rows.iter().zip(least) {
        assert!(row["times_fewer"].as_f64().is_some_and(|times| times >= least), "{row}");
    }
}

#[test]
fn processors_without_dot_products_gain_by_winograd() {
    let few = &["--kernels", "neon,neon-dotprod"];
    let [rows, tiles] =
        ["aarch64", "cortex-a53"].map(|target| quantized_for("cct_2_3x2_fmnist", "int8", target));
    let rows = count(&rows, "cortex-a53", few);
    assert_eq!(rows.len(), 1, "{rows:?}");
    // Those of dot products give the same logits.
    let tiles = count(&tiles, "max", few);
    assert_eq!(tiles.len(), 2, "{tiles:?}");
    let [rows, tiles] = [&rows[0], &tiles[0]].map(|row| {
        assert_eq!(row["name"], "neon");
        row["instructions"].as_u64().unwrap()
    });
    assert!(tiles * 100 <= rows * 81, "{rows}, {tiles}");
}

#[test]
fn boards_run_what_is_made_for_processors_without_dot_products_and_say_what_would_be_faster() {
    let model = quantized_for("cct_2_3x2_fmnist", "int8", "cortex-a53");
    let [model] = [&model].map(|path| path.to_str().unwrap());
    let args = ["run", "--board", "mps2-an385", "--images", "1", "--model", model];
    let output = firmware(args.iter().chain(&["--ram", "512"]));
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("`cortex-a53`"), "{}", said(&output));
    assert!(said(&output).contains("--target portable"), "{}", said(&output));
}
