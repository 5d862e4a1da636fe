//! Progress, tables and files.

use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Result, WrapErr};
use serde::Serialize;

/// A progress bar on standard error; hidden where that is not a terminal.
pub fn progress(length: usize, what: &str) -> ProgressBar {
    let style = "{msg:24} [{bar:32}] {pos}/{len} ({eta})";
    let style = ProgressStyle::with_template(style).expect("a valid template");
    ProgressBar::new(length as u64)
        .with_style(style.progress_chars("=> "))
        .with_message(what.to_owned())
}

/// An empty table with these columns.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// Writes a file under a temporary name and renames it, so that no half-written file remains.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    picovit_models::record::write_atomic(path, content)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}

/// Writes a report as JSON, if a file was asked for.
pub fn json<T: Serialize>(path: Option<&Path>, report: &T) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(report).into_diagnostic()?;
    write(path, (text + "\n").as_bytes())
}

/// A number with thousands separators.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
