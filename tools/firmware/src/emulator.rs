//! Running a program on an emulated board.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::board::Board;
use crate::error::Error;

/// Which overlays the firmware sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlays {
    /// That of the last picture.
    Last,
    /// All.
    All,
}

/// How a run ended.
pub(crate) struct End {
    /// The firmware's exit status.
    pub status: ExitStatus,
    /// What the emulator itself had to say.
    pub complaints: String,
}

/// The file in the working folder that the firmware writes overlays to.
pub(crate) const OVERLAY_FILE: &str = "overlay.rgb565";

/// The file in the working folder with the model that is no part of the firmware.
pub(crate) const REGION_FILE: &str = "region.bin";

/// A running emulator. Dropping it ends it.
pub(crate) struct Emulator {
    child: Child,
    output: Receiver<Vec<u8>>,
    complaints: Option<JoinHandle<String>>,
    deadline: Instant,
}

/// Makes sure that the emulator is there before anything slow is done for it.
pub(crate) fn require(board: &'static Board) -> Result<(), Error> {
    let emulator = board.emulation()?.emulator;
    let mut command = Command::new(emulator);
    let run = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.map(|_| ()).map_err(|reason| cannot_start(emulator, reason))
}

fn cannot_start(emulator: &'static str, reason: std::io::Error) -> Error {
    match reason.kind() {
        ErrorKind::NotFound => Error::NoEmulator { emulator },
        _ => Error::Program { program: emulator.to_owned(), reason },
    }
}

/// What to do next.
pub(crate) enum Event {
    /// The firmware has written something.
    Output(Vec<u8>),
    /// It has ended.
    Ended(End),
    /// It has not ended in time.
    TimedOut,
}

impl Emulator {
    /// Starts a program with `folder` as its working folder, with what [`REGION_FILE`] in there holds
    /// in the board's memory for a model if there is one.
    pub(crate) fn start(
        board: &'static Board,
        program: &Path,
        folder: &Path,
        region: bool,
        overlays: Overlays,
        limit: Duration,
    ) -> Result<Self, Error> {
        let overlays = match overlays {
            Overlays::Last => "last",
            Overlays::All => "all",
        };
        let semihosting = format!("enable=on,target=native,arg=picovit,arg=overlay={overlays}");
        let emulation = board.emulation()?;
        let mut command = Command::new(emulation.emulator);
        if region {
            let address = board.region.address;
            let loader = format!("loader,file={REGION_FILE},addr={address:#x},force-raw=on");
            command.args(["-device", &loader]);
        }
        let child = command
            .args(["-machine", board.name, "-display", "none", "-serial", "none"])
            .args(["-monitor", "none", "-semihosting-config", &semihosting])
            .args(["-icount", &format!("shift={}", emulation.icount_shift)])
            .arg("-kernel")
            .arg(program)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|reason| cannot_start(emulation.emulator, reason))?;

        let (sender, output) = mpsc::channel();
        let mut stdout = child.stdout.take().expect("piped");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().expect("piped");
        let complaints = thread::spawn(move || {
            let mut bytes = Vec::new();
            // What can be read before an error is all there is to tell.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).trim().to_owned()
        });
        let deadline = Instant::now() + limit;
        Ok(Self { child, output, complaints: Some(complaints), deadline })
    }

    /// Waits for output or the end.
    pub(crate) fn next(&mut self) -> Result<Event, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.output.recv_timeout(left) {
            Ok(bytes) => Ok(Event::Output(bytes)),
            Err(RecvTimeoutError::Timeout) => Ok(Event::TimedOut),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().map_err(|reason| Error::Program {
                    program: "the emulator".to_owned(),
                    reason,
                })?;
                let complaints = self.complaints.take().and_then(|thread| thread.join().ok());
                Ok(Event::Ended(End { status, complaints: complaints.unwrap_or_default() }))
            }
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Nothing is lost if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
