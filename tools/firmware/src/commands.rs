//! The subcommands.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use console::style;
use serde::Serialize;

use crate::board::{self, Board};
use crate::build::{self, Contents};
use crate::elf::Sizes;
use crate::emulator::{self, Emulator, End, Event, OVERLAY_FILE, Overlays};
use crate::error::Error;
use crate::host;
use crate::log::{self, Decoder, Done, Inference, Record};
use crate::model::Artifact;
use crate::output::{bar, grouped, table};
use crate::overlay::Destination;
use crate::paths::{results, shown};
use crate::pictures;
use crate::report::{Extra, Report, json};
use crate::{BuildArgs, RunArgs, SizeArgs};

/// Builds the firmware and says where it is.
pub(crate) fn build(args: &BuildArgs) -> Result<(), Error> {
    let (_, _, program) = compile(args)?;
    println!("{}", shown(&program));
    Ok(())
}

/// Says so where an artifact's weights lie in another order than the board's kernels want.
fn hint(board: &Board, artifact: &Artifact) {
    let model = artifact.model();
    let (packing, target) = board.packing;
    let format = model.header().format;
    if model.packing() != packing && format != picovit::format::FORMAT_F16 {
        eprintln!(
            "{} the weights are packed for `{}`, which is slow here: quantize with `--target {target}`",
            style("hint:").yellow(),
            model.packing().name(),
        );
    }
}

/// Builds the firmware without pictures.
fn compile(args: &BuildArgs) -> Result<(&'static Board, Artifact, PathBuf), Error> {
    let board = board::named(&args.board)?;
    let artifact = Artifact::find(args.model.as_deref())?;
    hint(board, &artifact);
    let folder = folder(board)?;
    let program = folder.join("firmware.elf");
    let model = stored(&folder, "model", "pvit", artifact.bytes())?;
    let contents = Contents { model, clip: None };
    build::build(board, &artifact, &contents, args, &program)?;
    Ok((board, artifact, program))
}

#[derive(Serialize)]
struct SizeReport {
    board: &'static str,
    model: String,
    arena_bytes: usize,
    static_bytes: u64,
    stack_reserved_bytes: u64,
    flash_bytes: u64,
    code_bytes: u64,
    model_bytes: usize,
}

/// Builds the firmware and shows its sizes.
pub(crate) fn size(args: &SizeArgs) -> Result<(), Error> {
    let (board, artifact, program) = compile(&args.build)?;
    let sizes = Sizes::read(&program)?;
    let report = SizeReport {
        board: board.name,
        model: shown(&artifact.path),
        arena_bytes: artifact.model().arena_bytes(),
        static_bytes: sizes.statics,
        stack_reserved_bytes: sizes.stack,
        flash_bytes: sizes.flash,
        code_bytes: sizes.code,
        model_bytes: artifact.model().artifact_bytes(),
    };
    json(args.json.as_deref(), &report)?;
    let bytes = |value: u64| format!("{} B", grouped(value));
    let rows = [
        ("flash", bytes(sizes.flash), format!("of {}", grouped(board.flash))),
        ("  code", bytes(sizes.code), String::new()),
        ("  model", bytes(report.model_bytes as u64), String::new()),
        (
            "RAM",
            bytes(sizes.statics + sizes.stack),
            format!("of {}: variables and the whole stack", grouped(args.build.ram_bytes())),
        ),
        ("  arena", bytes(report.arena_bytes as u64), String::new()),
        ("  stack", bytes(sizes.stack), "reserved; `run` measures its use".to_owned()),
    ];
    println!("{}", table(&rows));
    Ok(())
}

/// Explains that there is no hardware yet.
pub(crate) fn flash(name: Option<&str>) -> Result<(), Error> {
    let what = match name {
        Some(name) => format!("the board `{name}`"),
        None => "a board".to_owned(),
    };
    Err(Error::NoHardware { what, known: board::list() })
}

/// Builds the firmware with pictures, runs it, and compares it with the host.
pub(crate) fn run(args: &RunArgs) -> Result<(), Error> {
    let board = board::named(&args.build.board)?;
    let artifact = Artifact::find(args.build.model.as_deref())?;
    let model = artifact.model();
    emulator::require(board)?;
    hint(board, &artifact);

    // The classes of the pictures mean nothing to a model that was trained on something else.
    let known = artifact.dataset().is_none_or(|name| name.contains("fashion"));
    let labelled = args.frames.is_some() || (known && model.classes() == 10);
    let source = args.frames.clone().unwrap_or_else(pictures::shipped);
    let clip = pictures::clip(&source, args.images as usize, labelled)?;

    let folder = folder(board)?;
    let contents = Contents {
        model: stored(&folder, "model", "pvit", artifact.bytes())?,
        clip: Some(stored(&folder, "pictures", "clip", &clip)?),
    };
    let work = Work::new(&folder)?;
    let program = work.0.join("firmware.elf");
    build::build(board, &artifact, &contents, &args.build, &program)?;
    let sizes = Sizes::read(&program)?;

    let default = folder.join("overlay.png");
    let destination = Destination::new(args.overlay.as_deref().unwrap_or(&default));
    let all = matches!(destination, Destination::Folder(_));
    let labels: Vec<&str> = model.labels().collect();
    let log = emulate(board, &program, &work.0, all, args, &labels)?;

    let pixels = work.0.join(OVERLAY_FILE);
    let pixels = fs::read(&pixels).map_err(Error::file("read", &pixels))?;
    destination.write(&pixels, log.screen)?;

    let costs: Vec<u64> = log.inferences.iter().map(|inference| inference.cost).collect();
    let replay = host::replay(&model, &clip, log.screen, &costs, all).map_err(|error| {
        Error::Log { reason: format!("the host cannot repeat the run: {error}") }
    })?;
    let differing: Vec<usize> = (0..replay.logits.len().max(log.inferences.len()))
        .filter(|&i| {
            log.inferences.get(i).map(|inference| &inference.logits) != replay.logits.get(i)
        })
        .collect();

    let answers = log.inferences.iter().filter_map(|i| Some((i.class, i.expected?)));
    let correct = answers.clone().filter(|(class, expected)| class == expected).count();
    let report = Report {
        board: board.name,
        model: shown(&artifact.path),
        images: log.inferences.len(),
        logits_match: differing.is_empty(),
        instructions_per_inference: mean(&costs),
        arena_bytes: model.arena_bytes(),
        stack_bytes: log.done.stack,
        ram_bytes: sizes.statics + log.done.stack,
        flash_bytes: sizes.flash - clip.len() as u64,
        code_bytes: sizes.code,
    };
    report.print(&Extra {
        range: (costs.iter().copied().min().unwrap_or(0), costs.iter().copied().max().unwrap_or(0)),
        macs: model.header().macs,
        correct: (correct, answers.count()),
        inference_stack: log.done.inference_stack,
        ram: args.build.ram_bytes(),
        artifact: model.artifact_bytes(),
        sizes,
    });
    println!("display: {}", shown(destination.path()));
    json(args.json.as_deref(), &report)?;

    if let Some(&first) = differing.first() {
        let of = |logits: Option<&Vec<i16>>| format!("{:?}", logits.map_or(&[][..], |l| l));
        return Err(Error::Mismatch {
            board: board.name,
            what: format!("the logits of {} of {} pictures", differing.len(), report.images),
            first,
            on_board: of(log.inferences.get(first).map(|inference| &inference.logits)),
            on_host: of(replay.logits.get(first)),
        });
    }
    if pixels != replay.overlays {
        let (on_board, on_host) = (pixels.len(), replay.overlays.len());
        let place = pixels.iter().zip(&replay.overlays).position(|(a, b)| a != b);
        let frame = (log.screen.0 * log.screen.1) as usize * picovit_app::screen::PIXEL_BYTES;
        return Err(Error::Mismatch {
            board: board.name,
            what: "what is on the display".to_owned(),
            first: place.unwrap_or(on_board.min(on_host)) / frame.max(1),
            on_board: format!("{on_board} bytes"),
            on_host: format!("{on_host} bytes, first difference at {place:?}"),
        });
    }
    println!(
        "{} logits of {} pictures and the display equal the host's, byte for byte",
        style("ok").green().bold(),
        report.images
    );
    Ok(())
}

/// What the firmware said.
struct Log {
    inferences: Vec<Inference>,
    screen: (u32, u32),
    done: Done,
}

/// Runs the program and reads its log.
fn emulate(
    board: &'static Board,
    program: &Path,
    folder: &Path,
    all: bool,
    args: &RunArgs,
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
    let mut errors = Vec::new();
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
            Ok(Log { inferences, screen, done })
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

/// The folder for results of a board.
pub(crate) fn folder(board: &Board) -> Result<PathBuf, Error> {
    let folder = results(board.name);
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    Ok(folder)
}

/// A folder of one run's own, so that runs do not disturb each other.
pub(crate) struct Work(pub(crate) PathBuf);

impl Work {
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let work = folder.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&work).map_err(Error::file("create", &work))?;
        Ok(Self(work))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A folder left behind does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes bytes to a file that is named after them, so that the same bytes do not make cargo
/// build again.
fn stored(folder: &Path, name: &str, extension: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let path = folder.join(format!("{name}-{:016x}.{extension}", hasher.finish()));
    if !path.is_file() {
        let new = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&new, bytes).map_err(Error::file("write", &new))?;
        fs::rename(&new, &path).map_err(Error::file("write", &path))?;
    }
    Ok(path)
}
