//! Spinners, tables and numbers.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

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
