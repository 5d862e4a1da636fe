//! The camera's own program, whose standard output is the stream.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cli::{Args, Source};
use crate::error::Error;
use crate::frame::{Format, Range};
use crate::v4l2;

/// Lines of complaints that are kept.
const LINES: usize = 6;

/// Frames a second where nobody asks for others.
const RATE: f64 = 30.0;

/// The image processor of the Raspberry Pi 5 pads rows to so many pixels, those before it to half as
/// many, which a bare stream does not tell.
const ROW: usize = 128;

/// How long a program may take to end after its stream has: tries, and the time between them.
const PATIENCE: (u32, Duration) = (100, Duration::from_millis(20));

/// The running program. It ends with its last owner.
#[derive(Clone)]
pub(crate) struct Camera {
    running: Arc<Running>,
}

/// What has been started.
pub(crate) struct Started {
    /// The program.
    pub camera: Camera,
    /// What it sends.
    pub stream: ChildStdout,
    /// The values of YUV, if it says them.
    pub range: Option<Range>,
}

struct Running {
    program: String,
    /// Until it has ended.
    child: Mutex<Option<Child>>,
    complaints: Mutex<Option<JoinHandle<VecDeque<String>>>>,
}

impl Camera {
    /// Starts the program of a source that has one.
    pub(crate) fn start(args: &Args) -> Result<Option<Started>, Error> {
        let (mut command, range) = match &args.source {
            Source::Rpicam => (rpicam(args)?, None),
            Source::V4l2(device) => webcam(device, args)?,
            Source::File(_) | Source::Stdin => return Ok(None),
        };
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .args(&args.camera_arg)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for this program, which then ends the camera's.
            .process_group(0);
        let mut child =
            command.spawn().map_err(|reason| Error::Start { program: program.clone(), reason })?;
        let stream = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let complaints = thread::spawn(move || last_lines(stderr));
        let running = Running {
            program,
            child: Mutex::new(Some(child)),
            complaints: Mutex::new(Some(complaints)),
        };
        Ok(Some(Started { camera: Self { running: Arc::new(running) }, stream, range }))
    }

    /// Why its stream has ended after so many frames.
    pub(crate) fn ended(&self, frames: u64) -> Error {
        let status = self.running.end(PATIENCE);
        let complaints = self.running.complaints.lock();
        let complaints = complaints.unwrap_or_else(PoisonError::into_inner).take();
        let lines = complaints.and_then(|reader| joined(reader, PATIENCE)).unwrap_or_default();
        let said = quoted(&lines);
        let status = status.map_or("it closed its output".to_owned(), |status| status.to_string());
        Error::CameraEnded { program: self.running.program.clone(), frames, status, said }
    }

    /// Ends the program.
    pub(crate) fn stop(&self) {
        let _ = self.running.end((0, Duration::ZERO));
    }
}

impl Running {
    /// Waits for the end, then enforces it; the status if it ended by itself.
    fn end(&self, (tries, pause): (u32, Duration)) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut status = None;
        for _ in 0..tries {
            status = child.try_wait().ok().flatten();
            if status.is_some() {
                break;
            }
            thread::sleep(pause);
        }
        // What a script has started ends with it. All fail for what has ended already, which is what is
        // wanted.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.kill();
        let _ = child.wait();
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end((0, Duration::ZERO));
    }
}

/// What a thread returns, unless that takes too long.
fn joined<T>(thread: JoinHandle<T>, (tries, pause): (u32, Duration)) -> Option<T> {
    for _ in 0..tries {
        if thread.is_finished() {
            break;
        }
        thread::sleep(pause);
    }
    if thread.is_finished() { thread.join().ok() } else { None }
}

fn rpicam(args: &Args) -> Result<Command, Error> {
    if args.format() == Format::Yuv420 && !args.size.width.is_multiple_of(ROW) {
        let width = args.size.width.next_multiple_of(ROW);
        return Err(Error::Usage {
            what: format!(
                "--size {}: the camera pads the rows of YUV 4:2:0 to a multiple of {ROW} pixels",
                args.size
            ),
            help: format!("take --size {width}x{} or --format mjpeg", args.size.height),
        });
    }
    let codec = match args.format() {
        Format::Yuv420 => "yuv420",
        Format::Mjpeg => "mjpeg",
        Format::Rgb888 => return Err(no_rgb("rpicam")),
    };
    let program = installed(
        &["rpicam-vid", "libcamera-vid"],
        "Raspberry Pi OS: sudo apt install rpicam-apps. Frames can also come from a webcam, --source \
         v4l2:/dev/video0, a file or a pipe; see --help",
    )?;
    let mut command = Command::new(program);
    command.args(["--timeout", "0", "--nopreview", "--codec", codec, "--output", "-"]);
    command.args(["--width", &args.size.width.to_string()]);
    command.args(["--height", &args.size.height.to_string()]);
    command.args(["--framerate", &args.fps.unwrap_or(RATE).to_string(), "--flush"]);
    Ok(command)
}

fn webcam(device: &Path, args: &Args) -> Result<(Command, Option<Range>), Error> {
    let program = installed(&["v4l2-ctl"], "Raspberry Pi OS: sudo apt install v4l-utils")?;
    let range = v4l2::set(&program, device, args)?;
    let mut command = Command::new(program);
    command.arg("--device").arg(device).args(["--stream-mmap", "--stream-to=-"]);
    Ok((command, range))
}

fn no_rgb(source: &str) -> Error {
    Error::Usage {
        what: format!("--format rgb888: --source {source} does not send it"),
        help: "leave --format out".to_owned(),
    }
}

/// The first of these programs that there is.
fn installed(names: &[&str], install: &'static str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = || env::split_paths(&path);
    let found = names.iter().flat_map(|name| places().map(move |dir| dir.join(name)));
    let looked = names.join(" and ");
    found.into_iter().find(|program| program.is_file()).ok_or(Error::NoCamera { looked, install })
}

/// What a program said, as a message's end.
pub(crate) fn quoted(lines: &VecDeque<String>) -> String {
    match lines.len() {
        0 => ", and it said nothing".to_owned(),
        _ => lines.iter().fold("; it said:".to_owned(), |said, line| said + "\n  " + line),
    }
}

/// The last lines that a program says.
pub(crate) fn last_lines(stderr: impl Read) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    lines
}
