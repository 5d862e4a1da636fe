//! Progress, tables and files.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
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

/// Fails, before any work is done, where a file cannot be written: its folder is missing, a folder has
/// its name, it would replace one of the inputs, or two of the outputs are one file.
pub fn check(outputs: &[Option<&Path>], inputs: &[&Path]) -> Result<()> {
    let inputs: Vec<_> =
        inputs.iter().filter_map(|path| Some((fs::canonicalize(path).ok()?, path))).collect();
    let mut places: Vec<PathBuf> = Vec::new();
    for path in outputs.iter().flatten() {
        let shown = path.display();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let Some(place) = fs::canonicalize(folder).ok().zip(path.file_name()) else {
            return Err(miette!(
                help = "make the folder first, or name another one",
                "cannot write {shown}: there is no folder {}",
                folder.display()
            ));
        };
        let place = fs::canonicalize(path).unwrap_or_else(|_| place.0.join(place.1));
        if place.is_dir() {
            return Err(miette!(
                help = "name a file in it",
                "cannot write {shown}: it is a folder"
            ));
        }
        if fs::metadata(&place).is_ok_and(|found| found.permissions().readonly()) {
            return Err(miette!(
                help = "name another file, or make it one that may be written",
                "cannot write {shown}: it is read-only"
            ));
        }
        if let Some((_, input)) = inputs.iter().find(|(input, _)| *input == place) {
            return Err(miette!(
                help = "name another file",
                "writing {shown} would replace {}, which is read here; nothing was written",
                input.display()
            ));
        }
        if places.contains(&place) && place.is_file() | !place.exists() {
            return Err(miette!(
                help = "give each a name of its own",
                "{shown} is to be written twice"
            ));
        }
        places.push(place);
    }
    Ok(())
}

/// Writes a file under a temporary name and renames it, so that no half-written file remains.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    picovit_models::record::write_atomic(path, content)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}

/// Writes a report as JSON, if a file was asked for, and prints it. Who reads what is printed may leave
/// early, which ends the program: a file is written before, the standard output's own names after.
pub fn report<T: Serialize>(path: Option<&Path>, report: &T, print: impl FnOnce()) -> Result<()> {
    if path.is_some_and(picovit_models::record::is_descriptor) {
        print();
        return json(path, report);
    }
    let written = json(path, report);
    print();
    written
}

/// Prints a line before the work is done: if nobody reads it any more, the work goes on.
pub fn line(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn json<T: Serialize>(path: Option<&Path>, report: &T) -> Result<()> {
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
