//! A debug probe, by the program `probe-rs`.

use std::env;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::board::Board;
use crate::error::Error;

/// The program.
const PROGRAM: &str = "probe-rs";
/// Where it looks for the probe to take, if there are several.
const NAMED: &str = "PROBE_RS_PROBE";
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
        let none = |reason: String, help: &str| {
            Err(Error::NoBoard { board: board.name, reason, help: help.to_owned() })
        };
        // A line for each, `[0]: J-Link (...)`.
        let said = String::from_utf8_lossy(&output.stdout);
        let probes: Vec<&str> =
            said.lines().map(str::trim).filter(|line| line.starts_with('[')).collect();
        match probes.len() {
            1 => return Ok(Self { board, chip }),
            2.. if env::var_os(NAMED).is_some() => return Ok(Self { board, chip }),
            // Without somebody to ask, probe-rs takes none of them.
            2.. => {
                let reason = format!(
                    "`{PROGRAM} list` finds {} debug probes:\n{}",
                    probes.len(),
                    probes.join("\n")
                );
                let help = format!(
                    "name one in the environment, {NAMED}=VID:PID:SERIAL as they are in the list, or \
                     unplug the others"
                );
                return none(reason, &help);
            }
            0 => {}
        }
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let reason =
                format!("`{PROGRAM} list` failed ({}): {}", output.status, complaint.trim());
            return none(reason, &format!("if `{PROGRAM}` itself is broken, {INSTALL}"));
        }
        let help = "connect a debug probe by USB, with its SWD lines to the board, and the board's \
                    power; on Linux probe-rs needs udev rules: https://probe.rs/docs/getting-started/probe-setup";
        none(format!("`{PROGRAM} list` finds no debug probe"), help)
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
