//! The kernels of AArch64, emulated: the portable bytes, in far fewer instructions.
//!
//! Needs `qemu-aarch64` and a C compiler that links for it.

use std::fs;

use serde_json::Value;

use crate::{firmware, random_network, said};

#[test]
fn aarch64_kernels_take_few_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let (model, report) = (folder.path().join("m.pvit"), folder.path().join("report.json"));
    fs::write(&model, random_network(32, 7)).unwrap();
    for (cpu, sets) in [("max", &[1.0, 4.0, 6.0][..]), ("cortex-a53", &[1.0, 4.0])] {
        let (model, report) = (model.to_str().unwrap(), report.to_str().unwrap());
        let mut args = vec!["aarch64", "--model", model, "--json", report, "--cpu", cpu];
        if cpu == "max" {
            args.push("--check");
        }
        let output = firmware(args);
        assert!(output.status.success(), "{cpu}: {}", said(&output));
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        let rows = report["instruction_sets"].as_array().unwrap();
        assert_eq!(rows.len(), sets.len(), "{report}");
        for (row, &least) in rows.iter().zip(sets) {
            assert!(row["times_fewer"].as_f64().is_some_and(|times| times >= least), "{row}");
        }
    }
}
