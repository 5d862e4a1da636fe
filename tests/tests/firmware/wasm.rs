//! WebAssembly modules, with vectors and without: the portable bytes, in far fewer instructions.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::artifacts::quantized_for;
use crate::{firmware, said};

#[test]
fn webassembly_answers_what_the_host_answers_and_vectors_take_few_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let count = |model: &Path, checked: bool| {
        let [model, report_path] = [model, &report].map(|path| path.to_str().unwrap());
        let mut args = vec!["wasm", "--model", model, "--json", report_path];
        args.extend(checked.then_some("--check"));
        let output = firmware(args);
        assert!(output.status.success(), "{}: {}", model, said(&output));
        let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        let rows = report["instruction_sets"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{report}");
        // Those of vectors, by themselves: portable code may gain more by a change than they do.
        rows[1]["instructions"].as_u64().unwrap()
    };
    let cct = quantized_for("cct_2_3x2_fmnist", "int8", "wasm");
    let instructions = count(&cct, true);
    assert!(instructions <= 17_143_000, "{instructions}");
    let mobilevit = quantized_for("mobilevit_xxs_fmnist", "int8", "wasm");
    let instructions = count(&mobilevit, false);
    assert!(instructions <= 22_806_000, "{instructions}");
    // Floats have no kernels of their own there.
    count(&quantized_for("cct_2_3x2_fmnist", "f16", "wasm"), false);
}
