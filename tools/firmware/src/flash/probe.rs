//! A debug probe, by the program `probe-rs`.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::board::Board;
use crate::error::Error;

/// The program.
const PROGRAM: &str = "probe-rs";
/// How to get it.
const INSTALL: &str = "install it: cargo install probe-rs-tools --locked (or \
    https://probe.rs/docs/getting-started/installation)";

/// A board behind a probe.
pub(super) struct Probe<'c> {
    board: &'static Board,
    chip: &'c str,
}

impl<'c> Probe<'c> {
    /// Looks for the program and for a probe.
    pub(super) fn find(board: &'static Board, chip: &'c str) -> Result<Self, Error> {
        let output = Command::new(PROGRAM).arg("list").stdin(Stdio::null()).output();
        let output = output.map_err(|reason| match reason.kind() {
            ErrorKind::NotFound => Error::NoBoard {
                board: board.name,
                reason: format!("the program `{PROGRAM}` is not installed"),
                help: INSTALL.to_owned(),
            },
            _ => Error::Program { program: PROGRAM.to_owned(), reason },
        })?;
        // A line for each, `[0]: J-Link (...)`.
        let said = String::from_utf8_lossy(&output.stdout);
        if said.lines().any(|line| line.trim_start().starts_with('[')) {
            return Ok(Self { board, chip });
        }
        let help = "connect a debug probe by USB, with its SWD lines to the board, and the board's \
                    power; on Linux probe-rs needs udev rules: https://probe.rs/docs/getting-started/probe-setup";
        Err(Error::NoBoard {
            board: board.name,
            reason: format!("`{PROGRAM} list` finds no debug probe"),
            help: help.to_owned(),
        })
    }

    /// Writes a program and reads it back.
    pub(super) fn program(&self, program: &Path) -> Result<(), Error> {
        self.run("download", &[], Some(program))
    }

    /// Writes bytes to an address and reads them back.
    pub(super) fn bytes(&self, file: &Path, address: u32) -> Result<(), Error> {
        let address = format!("{address:#x}");
        let options = ["--binary-format", "bin", "--base-address", &address];
        self.run("download", &options, Some(file))
    }

    /// Starts what has been written.
    pub(super) fn reset(&self) -> Result<(), Error> {
        self.run("reset", &[], None)
    }

    fn run(&self, what: &str, options: &[&str], file: Option<&Path>) -> Result<(), Error> {
        let mut command = Command::new(PROGRAM);
        command.args([what, "--chip", self.chip, "--non-interactive"]).args(options);
        if let Some(file) = file {
            command.arg("--verify").arg(file);
        }
        // Its progress is for people, so it has the terminal.
        let status = command.stdin(Stdio::null()).status();
        let status =
            status.map_err(|reason| Error::Program { program: PROGRAM.to_owned(), reason })?;
        if status.success() {
            return Ok(());
        }
        Err(Error::NotFlashed {
            board: self.board.name,
            reason: format!("`{PROGRAM} {what}` failed ({status}), see above"),
            help: format!("the command was: {command:?}; another chip is named with --chip NAME"),
        })
    }
}
