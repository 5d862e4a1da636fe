//! ONNX Runtime, in a Python process that waits for its turn.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::peer::Peer;

const SCRIPT: &str = include_str!("onnxruntime_peer.py");

/// Number format of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Float,
    Int8,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Float { "float" } else { "int8" })
    }
}

pub struct OnnxRuntime {
    name: String,
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    logits: Vec<Vec<f32>>,
}

/// What the script says first.
#[derive(Deserialize)]
struct Ready {
    version: String,
    logits: Vec<Vec<f32>>,
}

impl OnnxRuntime {
    /// Starts it on the `model.onnx` and `images.f32` of a folder.
    pub fn start(python: &Path, folder: &Path, mode: Mode) -> Result<Self> {
        let command = format!("cannot run {}", python.display());
        let mut process = Command::new(python)
            .args(["-c", SCRIPT, &mode.to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .into_diagnostic()
            .wrap_err(command)?;
        let questions = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let name = String::new();
        let mut peer = Self { name, process, questions, answers, logits: vec![] };
        let ready: Ready = peer.answer().map_err(|error| {
            miette!(
                help = format!(
                    "its message is above; the packages it needs: {} -m pip install onnx onnxruntime. \
                     --python names another Python, --peers chooses peers",
                    python.display()
                ),
                "ONNX Runtime ({mode}) did not start: {error}"
            )
        })?;
        peer.name = format!("ONNX Runtime {} {mode}", ready.version);
        peer.logits = ready.logits;
        Ok(peer)
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line).into_diagnostic()?;
        if line.is_empty() {
            return Err(miette!("its process ended"));
        }
        serde_json::from_str(&line).into_diagnostic()
    }
}

impl Peer for OnnxRuntime {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn logits(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(self.logits.clone())
    }

    fn time(&mut self, runs: usize) -> Result<Vec<Duration>> {
        writeln!(self.questions, "{runs}").into_diagnostic()?;
        let times: Vec<u64> = self.answer()?;
        Ok(times.into_iter().map(Duration::from_nanos).collect())
    }
}

impl Drop for OnnxRuntime {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
