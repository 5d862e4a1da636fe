//! The camera's own program, whose standard output is the stream.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

/// How long a program may take to end, by itself or once it is killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(10);

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

/// What is to be started.
struct Program {
    path: PathBuf,
    command: Command,
    /// What shows the cameras that there are.
    list: String,
    range: Option<Range>,
}

struct Running {
    program: String,
    list: String,
    /// Until it has ended.
    child: Mutex<Option<Child>>,
    /// Its last words.
    said: Arc<Mutex<VecDeque<String>>>,
    /// What hears them.
    listener: JoinHandle<()>,
}

impl Camera {
    /// Starts the program of a source that has one.
    pub(crate) fn start(args: &Args) -> Result<Option<Started>, Error> {
        let Program { path, mut command, list, range } = match &args.source {
            Source::Rpicam => rpicam(args)?,
            Source::V4l2(device) => webcam(device, args)?,
            Source::File(_) | Source::Stdin => return Ok(None),
        };
        let program = path.to_string_lossy().into_owned();
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
        let said = Arc::<Mutex<VecDeque<String>>>::default();
        let heard = Arc::clone(&said);
        let listener =
            thread::spawn(move || for_lines(stderr, |line| keep(&mut lock(&heard), line)));
        let child = Mutex::new(Some(child));
        let running = Arc::new(Running { program, list, child, said, listener });
        Ok(Some(Started { camera: Self { running }, stream, range }))
    }

    /// Why its stream has ended after so many frames.
    pub(crate) fn ended(&self, frames: u64) -> Error {
        let status = self.running.end(PATIENCE);
        let said = self.running.quoted("it");
        let status = status.map_or("it closed its output".to_owned(), |status| status.to_string());
        let Running { program, list, .. } = &*self.running;
        Error::CameraEnded { program: program.clone(), list: list.clone(), frames, status, said }
    }

    /// Ends the program; its last words, as a message's end.
    pub(crate) fn last_words(&self) -> String {
        self.stop();
        self.running.quoted("its program")
    }

    /// Ends the program.
    pub(crate) fn stop(&self) {
        let _ = self.running.end(Duration::ZERO);
    }
}

impl Running {
    /// Waits for the end, then enforces it; the status if it ended by itself.
    fn end(&self, patience: Duration) -> Option<ExitStatus> {
        let mut child = lock(&self.child).take()?;
        let status = end_of(&mut child, patience);
        // What a script has started ends with it. All fail for what has ended already, which is what is
        // wanted.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.kill();
        // One that is stuck in a driver does not end, and is not waited for.
        let _ = end_of(&mut child, PATIENCE);
        status
    }

    fn quoted(&self, who: &str) -> String {
        let until = Instant::now() + PATIENCE;
        // Somebody else may still have the other end of its pipe.
        while !self.listener.is_finished() && Instant::now() < until {
            thread::sleep(PAUSE);
        }
        quoted(who, &lock(&self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end(Duration::ZERO);
    }
}

/// A program's exit status, unless it takes too long to end.
fn end_of(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => thread::sleep(PAUSE),
            status => return status.ok().flatten(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rpicam(args: &Args) -> Result<Program, Error> {
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
    let path = installed(
        &["rpicam-vid", "libcamera-vid"],
        "Raspberry Pi OS: sudo apt install rpicam-apps. Frames can also come from a webcam, --source \
         v4l2:/dev/video0, a file or a pipe; see --help",
    )?;
    let mut command = Command::new(&path);
    command.args(["--timeout", "0", "--nopreview", "--codec", codec, "--output", "-"]);
    command.args(["--width", &args.size.width.to_string()]);
    command.args(["--height", &args.size.height.to_string()]);
    command.args(["--framerate", &args.fps.unwrap_or(RATE).to_string(), "--flush"]);
    let list = format!("{} --list-cameras", path.display());
    Ok(Program { path, command, list, range: None })
}

fn webcam(device: &Path, args: &Args) -> Result<Program, Error> {
    let path = installed(&["v4l2-ctl"], "Raspberry Pi OS: sudo apt install v4l-utils")?;
    let range = v4l2::set(&path, device, args)?;
    // Its output is one of the C library, which keeps what does not fill a block until the next frame.
    let mut command = match found(&["stdbuf"]) {
        Some(stdbuf) => {
            let mut command = Command::new(stdbuf);
            command.arg("-o0").arg(&path);
            command
        }
        None => Command::new(&path),
    };
    command.arg("--device").arg(device).args(["--stream-mmap", "--stream-to=-"]);
    let list = format!("{} --list-devices", path.display());
    Ok(Program { path, command, list, range })
}

fn no_rgb(source: &str) -> Error {
    Error::Usage {
        what: format!("--format rgb888: --source {source} does not send it"),
        help: "leave --format out".to_owned(),
    }
}

/// The first of these programs that there is.
fn installed(names: &[&str], install: &'static str) -> Result<PathBuf, Error> {
    found(names).ok_or_else(|| Error::NoCamera { looked: names.join(" and "), install })
}

fn found(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = || env::split_paths(&path);
    let mut found = names.iter().flat_map(|name| places().map(move |dir| dir.join(name)));
    found.find(|program| program.is_file())
}

/// What a program said, as a message's end.
pub(crate) fn quoted(who: &str, lines: &VecDeque<String>) -> String {
    match lines.len() {
        0 => format!("; {who} said nothing"),
        _ => lines.iter().fold(format!("; {who} said:"), |said, line| said + "\n  " + line),
    }
}

/// The last lines that a program says.
pub(crate) fn last_lines(stderr: impl Read) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    for_lines(stderr, |line| keep(&mut lines, line));
    lines
}

fn for_lines(stderr: impl Read, mut hear: impl FnMut(&str)) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        hear(String::from_utf8_lossy(&line).trim_end());
    }
}

/// Adds a line, in the place of the oldest if there are many.
fn keep(lines: &mut VecDeque<String>, line: &str) {
    // `v4l2-ctl` draws an arrow for each frame, and says the rate behind them.
    let news = line.trim_start_matches('<');
    if news.len() < line.len() && (news.is_empty() || news.contains(" fps")) {
        return;
    }
    if lines.len() == LINES {
        lines.pop_front();
    }
    lines.push_back(news.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(end_of(&mut child, Duration::from_millis(30)), None);
        child.kill().unwrap();
        assert!(end_of(&mut child, PATIENCE).is_some());
    }

    #[test]
    fn the_last_lines_are_news() {
        let said = "old\n1\n<<<< 30.00 fps\n<<<\n<<VIDIOC_DQBUF: failed\n3\n4\n5\n<6 \n";
        let lines = last_lines(said.as_bytes());
        assert_eq!(lines, ["1", "VIDIOC_DQBUF: failed", "3", "4", "5", "6"]);
        assert_eq!(quoted("it", &VecDeque::new()), "; it said nothing");
    }
}
