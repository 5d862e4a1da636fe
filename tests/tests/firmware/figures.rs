//! What models take on the boards: operation by operation, and against what was written down.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use picovit::Model;
use picovit_firmware_tool::board;
use picovit_tests::reference::Aligned;
use serde_json::Value;
use tempfile::TempDir;

use crate::artifacts::{folder, quantized_for, shipped};
use crate::{Run, complaint, firmware, said};

/// What a command says of a board in its JSON file.
pub fn figures(command: &str, board: &str, model: &Path, json: &Path) -> Value {
    let args = [command, "--board", board, "--model"].map(OsStr::new);
    let rest = [model.as_os_str(), "--json".as_ref(), json.as_os_str()];
    let output = firmware(args.into_iter().chain(rest));
    assert!(output.status.success(), "{board}: {}", said(&output));
    serde_json::from_slice(&fs::read(json).expect("the file is there")).expect("valid JSON")
}

#[test]
fn the_operations_of_a_profile_add_up_to_what_a_run_takes() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("figures.json");
    for board in board::BOARDS {
        let artifact = quantized_for("cct_2_3x2_fmnist", "int8", board.packing.1);
        let profile = figures("profile", board.name, &artifact, &json);

        let bytes = Aligned::copy(&fs::read(&artifact).unwrap());
        let model = Model::parse(&bytes).unwrap();
        let ops = profile["ops"].as_array().unwrap();
        assert_eq!(ops.len(), usize::from(model.op_count()), "{}", board.name);
        let sum = |key: &str| -> u64 { ops.iter().map(|op| op[key].as_u64().unwrap()).sum() };
        assert_eq!(sum("macs"), model.header().macs);
        let total = profile["instructions_per_inference"].as_u64().unwrap();
        let other = profile["other_instructions"].as_u64().unwrap();
        assert_eq!(sum("instructions") + other, total);
        assert!(other < total / 1000, "{profile}");
        assert!(profile["before_instructions"].as_u64() > Some(1000), "{profile}");
        for (index, op) in ops.iter().enumerate() {
            assert_eq!(op["kind"], model.op(index as u16).unwrap().kind());
            // A convolution of a third of all products is far from a thousandth of the time, and so
            // is everything else but the classifier.
            let least = if op["kind"] == "Head" { total / 10_000 } else { total / 1000 };
            assert!(op["instructions"].as_u64() > Some(least), "{op}");
        }
        if board.name == board::DEFAULT {
            let run = Run::new(&artifact, 1).report(&dir.path().join("display.png"), &json);
            let run = run["instructions_per_inference"].as_u64().unwrap();
            assert!(run.abs_diff(total) < run / 1000, "profile {total}, run {run}");
        }
    }
}

#[test]
fn the_shipped_models_take_no_more_than_they_did() {
    for model in shipped() {
        for target in ["cortex-m4", "cortex-m55"] {
            quantized_for(&model, "int8", target);
        }
        quantized_for(&model, "f16", "cortex-m4");
    }
    let folder = folder();
    let args = [OsStr::new("regression"), OsStr::new("--artifacts"), folder.as_os_str()];
    let output = firmware(args);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_figure_that_grew_is_named_with_the_way_to_accept_it() {
    let dir = TempDir::new().unwrap();
    let (table, folder) = (dir.path().join("boards.toml"), folder());
    for format in ["int8", "f16"] {
        quantized_for("cct_2_3x2_fmnist", format, "cortex-m4");
    }
    let regression = |more: &[&str]| {
        let args = ["regression", "--models", "cct_2_3x2_fmnist", "--boards", board::DEFAULT];
        let args = args.iter().chain(more).map(|arg| OsStr::new(*arg));
        let paths = [OsStr::new("--artifacts"), folder.as_os_str(), "--table".as_ref()];
        firmware(args.chain(paths).chain([table.as_os_str()]))
    };
    let missing = complaint(&regression(&[]));
    assert!(missing.contains("not in the table"), "{missing}");
    assert!(!table.exists());

    let made = regression(&["--update"]);
    assert!(made.status.success(), "{}", said(&made));
    let text = fs::read_to_string(&table).unwrap();
    let line = text.lines().find(|line| line.starts_with("stack_bytes = ")).unwrap();
    let stack: u64 = line.strip_prefix("stack_bytes = ").unwrap().parse().unwrap();
    let less = stack * 98 / 100;
    fs::write(&table, text.replace(line, &format!("stack_bytes = {less}"))).unwrap();
    let grown = complaint(&regression(&[]));
    let with_commas = |value: u64| format!("{},{:03}", value / 1000, value % 1000);
    let figures = format!("stack_bytes {} -> {}", with_commas(less), with_commas(stack));
    for part in ["cct_2_3x2_fmnist", board::DEFAULT, &figures, "regression --update"] {
        assert!(grown.contains(part), "{grown} lacks {part}");
    }
    assert_eq!(grown.matches("->").count(), 1, "{grown}");
}
