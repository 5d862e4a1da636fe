//! Runs of the firmware: the figures, and whether the board gives what the host gives.

use std::fs;
use std::path::Path;
use std::time::Duration;

use console::style;

use crate::BuildArgs;
use crate::board::{self, Board};
use crate::build::{self, Contents};
use crate::camera::Camera;
use crate::commands::{Work, folder, hint, stored};
use crate::elf::Sizes;
use crate::emulator::{self, Emulator, End, Event, OVERLAY_FILE, Overlays};
use crate::error::Error;
use crate::host::{self, Replay};
use crate::log::{self, Decoder, Done, Inference, Record, Span};
use crate::model::Artifact;
use crate::output::{bar, grouped};
use crate::overlay::Destination;
use crate::paths::shown;
use crate::pictures;
use crate::report::{Extra, Report};

/// What to run.
pub(crate) struct Request<'a> {
    /// Board, model, memory.
    pub build: &'a BuildArgs,
    /// Number of pictures.
    pub images: u32,
    /// Folder of the pictures, unless those that ship.
    pub frames: Option<&'a Path>,
    /// The camera that sees them, or the pictures as they are.
    pub camera: Option<Camera>,
    /// Where the display goes, if it is to be kept.
    pub overlay: Option<&'a Path>,
    /// Seconds the emulator may take.
    pub timeout: u64,
    /// No line for every picture.
    pub quiet: bool,
    /// Measure every operation.
    pub profile: bool,
}

/// What came of it.
pub(crate) struct Measured {
    /// The board.
    pub board: &'static Board,
    /// The figures.
    pub report: Report,
    /// The rest of them.
    pub extra: Extra,
    /// What operations took in every picture, where that was asked for.
    pub pictures: Vec<Picture>,
    /// The compiler.
    pub compiler: String,
    artifact: Artifact,
    disagreement: Option<Error>,
}

/// What the operations of one picture took.
pub(crate) struct Picture {
    /// When each began, in instructions since the start of the inference.
    pub starts: Vec<u64>,
    /// What surrounds them.
    pub span: Span,
}

impl Measured {
    /// The artifact.
    pub(crate) fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// # Errors
    /// If board and host disagree.
    pub(crate) fn agreement(self) -> Result<(), Error> {
        self.disagreement.map_or(Ok(()), Err)
    }
}

/// Builds the firmware with pictures, runs it, and compares it with the host.
///
/// # Errors
/// Whatever goes wrong, but not that board and host disagree: see [`Measured::agreement`].
pub(crate) fn measure(args: &Request<'_>) -> Result<Measured, Error> {
    let board = board::named(&args.build.board)?;
    let artifact = Artifact::find(args.build.model.as_deref())?;
    let model = artifact.model();
    emulator::require(board)?;
    hint(board, &artifact);

    // The classes of the pictures mean nothing to a model that was trained on something else.
    let known = artifact.dataset().is_none_or(|name| name.contains("fashion"));
    let labelled = args.frames.is_some() || (known && model.classes() == 10);
    let source = args.frames.map_or_else(pictures::shipped, Path::to_owned);
    let mut clip = pictures::clip(&source, args.images as usize, labelled)?;
    if let Some(camera) = args.camera {
        clip = camera.record(&clip, (model.height(), model.width()))?;
    }

    let folder = folder(board)?;
    let camera = args.camera.and_then(Camera::feature);
    let contents = Contents {
        model: stored("model", "pvit", artifact.bytes())?,
        clip: Some(stored("pictures", "clip", &clip)?),
        features: camera.into_iter().chain(args.profile.then_some("profile")).collect(),
    };
    let work = Work::new(&folder)?;
    let program = work.0.join("firmware.elf");
    let compiler = build::build(board, &artifact, &contents, args.build, &program)?;
    let sizes = Sizes::read(&program)?;

    let destination = args.overlay.map(Destination::new);
    let all = matches!(destination, Some(Destination::Folder(_)));
    let labels: Vec<&str> = model.labels().collect();
    let log = emulate(board, &program, &work.0, all, args, &labels)?;

    let pixels = work.0.join(OVERLAY_FILE);
    let pixels = fs::read(&pixels).map_err(Error::file("read", &pixels))?;
    if let Some(destination) = destination {
        destination.write(&pixels, log.screen)?;
    }

    let costs: Vec<u64> = log.inferences.iter().map(|inference| inference.cost).collect();
    let replay = host::replay(&model, &clip, log.screen, &costs, all).map_err(|error| {
        Error::Log { reason: format!("the host cannot repeat the run: {error}") }
    })?;
    let answers = log.inferences.iter().filter_map(|i| Some((i.class, i.expected?)));
    let correct = answers.clone().filter(|(class, expected)| class == expected).count();
    let report = Report {
        board: board.name,
        model: shown(&artifact.path),
        images: log.inferences.len(),
        logits_match: differing(&log, &replay).is_empty(),
        instructions_per_inference: mean(&costs),
        arena_bytes: model.arena_bytes(),
        stack_bytes: log.done.stack,
        ram_bytes: sizes.statics + log.done.stack,
        flash_bytes: sizes.flash,
        code_bytes: sizes.code,
        engine_code_bytes: sizes.engine,
        image_code_bytes: sizes.image,
    };
    let extra = Extra {
        range: (costs.iter().copied().min().unwrap_or(0), costs.iter().copied().max().unwrap_or(0)),
        macs: model.header().macs,
        correct: (correct, answers.count()),
        inference_stack: log.done.inference_stack,
        ram: args.build.ram_bytes(),
        artifact: model.artifact_bytes(),
        sizes,
    };
    let disagreement = disagreement(board, &log, &replay, &pixels);
    let pictures = log.pictures;
    Ok(Measured { board, report, extra, pictures, compiler, artifact, disagreement })
}

/// Pictures whose logits differ.
fn differing(log: &Log, replay: &Replay) -> Vec<usize> {
    let of_board = |i: usize| log.inferences.get(i).map(|inference| &inference.logits);
    let count = replay.logits.len().max(log.inferences.len());
    (0..count).filter(|&i| of_board(i) != replay.logits.get(i)).collect()
}

/// What board and host disagree about.
fn disagreement(board: &'static Board, log: &Log, replay: &Replay, pixels: &[u8]) -> Option<Error> {
    let differing = differing(log, replay);
    if let Some(&first) = differing.first() {
        let of = |logits: Option<&Vec<i16>>| format!("{:?}", logits.map_or(&[][..], |l| l));
        return Some(Error::Mismatch {
            board: board.name,
            what: format!("the logits of {} of {} pictures", differing.len(), log.inferences.len()),
            first,
            on_board: of(log.inferences.get(first).map(|inference| &inference.logits)),
            on_host: of(replay.logits.get(first)),
        });
    }
    if pixels == replay.overlays {
        return None;
    }
    let (on_board, on_host) = (pixels.len(), replay.overlays.len());
    let place = pixels.iter().zip(&replay.overlays).position(|(a, b)| a != b);
    let frame = (log.screen.0 * log.screen.1) as usize * picovit_app::screen::PIXEL_BYTES;
    Some(Error::Mismatch {
        board: board.name,
        what: "what is on the display".to_owned(),
        first: place.unwrap_or(on_board.min(on_host)) / frame.max(1),
        on_board: format!("{on_board} bytes"),
        on_host: format!("{on_host} bytes, first difference at {place:?}"),
    })
}

/// What the firmware said.
struct Log {
    inferences: Vec<Inference>,
    pictures: Vec<Picture>,
    screen: (u32, u32),
    done: Done,
}

/// Runs the program and reads its log.
fn emulate(
    board: &'static Board,
    program: &Path,
    folder: &Path,
    all: bool,
    args: &Request<'_>,
    labels: &[&str],
) -> Result<Log, Error> {
    let elf = fs::read(program).map_err(Error::file("read", program))?;
    let table = log::table(&elf)?;
    let mut decoder = Decoder::new(&table);
    let overlays = if all { Overlays::All } else { Overlays::Last };
    let limit = Duration::from_secs(args.timeout);
    let mut emulator = Emulator::start(board, program, folder, overlays, limit)?;

    let progress = bar(args.images as usize, &format!("Running on {}", board.name));
    let (mut inferences, mut screen, mut done) = (Vec::new(), (0, 0), None);
    let (mut errors, mut starts, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    let end = loop {
        let bytes = match emulator.next()? {
            Event::Output(bytes) => bytes,
            Event::Ended(end) => break end,
            Event::TimedOut => {
                let (done, images) = (inferences.len(), args.images as usize);
                return Err(Error::Timeout { seconds: args.timeout, done, images });
            }
        };
        for record in decoder.take(&bytes)? {
            match record {
                Record::Calibration { instructions, ticks } => {
                    check_calibration(board, instructions, ticks)?;
                }
                Record::Screen { width, height } => screen = (width, height),
                Record::Inference(inference) => {
                    if !args.quiet {
                        progress.suspend(|| println!("{}", line(&inference, labels)));
                    }
                    progress.inc(1);
                    inferences.push(inference);
                }
                Record::Op { index, at } if index == starts.len() => starts.push(at),
                Record::Op { index, .. } => {
                    return Err(Error::Log { reason: format!("operation {index} out of turn") });
                }
                Record::Span(span) => {
                    pictures.push(Picture { starts: std::mem::take(&mut starts), span });
                }
                Record::Done(end) => done = Some(end),
                Record::Message { level, text } => {
                    if level == "ERROR" {
                        errors.push(text.clone());
                    }
                    progress.suspend(|| println!("{} {text}", style(level).yellow()));
                }
            }
        }
    };
    progress.finish_and_clear();
    match done {
        Some(done) if end.status.success() && inferences.len() == args.images as usize => {
            Ok(Log { inferences, pictures, screen, done })
        }
        _ => Err(failure(board, &end, &errors, inferences.len())),
    }
}

/// One line a picture.
fn line(inference: &Inference, labels: &[&str]) -> String {
    let label = |class: u16| {
        labels.get(usize::from(class)).map_or_else(|| format!("class {class}"), |&l| l.to_owned())
    };
    let percent = (u32::from(inference.probability) * 100 + 32767) / 65535;
    let mark = match inference.expected {
        None => style(" ").dim(),
        Some(expected) if expected == inference.class => style("✓").green(),
        Some(_) => style("✗").red(),
    };
    let verdict = match inference.expected {
        Some(expected) if expected != inference.class => {
            format!("  is {}", style(label(expected)).red())
        }
        _ => String::new(),
    };
    let unsure = if inference.sure { "" } else { "  unsure" };
    format!(
        "{mark} {:>4}  {:<20} {percent:>3} %  {} {}{}{verdict}",
        inference.index,
        label(inference.class),
        style(grouped(inference.cost)).dim(),
        style(&inference.unit).dim(),
        style(unsure).yellow(),
    )
}

/// The clock must be what the emulator's settings say: otherwise the count means nothing.
fn check_calibration(board: &'static Board, instructions: u64, ticks: u64) -> Result<(), Error> {
    let measured = instructions as f64 / ticks.max(1) as f64;
    let expected = board.instructions_per_tick();
    if (measured / expected - 1.0).abs() <= 1e-4 {
        return Ok(());
    }
    Err(Error::Firmware {
        board: board.name,
        reason: format!(
            "its clock counts {measured} instructions a tick, the emulator's settings say {expected}"
        ),
        help: "instructions cannot be counted with this version of the emulator".to_owned(),
    })
}

/// Explains an end that is not a success.
fn failure(board: &'static Board, end: &End, errors: &[String], pictures: usize) -> Error {
    let after = format!("after {pictures} pictures");
    let (reason, help) = match end.status.code() {
        Some(1) if !errors.is_empty() => (errors.join("; "), "the firmware refused to go on"),
        Some(2) => (format!("panic {after}: {}", errors.join("; ")), "this is a fault in picovit"),
        Some(3) => (
            format!("{} {after}", errors.join("; ")),
            "most likely the stack ran over its end: --stack KB makes it larger",
        ),
        _ if end.complaints.contains("Lockup") => (
            format!("the processor locked up {after}"),
            "most likely the stack ran over its end: --stack KB makes it larger",
        ),
        _ => (
            format!("{} {after} {}", end.status, end.complaints),
            "the emulator must know the board and `-icount`: QEMU 7 or later",
        ),
    };
    Error::Firmware { board: board.name, reason, help: help.to_owned() }
}

fn mean(values: &[u64]) -> u64 {
    let count = values.len().max(1) as u64;
    (values.iter().sum::<u64>() + count / 2) / count
}
