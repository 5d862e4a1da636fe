//! Whether the shipped models still take what they took when their figures were written down.

mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use console::style;

use crate::board::{self, BOARDS, Board};
use crate::error::Error;
use crate::measure::{Request, measure};
use crate::output::{grouped, sheet, spinner};
use crate::paths::{results, root, shown};
use crate::report::{Report, json};
use crate::{BuildArgs, LinkArgs, Optimize, RegressionArgs};
use table::{Figures, TOLERANCE, Table};

/// Measures the shipped models and compares with the table, or writes it anew.
pub(crate) fn regression(args: &RegressionArgs) -> Result<(), Error> {
    let path = args.table.clone().unwrap_or_else(table::default_path);
    let before = Table::read(&path)?;
    let boards = boards(&args.boards)?;
    let models = models(&args.models)?;
    let mut artifacts = Artifacts { given: args.artifacts.as_deref(), made: BTreeSet::new() };
    let mut now = Table::default();
    let complete = args.boards.is_empty() && args.models.is_empty();
    for model in &models {
        for &board in &boards {
            for format in Format::on(board) {
                let artifact = artifacts.find(model, format, board)?;
                let (figures, compiler) = figures(board, artifact, format, args)?;
                // Said before all of it is measured.
                if args.update && !complete {
                    same_compiler(&before, &compiler)?;
                }
                now.insert(&format.row(model), board.name, figures);
                now.compiler = compiler;
            }
        }
    }
    print(&now);
    json(args.json.as_deref(), &now)?;
    if args.update {
        return update(before, now, complete, &path);
    }
    compare(&before, &now, complete, &path)
}

/// The boards of these names, or all.
fn boards(names: &[String]) -> Result<Vec<&'static Board>, Error> {
    if names.is_empty() {
        return Ok(BOARDS.iter().collect());
    }
    names.iter().map(|name| board::named(name)).collect()
}

/// The models of these names, or all that ship.
fn models(names: &[String]) -> Result<Vec<String>, Error> {
    let folder = root().join("models");
    let failed = Error::file("read", &folder);
    let mut shipped = Vec::new();
    for entry in fs::read_dir(&folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        if entry.path().join("best.mpk").is_file() {
            shipped.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    shipped.sort_unstable();
    match names.iter().find(|name| !shipped.contains(name)) {
        Some(name) => Err(Error::UnknownModel { name: name.clone(), known: shipped.join("\n  ") }),
        None if names.is_empty() => Ok(shipped),
        None => Ok(names.to_vec()),
    }
}

/// A number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Int8,
    F16,
}

impl Format {
    /// Those measured on a board: f16 on one of those whose FPU computes it, as all of them do it alike.
    fn on(board: &Board) -> impl Iterator<Item = Self> {
        let f16 = (board.name == board::DEFAULT).then_some(Self::F16);
        [Self::Int8].into_iter().chain(f16)
    }

    /// What `quantize --format` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::F16 => "f16",
        }
    }

    /// What the table calls a model in it.
    fn row(self, model: &str) -> String {
        match self {
            Self::Int8 => model.to_owned(),
            Self::F16 => format!("{model}-f16"),
        }
    }

    /// KiB of memory that the firmware is linked for: what every shipped model fits in.
    const fn ram(self) -> u32 {
        match self {
            Self::Int8 => 128,
            Self::F16 => 256,
        }
    }
}

/// The artifacts of shipped models.
struct Artifacts<'a> {
    /// Where those lie that are taken as they are.
    given: Option<&'a Path>,
    /// Those made.
    made: BTreeSet<PathBuf>,
}

impl Artifacts<'_> {
    /// The artifact of a model with weights in a board's order: boards of the same order share
    /// it. One that is not given is made, once.
    fn find(&mut self, model: &str, format: Format, board: &Board) -> Result<PathBuf, Error> {
        let first = BOARDS.iter().find(|other| other.packing.0 == board.packing.0);
        let target = first.unwrap_or(board).packing.1;
        let folder = self.given.map_or_else(|| results("regression"), Path::to_owned);
        let path = folder.join(format!("{model}-{}-{target}.pvit", format.name()));
        if self.made.contains(&path) || (self.given.is_some() && path.is_file()) {
            return Ok(path);
        }
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        quantize(model, format, target, &path)?;
        self.made.insert(path.clone());
        Ok(path)
    }
}

/// Makes an artifact of a shipped model: with the other command line, because this one is made
/// without what reads checkpoints.
fn quantize(model: &str, format: Format, target: &str, path: &Path) -> Result<(), Error> {
    let spinner = spinner(format!("Quantizing {model} for {target}"));
    let checkpoint = root().join("models").join(model).join("best.mpk");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(["tools", "quantize", "--no-eval", "--format", format.name()])
        .args(["--target", target, "--out"])
        .args([path, &checkpoint]);
    let output = command
        .output()
        .map_err(|reason| Error::Program { program: "cargo".to_owned(), reason })?;
    spinner.finish_and_clear();
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Quantize { checkpoint, output, command: format!("{command:?}") })
}

/// What an artifact takes on a board, and the compiler that made the firmware.
fn figures(
    board: &'static Board,
    artifact: PathBuf,
    format: Format,
    args: &RegressionArgs,
) -> Result<(Figures, String), Error> {
    let build = BuildArgs {
        board: board.name.to_owned(),
        model: Some(artifact),
        link: LinkArgs {
            toolchain: args.toolchain,
            ram: format.ram(),
            stack: 8,
            optimize: Optimize::default(),
        },
    };
    let measured = measure(&Request {
        build: &build,
        images: 1,
        frames: None,
        camera: None,
        region: None,
        overlay: None,
        timeout: args.timeout,
        quiet: true,
        profile: false,
    })?;
    let compiler = measured.compiler.clone();
    let figures = Figures::from(&measured.report);
    measured.agreement()?;
    Ok((figures, compiler))
}

impl From<&Report> for Figures {
    fn from(report: &Report) -> Self {
        Self {
            instructions: report.instructions_per_inference,
            arena_bytes: report.arena_bytes as u64,
            stack_bytes: report.stack_bytes,
            code_bytes: report.code_bytes,
            engine_code_bytes: report.engine_code_bytes,
        }
    }
}

fn print(now: &Table) {
    let headings = ["model", "board", "instructions", "arena", "stack", "code", "engine code"];
    let mut sheet = sheet(headings, 2);
    for (model, board, figures) in now.rows() {
        let mut row = vec![model.to_owned(), board.to_owned()];
        row.extend(figures.named().map(|(_, value)| grouped(value)));
        sheet.add_row(row);
    }
    println!("{sheet}");
}

/// Refuses to write some rows of a table that another compiler made: those that stay would pass for this
/// one's.
fn same_compiler(before: &Table, this: &str) -> Result<(), Error> {
    if before.rows().next().is_none() || before.compiler == this {
        return Ok(());
    }
    Err(Error::OtherCompiler { table: before.compiler.clone(), this: this.to_owned() })
}

/// Writes what was measured over what was there; all of it if all was measured.
fn update(before: Table, now: Table, complete: bool, path: &Path) -> Result<(), Error> {
    if !complete {
        same_compiler(&before, &now.compiler)?;
    }
    for difference in before.differences(&now) {
        println!("{difference}");
    }
    let mut table = if complete { Table::default() } else { before.clone() };
    table.compiler.clone_from(&now.compiler);
    for (model, board, figures) in now.rows() {
        table.insert(model, board, *figures);
    }
    table.write(path)?;
    println!("{} wrote {}", style("ok").green().bold(), shown(path));
    Ok(())
}

/// Shows what differs; fails if it is too much.
fn compare(before: &Table, now: &Table, complete: bool, path: &Path) -> Result<(), Error> {
    let (bad, fine): (Vec<_>, Vec<_>) =
        before.differences(now).into_iter().partition(table::Difference::fails);
    for difference in &fine {
        println!("{difference}");
    }
    let mut bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
    if complete {
        let gone = before.rows().filter(|(model, board, _)| now.get(model, board).is_none());
        bad.extend(gone.map(|(model, board, _)| format!("{model} on {board}: no longer there")));
    }
    if bad.is_empty() {
        let (rows, path) = (now.rows().count(), shown(path));
        println!(
            "{} no figure of {rows} rows is more than {TOLERANCE} % above {path}",
            style("ok").green().bold()
        );
        return Ok(());
    }
    let compiler = match before.compiler == now.compiler {
        true => String::new(),
        false if *before == Table::default() => format!("\nthere is no {} yet", shown(path)),
        false => format!(
            "\nthe table was made with `{}`, this is `{}`: part of it may be the compiler's",
            before.compiler, now.compiler
        ),
    };
    Err(Error::Regression {
        table: shown(path),
        tolerance: TOLERANCE,
        list: bad.join("\n"),
        update: table::update(path),
        compiler,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_models_and_boards_are_named() {
        let error = models(&["toaster".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("toaster"), "{error}");
        assert!(boards(&["toaster".to_owned()]).is_err());
        assert_eq!(boards(&[]).unwrap().len(), BOARDS.len());
        assert!(models(&[]).unwrap().contains(&"cct_2_3x2_fmnist".to_owned()));
    }

    #[test]
    fn rows_that_nothing_measures_fail_a_complete_check_only() {
        let figures = Figures {
            instructions: 100,
            arena_bytes: 100,
            stack_bytes: 100,
            code_bytes: 100,
            engine_code_bytes: 100,
        };
        let mut now = Table { compiler: "new".to_owned(), ..Table::default() };
        now.insert("cct", "one", figures);
        let mut before = Table { compiler: "old".to_owned(), ..now.clone() };
        before.insert("cct", "two", figures);
        let path = Path::new("boards.toml");
        assert!(compare(&before, &now, false, path).is_ok());
        let error = compare(&before, &now, true, path).unwrap_err();
        assert!(error.to_string().contains("cct on two"), "{error}");
        now.insert("cct", "one", Figures { code_bytes: 102, ..figures });
        let error = compare(&before, &now, false, path).unwrap_err();
        assert!(error.to_string().contains("code_bytes 100 -> 102"), "{error}");
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        let help = help.unwrap_or_default();
        assert!(help.contains("--update --table boards.toml") && help.contains("`old`"), "{help}");
        let error = compare(&Table::default(), &now, false, path).unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("no boards.toml yet") && !help.contains("``"), "{help}");
    }

    #[test]
    fn an_update_of_some_rows_keeps_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("boards.toml");
        let figures = |stack_bytes| Figures {
            instructions: 1,
            arena_bytes: 1,
            stack_bytes,
            code_bytes: 1,
            engine_code_bytes: 1,
        };
        let (mut before, mut now) = (Table::default(), Table::default());
        before.insert("cct", "one", figures(1));
        before.insert("cct", "two", figures(1));
        now.insert("cct", "two", figures(2));
        update(before.clone(), now.clone(), false, &path).unwrap();
        let kept = Table::read(&path).unwrap();
        assert_eq!(kept.get("cct", "one"), Some(&figures(1)));
        assert_eq!(kept.get("cct", "two"), Some(&figures(2)));
        // What stays would pass for the other compiler's.
        let other = Table { compiler: "other".to_owned(), ..now.clone() };
        assert!(update(before.clone(), other.clone(), false, &path).is_err());
        assert_eq!(Table::read(&path).unwrap(), kept);
        update(before, other.clone(), true, &path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), other);
    }
}
