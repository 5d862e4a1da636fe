//! Spinners, tables, numbers and files.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::error::Error;

/// A spinner on standard error; hidden where that is not a terminal.
pub(crate) fn spinner(prefix: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.green} {prefix}: {wide_msg} {elapsed}");
    let spinner = ProgressBar::new_spinner()
        .with_style(style.expect("a valid template"))
        .with_prefix(prefix)
        .with_finish(ProgressFinish::AndClear);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A progress bar on standard error; hidden where that is not a terminal.
pub(crate) fn bar(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} [{bar:32}] {pos}/{len} ({eta})");
    ProgressBar::new(length as u64)
        .with_style(style.expect("a valid template").progress_chars("=> "))
        .with_message(what.to_owned())
        .with_finish(ProgressFinish::AndClear)
}

/// A table of figures: name, value, remark.
pub(crate) fn table(rows: &[(&str, String, String)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    for (name, value, remark) in rows {
        table.add_row([*name, value, remark]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A table with a line of headings; all columns but the first `left` hold numbers.
pub(crate) fn sheet<const N: usize>(headings: [&str; N], left: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes a file, and its folder where need be, under a temporary name and renames it, so that no
/// half-written file remains.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = Error::file("write", path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(&failed)?;
    }
    let mut temporary = OsString::from(path);
    temporary.push(format!(".{}.tmp", std::process::id()));
    fs::write(&temporary, content)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .map_err(failed)
}

/// A number with thousands separators.
pub(crate) fn grouped(value: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let values = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(values, ["0", "999", "1,000", "1,234,567"]);
    }
}
