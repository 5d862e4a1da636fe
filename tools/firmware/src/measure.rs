//! Runs of the firmware: the figures, and whether the board gives what the host gives.

use std::fs;
use std::path::Path;
use std::time::Duration;

use console::style;
use picovit_app::region::ARENA_BYTES;
use picovit_app::{Notice, RegionError};

use crate::BuildArgs;
use crate::board::{self, Board};
use crate::build::{self, Contents};
use crate::camera::Camera;
use crate::commands::{Work, folder, hint, stored};
use crate::elf::Sizes;
use crate::emulator::{self, Emulator, End, Event, OVERLAY_FILE, Overlays, REGION_FILE};
use crate::error::Error;
use crate::host::{self, Replay};
use crate::log::{self, Decoder, Done, Inference, Record, Span};
use crate::model::Artifact;
use crate::output::{bar, grouped, write};
use crate::overlay::Destination;
use crate::paths::shown;
use crate::pictures;
use crate::region;
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
    /// Whether the model goes into memory of its own, or what goes there instead.
    pub region: Option<Option<&'a Path>>,
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
    board.emulation()?;
    let destination = args.overlay.map(Destination::new).transpose()?;
    let artifact = Artifact::find(args.build.model.as_deref())?;
    emulator::require(board)?;
    if args.region.is_some() && artifact.has_many_tiles() {
        return Err(Error::Model {
            path: artifact.path,
            reason: "packed for `cortex-a53`, whose kernels boards have only where the model is part of \
                     the firmware: quantize it for this board, or leave `--region` out"
                .to_owned(),
        });
    }
    let region = args.region.map(|file| region::find(board, &artifact, file)).transpose()?;
    let booted = region.as_ref().map(|region| region.boot(board, ARENA_BYTES));
    let model = match &booted {
        None => {
            hint(board, &artifact);
            artifact.model()
        }
        Some(booted) => booted.unwrap_or_else(|_| artifact.model()),
    };

    // The classes of the pictures mean nothing to a model that was trained on something else.
    let known = artifact.dataset().is_none_or(|name| name.contains("fashion"));
    let labelled = args.frames.is_some() || (known && model.classes() == 10);
    let source = args.frames.map_or_else(pictures::shipped, Path::to_owned);
    let mut clip = pictures::clip(&source, args.images as usize, labelled)?;
    pictures::check_room(board, args.images, &clip, args.camera)?;
    if let Some(camera) = args.camera {
        clip = camera.record(&clip, (model.height(), model.width()))?;
    }

    let folder = folder(board)?;
    let camera = args.camera.and_then(Camera::feature);
    let contents = Contents {
        model: match region {
            Some(_) => None,
            None => Some(stored("model", "pvit", artifact.bytes())?),
        },
        clip: Some(stored("pictures", "clip", &clip)?),
        features: camera.into_iter().chain(args.profile.then_some("profile")).collect(),
    };
    let work = Work::new(&folder)?;
    let program = work.0.join("firmware.elf");
    let compiler = build::build(board, &artifact, &contents, args.build, &program)?;
    let sizes = Sizes::read(&program)?;
    if let Some(region) = &region {
        // All of it, so that it does not matter what else the emulator has in there.
        write(&work.0.join(REGION_FILE), region.memory())?;
        // The same for all models: kept, so that one can see that.
        let kept = folder.join("firmware-region.elf");
        write(&kept, &fs::read(&program).map_err(Error::file("read", &program))?)?;
    }

    let all = matches!(destination, Some(Destination::Folder(_)));
    let labels: Vec<&str> = model.labels().collect();
    let ended = emulate(board, &program, &work.0, all, args, &labels)?;

    let pixels = work.0.join(OVERLAY_FILE);
    let pixels = fs::read(&pixels).map_err(Error::file("read", &pixels))?;
    let (Ended::Done(Log { screen, .. }) | Ended::Refused { screen, .. }) = ended;
    if let Some(destination) = destination {
        destination.write(&pixels, screen)?;
    }
    let log = match (ended, booted) {
        (Ended::Done(log), None | Some(Ok(_))) => log,
        (Ended::Refused { errors, .. }, Some(Err(reason))) => {
            let display = args.overlay.map_or_else(String::new, shown);
            return Err(refusal(board, reason, display, &errors, (&pixels, screen)));
        }
        (Ended::Refused { errors, .. }, _) => {
            let reason = format!("it does not take the model: {}", errors.join("; "));
            let help = "the host takes it: this is a fault in picovit".to_owned();
            return Err(Error::Firmware { board: board.name, reason, help });
        }
        (Ended::Done(_), Some(Err(reason))) => {
            let reason = format!("it takes a model that the host refuses: {reason}");
            let help = "this is a fault in picovit".to_owned();
            return Err(Error::Firmware { board: board.name, reason, help });
        }
    };

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
        flash_bytes: sizes.flash + region.as_ref().map_or(0, |region| region.bytes().len() as u64),
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
        region: region.is_some(),
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

/// What a board shows that does not start, and whether it is what the host shows.
fn refusal(
    board: &'static Board,
    reason: RegionError,
    display: String,
    errors: &[String],
    (pixels, screen): (&[u8], (u32, u32)),
) -> Error {
    let expected = host::notice(&Notice::from(&reason), screen);
    if errors.is_empty() {
        return Error::Log { reason: format!("the board does not say that {reason}") };
    }
    if pixels == expected {
        return Error::Refused { board: board.name, reason, display };
    }
    Error::Mismatch {
        board: board.name,
        what: "the notice on the display".to_owned(),
        first: 0,
        on_board: errors.join("; "),
        on_host: reason.to_string(),
    }
}

/// How the firmware ended.
enum Ended {
    /// It has classified all pictures.
    Done(Log),
    /// It has shown why it does not take the model.
    Refused {
        /// Size of its display.
        screen: (u32, u32),
        /// What it logged.
        errors: Vec<String>,
    },
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
) -> Result<Ended, Error> {
    let elf = fs::read(program).map_err(Error::file("read", program))?;
    let table = log::table(&elf)?;
    let mut decoder = Decoder::new(&table);
    let overlays = if all { Overlays::All } else { Overlays::Last };
    let limit = Duration::from_secs(args.timeout);
    let mut emulator =
        Emulator::start(board, program, folder, args.region.is_some(), overlays, limit)?;

    let progress = bar(args.images as usize, &format!("Running on {}", board.name));
    let (mut inferences, mut screen, mut done) = (Vec::new(), (0, 0), None);
    let (mut errors, mut starts, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    let mut idled = false;
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
                Record::Screen { .. } if screen != (0, 0) => {
                    let help = "a board that cannot go on shows why, and waits".to_owned();
                    let reason = "it started again".to_owned();
                    return Err(Error::Firmware { board: board.name, reason, help });
                }
                Record::Screen { width, height } => screen = (width, height),
                Record::Idle { ticks } => idled = ticks > 0,
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
            Ok(Ended::Done(Log { inferences, pictures, screen, done }))
        }
        _ if idled && end.status.code() == Some(4) => Ok(Ended::Refused { screen, errors }),
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
    let expected = board.emulation()?.instructions_per_tick();
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
