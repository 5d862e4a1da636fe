//! What `picovit quantize` says about an artifact.

use picovit_compiler::drift::{Evaluation, LayerDrift};
use picovit_compiler::sensitivity::Sensitivity;
use serde::Serialize;

use crate::output::table;

/// What `--json` writes.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) model: &'a str,
    pub(super) format: &'a str,
    pub(super) target: &'a str,
    pub(super) artifact_bytes: usize,
    pub(super) weight_bytes: usize,
    pub(super) arena_bytes: usize,
    pub(super) arena_lower_bound: usize,
    /// What was given up for `--arena-budget`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) economies: Vec<String>,
    pub(super) macs: u64,
    #[serde(flatten)]
    pub(super) evaluation: &'a Evaluation,
    pub(super) layers: &'a [LayerDrift],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept_f16: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sensitivity: Option<&'a [Sensitivity]>,
}

/// Prints the drift layer by layer.
pub(super) fn print_layers(layers: &[LayerDrift]) {
    let mut table = table(["layer", "SQNR dB", "saturated %"]);
    for layer in layers {
        table.add_row([
            layer.name.clone(),
            format!("{:.1}", layer.sqnr_db),
            format!("{:.3}", layer.saturation),
        ]);
    }
    println!("{table}");
}

/// Prints the comparison of both models.
pub fn print_evaluation(e: &Evaluation) {
    let mut table = table(["on the test set", ""]);
    table.add_row(["images".into(), e.images.to_string()]);
    table.add_row(["top-1 float".into(), format!("{:.2} %", e.top1_float)]);
    table.add_row(["top-1 quantized".into(), format!("{:.2} %", e.top1_quantized)]);
    table.add_row(["drop".into(), format!("{:+.2} points", e.top1_drop)]);
    table.add_row(["agreement".into(), format!("{:.2} %", e.agreement)]);
    table.add_row(["logit SQNR".into(), format!("{:.1} dB", e.logit_sqnr_db)]);
    println!("{table}");
}
