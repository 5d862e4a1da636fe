//! What can go wrong, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error as ThisError;

/// Why the program ended early.
#[derive(Debug, ThisError, Diagnostic)]
pub(crate) enum Error {
    /// Arguments that do not go together.
    #[error("{what}")]
    #[diagnostic(help("{help}"))]
    Usage { what: String, help: String },
    /// The model cannot be used.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help(
        "make an artifact from a checkpoint, on the machine that has the repository: \
         cargo tools quantize best.mpk --target aarch64 --out model.pvit \
         (before the Raspberry Pi 5 --target cortex-a53); \
         and name it with --model FILE.pvit"
    ))]
    Model { path: PathBuf, reason: String },
    /// A recorded stream cannot be opened.
    #[error("cannot open the stream {}: {reason}", path.display())]
    #[diagnostic(help("--source file:PATH names a file that can be read"))]
    Open { path: PathBuf, reason: io::Error },
    /// None of the camera's programs is installed.
    #[error("no program for the camera is installed: looked for {looked}")]
    #[diagnostic(help("{install}"))]
    NoCamera { looked: String, install: &'static str },
    /// The camera's program cannot be started.
    #[error("cannot run `{program}`: {reason}")]
    #[diagnostic(help("run it by hand to see what is wrong with it: {program} --version"))]
    Start { program: String, reason: io::Error },
    /// A camera of the kernel's video interface sends something else.
    #[error("{} was asked for {asked}: {answer}", device.display())]
    #[diagnostic(help(
        "`v4l2-ctl --list-devices` shows what is connected, `v4l2-ctl --device {} \
         --list-formats-ext` what it offers: choose with --source, --format, --size and --fps",
        device.display()
    ))]
    CameraFormat { device: PathBuf, asked: String, answer: String },
    /// Threads cannot be started or signals not be heard.
    #[error("the system refuses {what}: {reason}")]
    #[diagnostic(help("too many processes or open files; see `ulimit -a`"))]
    System { what: &'static str, reason: io::Error },
    /// The stream ends within a frame.
    #[error(
        "{name} ends within frame {frame}: {found} of {expected} bytes (frames are counted from 0)"
    )]
    #[diagnostic(help("{help}"))]
    Truncated { name: String, frame: u64, found: usize, expected: String, help: String },
    /// A stream without one frame.
    #[error("{name} is empty: it ends before the first frame")]
    #[diagnostic(help("record it anew, or look at what should have written it"))]
    Empty { name: String },
    /// The stream is not what it should be.
    #[error("{name}, frame {frame}: {reason} (frames are counted from 0)")]
    #[diagnostic(help("--format and --size must be those of the stream; else record it anew"))]
    Damaged { name: String, frame: u64, reason: String },
    /// The stream cannot be read.
    #[error("cannot read {name} after {frames} frames: {reason}")]
    #[diagnostic(help("look at the device or the disk it comes from: dmesg | tail"))]
    Read { name: String, frames: u64, reason: io::Error },
    /// The camera's program ended by itself.
    #[error("the camera's program `{program}` ended after {frames} frames: {status}{said}")]
    #[diagnostic(help(
        "nobody asked it to. `{list}` shows what is connected; another program may be using the camera"
    ))]
    CameraEnded { program: String, list: String, frames: u64, status: String, said: String },
    /// The source sends nothing.
    #[error("no frame from {name} for {seconds} seconds, after {frames} frames{said}")]
    #[diagnostic(help("check the camera's cable and power, or wait longer with --stall SECONDS"))]
    Stalled { name: String, frames: u64, seconds: u64, said: String },
    /// The port of the web page belongs to somebody else.
    #[error("cannot show the web page at {address}: the port is in use")]
    #[diagnostic(help(
        "choose another with --listen {}, or end the program that has it: ss -ltnp 'sport = :{}'",
        SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024)), address.port()
    ))]
    PortInUse { address: SocketAddr },
    /// The web page cannot be served.
    #[error("cannot show the web page at {address}: {reason}")]
    #[diagnostic(help(
        "--listen takes an address of this machine (`ip address` lists them) and a port from 1024 up"
    ))]
    Listen { address: SocketAddr, reason: String },
    /// The framebuffer cannot be used.
    #[error("framebuffer {}: {reason}", path.display())]
    #[diagnostic(help("{help}"))]
    Framebuffer { path: PathBuf, reason: String, help: &'static str },
    /// The standard output cannot be written.
    #[error("cannot write the results: {reason}")]
    #[diagnostic(help("is the disk full that they are redirected to?"))]
    Write { reason: io::Error },
}

impl Error {
    /// What the shell sees, as `--help` lists it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::System { .. } => 1,
            Self::Usage { .. } => 2,
            Self::Model { .. } => 3,
            Self::Open { .. }
            | Self::NoCamera { .. }
            | Self::Start { .. }
            | Self::CameraFormat { .. } => 4,
            Self::Truncated { .. }
            | Self::Empty { .. }
            | Self::Damaged { .. }
            | Self::Read { .. } => 5,
            Self::CameraEnded { .. } | Self::Stalled { .. } => 6,
            Self::PortInUse { .. }
            | Self::Listen { .. }
            | Self::Framebuffer { .. }
            | Self::Write { .. } => 7,
        }
    }
}
