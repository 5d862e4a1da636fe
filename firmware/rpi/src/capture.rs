//! The thread that reads frames.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::camera::{Camera, Started};
use crate::cli::{Args, Source};
use crate::error::Error;
use crate::frame::{Format, Picture, Range, Size};
use crate::huffman::with_tables;
use crate::say::say;
use crate::slot::Slot;
use crate::stream::Frames;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 16;

/// Damaged frames in a row, of a camera, that are a fault and no accident.
pub(crate) const DAMAGED: u32 = 30;

/// A frame of the stream.
#[derive(Debug)]
pub(crate) struct Captured {
    /// Its number, from 0.
    pub number: u64,
    /// What it shows.
    pub picture: Picture,
}

/// Where frames come from, opened.
pub(crate) struct Capture {
    frames: Frames<Box<dyn BufRead + Send>>,
    /// The program behind it.
    camera: Option<Camera>,
    /// The file to begin again with.
    again: Option<PathBuf>,
    /// Time between frames.
    pace: Option<Duration>,
    every_frame: bool,
    template: Template,
}

/// What is the same of every picture.
struct Template {
    format: Format,
    size: Size,
    range: Range,
}

/// How a source is called in messages.
pub(crate) fn name(source: &Source) -> String {
    match source {
        Source::Rpicam => "the camera".to_owned(),
        Source::V4l2(device) => device.display().to_string(),
        Source::File(path) => path.display().to_string(),
        Source::Stdin => "the standard input".to_owned(),
    }
}

impl Capture {
    /// Opens the source.
    pub(crate) fn open(args: &Args) -> Result<Self, Error> {
        let file = match &args.source {
            Source::File(path) => Some(path.clone()),
            _ => None,
        };
        if args.repeat && file.is_none() {
            return Err(Error::Usage {
                what: "--loop: only a file can begin again".to_owned(),
                help: "leave it out, or name a file with --source file:PATH".to_owned(),
            });
        }
        let (camera, range, stream): (_, _, Box<dyn BufRead + Send>) = match Camera::start(args)? {
            Some(Started { camera, stream, range }) => {
                (Some(camera), range, Box::new(BufReader::with_capacity(BUFFER, stream)))
            }
            None => (None, None, open(file.as_ref())?),
        };
        let range = args.range(range);
        let template = Template { format: args.format(), size: args.size, range };
        let (format, size) = (template.format, template.size);
        let frames = Frames::new(stream, name(&args.source), format, size);
        let pace =
            args.fps.filter(|_| file.is_some()).map(|rate| Duration::from_secs_f64(1.0 / rate));
        let again = file.filter(|_| args.repeat);
        Ok(Self { frames, camera, again, pace, every_frame: args.every_frame(), template })
    }

    /// The program that is to be ended in the end.
    pub(crate) fn camera(&self) -> Option<Camera> {
        self.camera.clone()
    }

    /// Reads on a thread of its own. Nobody waits for it: it may hang in a device for ever.
    pub(crate) fn start(self, slot: Arc<Slot<Captured>>) -> Result<(), Error> {
        let run = move || {
            let end = self.run(&slot);
            slot.end(end);
        };
        let started = thread::Builder::new().name("capture".to_owned()).spawn(run);
        started.map(drop).map_err(|reason| Error::System { what: "a thread", reason })
    }

    fn run(mut self, slot: &Slot<Captured>) -> Result<(), Error> {
        let mut due = Instant::now();
        let mut damaged = 0;
        // Frames before the file began again.
        let mut before = 0;
        loop {
            let number = self.frames.count();
            let next = self.frames.next();
            let bytes = match (next, &self.camera) {
                (Ok(Some(bytes)), _) => bytes,
                // However it ends: that the camera's program did is the cause.
                (Ok(None) | Err(Error::Truncated { .. }), Some(camera)) => {
                    return Err(camera.ended(number));
                }
                (Ok(None), None) if number == before => return Err(self.empty()),
                (Ok(None), None) => match &self.again {
                    Some(_) => {
                        before = number;
                        self.frames.continue_with(open(self.again.as_ref())?);
                        continue;
                    }
                    None => return Ok(()),
                },
                (Err(error @ Error::Damaged { .. }), _)
                    if !self.every_frame && damaged + 1 < DAMAGED =>
                {
                    damaged += 1;
                    say(format_args!("warning: {error}"));
                    continue;
                }
                (Err(error), _) => return Err(error),
            };
            damaged = 0;
            let Template { format, size, range } = self.template;
            let bytes = if format == Format::Mjpeg { with_tables(bytes) } else { bytes };
            let picture = Picture { format, size, range, bytes };
            let captured = Captured { number, picture };
            if let Some(pace) = self.pace {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due += pace;
            }
            let wanted =
                if self.every_frame { slot.put(captured) } else { slot.put_newest(captured) };
            if !wanted {
                return Ok(());
            }
        }
    }

    fn empty(&self) -> Error {
        Error::Empty { name: self.frames.name().to_owned() }
    }
}

/// A file or the standard input.
fn open(path: Option<&PathBuf>) -> Result<Box<dyn BufRead + Send>, Error> {
    let Some(path) = path else {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
    };
    let failed = |reason| Error::Open { path: path.clone(), reason };
    let file = File::open(path).map_err(failed)?;
    // Opening a folder succeeds, reading it does not.
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}
