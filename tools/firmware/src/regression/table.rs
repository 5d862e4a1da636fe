//! The table of figures and what differs from it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::output::{grouped, write};
use crate::paths::{root, shown};

/// A figure may grow by so many percent.
pub(super) const TOLERANCE: u64 = 1;

/// What stands above the table.
const HEADING: &str = "\
# Figures of the shipped models on the emulated boards: int8, weights packed for the board, one picture;
# in f16 (MODEL-f16) on a Cortex-M4F.
# Made by `cargo firmware regression --update`; `cargo firmware regression` fails where one grows by
# more than 1 %.

";

/// The table that is taken unless told otherwise.
pub(super) fn default_path() -> PathBuf {
    root().join("tests/regression/boards.toml")
}

/// The command that writes a table.
pub(super) fn update(path: &Path) -> String {
    let command = "cargo firmware regression --update".to_owned();
    if path == default_path() { command } else { format!("{command} --table {}", shown(path)) }
}

/// The figures of one model on one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figures {
    /// Instructions per inference.
    pub instructions: u64,
    /// The engine's working memory.
    pub arena_bytes: u64,
    /// Most bytes of stack in use at any time.
    pub stack_bytes: u64,
    /// All machine code.
    pub code_bytes: u64,
    /// The engine's share of it.
    pub engine_code_bytes: u64,
}

impl Figures {
    /// The figures by name.
    pub(super) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("instructions", self.instructions),
            ("arena_bytes", self.arena_bytes),
            ("stack_bytes", self.stack_bytes),
            ("code_bytes", self.code_bytes),
            ("engine_code_bytes", self.engine_code_bytes),
        ]
    }
}

/// Figures by model and board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// The compiler of the firmware: another one makes other code.
    pub compiler: String,
    /// The rows.
    pub models: BTreeMap<String, BTreeMap<String, Figures>>,
}

impl Table {
    /// Reads a table; there need not be one.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(Error::file("read", path))?,
        };
        toml::from_str(&text).map_err(|error| Error::Table {
            path: path.to_owned(),
            reason: error.to_string(),
            update: update(path),
        })
    }

    /// Writes it.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |error: toml::ser::Error| Error::Table {
            path: path.to_owned(),
            reason: error.to_string(),
            update: update(path),
        };
        let text = toml::to_string_pretty(self).map_err(failed)?;
        write(path, (HEADING.to_owned() + &text).as_bytes())
    }

    /// The figures of a model on a board.
    pub(super) fn get(&self, model: &str, board: &str) -> Option<&Figures> {
        self.models.get(model)?.get(board)
    }

    /// Puts them in.
    pub(super) fn insert(&mut self, model: &str, board: &str, figures: Figures) {
        self.models.entry(model.to_owned()).or_default().insert(board.to_owned(), figures);
    }

    /// Every row: model, board, figures.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &str, &Figures)> {
        self.models.iter().flat_map(|(model, boards)| {
            boards.iter().map(move |(board, figures)| (model.as_str(), board.as_str(), figures))
        })
    }

    /// Where what was measured differs from this table.
    pub(super) fn differences<'a>(&'a self, measured: &'a Self) -> Vec<Difference<'a>> {
        let mut all = Vec::new();
        for (model, board, now) in measured.rows() {
            let Some(before) = self.get(model, board) else {
                all.push(Difference { model, board, change: Change::Missing });
                continue;
            };
            for ((figure, before), (_, now)) in before.named().into_iter().zip(now.named()) {
                if before != now {
                    let change = Change::Figure { figure, before, now };
                    all.push(Difference { model, board, change });
                }
            }
        }
        all
    }
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The table has no such row.
    Missing,
    /// A figure is another.
    Figure {
        /// Its name.
        figure: &'static str,
        /// That of the table.
        before: u64,
        /// That measured.
        now: u64,
    },
}

/// Something that differs from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference<'a> {
    /// The model.
    pub model: &'a str,
    /// The board.
    pub board: &'a str,
    /// What differs.
    pub change: Change,
}

impl Difference<'_> {
    /// Whether it is more than may be.
    pub(super) fn fails(&self) -> bool {
        match self.change {
            Change::Missing => true,
            Change::Figure { before, now, .. } => now * 100 > before * (100 + TOLERANCE),
        }
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: ", self.model, self.board)?;
        match self.change {
            Change::Missing => f.write_str("not in the table"),
            Change::Figure { figure, before, now } => {
                let percent = 100.0 * (now as f64 / before.max(1) as f64 - 1.0);
                let (before, now) = (grouped(before), grouped(now));
                write!(f, "{figure} {before} -> {now} ({percent:+.2} %)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        instructions: 32_544_540,
        arena_bytes: 30_272,
        stack_bytes: 3_000,
        code_bytes: 74_764,
        engine_code_bytes: 46_780,
    };

    fn table(figures: Figures) -> Table {
        let mut table = Table { compiler: "rustc 1.0.0".to_owned(), ..Table::default() };
        table.insert("cct", "mps2-an386", figures);
        table
    }

    #[test]
    fn each_figure_that_grows_by_more_than_a_percent_fails() {
        let before = table(FIGURES);
        let grown = |value: u64| value * 102 / 100;
        let worse = [
            Figures { instructions: grown(FIGURES.instructions), ..FIGURES },
            Figures { arena_bytes: grown(FIGURES.arena_bytes), ..FIGURES },
            Figures { stack_bytes: grown(FIGURES.stack_bytes), ..FIGURES },
            Figures { code_bytes: grown(FIGURES.code_bytes), ..FIGURES },
            Figures { engine_code_bytes: grown(FIGURES.engine_code_bytes), ..FIGURES },
        ];
        for (figures, (figure, value)) in worse.into_iter().zip(FIGURES.named()) {
            let now = table(figures);
            let [difference] = before.differences(&now)[..] else { panic!("{figure}") };
            assert!(difference.fails(), "{figure}");
            let text = difference.to_string();
            for part in ["cct", "mps2-an386", figure, &grouped(value), &grouped(grown(value))] {
                assert!(text.contains(part), "{text} lacks {part}");
            }
        }
    }

    #[test]
    fn what_shrinks_or_hardly_grows_is_shown_and_passes() {
        let before = table(FIGURES);
        assert_eq!(before.differences(&before), []);
        for stack_bytes in [1, 2_999, 3_001, 3_030] {
            let now = table(Figures { stack_bytes, ..FIGURES });
            let [difference] = before.differences(&now)[..] else { panic!("{stack_bytes}") };
            assert!(!difference.fails(), "{difference}");
        }
        let now = table(Figures { stack_bytes: 3_031, ..FIGURES });
        assert!(before.differences(&now)[0].fails());
    }

    #[test]
    fn a_missing_row_fails() {
        let now = table(FIGURES);
        let empty = Table::default();
        let [difference] = empty.differences(&now)[..] else { panic!("one difference") };
        assert!(difference.fails());
        assert_eq!(difference.to_string(), "cct on mps2-an386: not in the table");
    }

    #[test]
    fn tables_are_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/boards.toml");
        assert_eq!(Table::read(&path).unwrap(), Table::default());
        table(FIGURES).write(&path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table(FIGURES));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("[models.cct.mps2-an386]\ninstructions = 32544540\n"), "{text}");

        fs::write(&path, text.replace("stack_bytes", "stick_bytes")).unwrap();
        let error = Table::read(&path).unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        let command = format!("--update --table {}", path.display());
        assert!(help.contains(&command) && help.contains("--table FILE"), "{help}");
        let error = error.to_string();
        assert!(error.contains("boards.toml") && error.contains("stick_bytes"), "{error}");
        assert_eq!(update(&default_path()), "cargo firmware regression --update");
    }
}
