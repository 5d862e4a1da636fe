//! The subcommands that need no file of their own, and what all of them share.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use console::style;
use serde::Serialize;

use crate::board::{self, Board, Kind};
use crate::build::{self, Contents};
use crate::elf::Sizes;
use crate::error::Error;
use crate::flash::judge;
use crate::image::{Depth, Image, Stack};
use crate::measure::{Request, measure};
use crate::model::Artifact;
use crate::output::{grouped, table, write};
use crate::paths::{results, shown};
use crate::report::json;
use crate::{BuildArgs, RunArgs, SizeArgs};

/// Builds the firmware and says where it is.
pub(crate) fn build(args: &BuildArgs) -> Result<(), Error> {
    let (_, _, program) = compile(args)?;
    println!("{}", shown(&program));
    Ok(())
}

/// Says so where an artifact's weights lie in another order than the board's kernels want.
pub(crate) fn hint(board: &Board, artifact: &Artifact) {
    let model = artifact.model();
    let (packing, target) = board.packing;
    let format = model.header().format;
    let packed_for = if model.packing() != packing && format != picovit::format::FORMAT_F16 {
        model.packing().name()
    } else if artifact.has_many_tiles() {
        "cortex-a53"
    } else {
        return;
    };
    eprintln!(
        "{} the weights are packed for `{packed_for}`, which is slow here: quantize with `--target {target}`",
        style("hint:").yellow(),
    );
}

/// Builds the firmware without pictures.
fn compile(args: &BuildArgs) -> Result<(&'static Board, Artifact, PathBuf), Error> {
    let board = board::named(&args.board)?;
    let artifact = Artifact::find(args.model.as_deref())?;
    let program = compile_for(board, &artifact, args)?;
    Ok((board, artifact, program))
}

/// The same for a board and a model that have been found. Real boards have the model in flash of its
/// own.
pub(crate) fn compile_for(
    board: &'static Board,
    artifact: &Artifact,
    args: &BuildArgs,
) -> Result<PathBuf, Error> {
    let program = folder(board)?.join("firmware.elf");
    let model = match board.kind {
        Kind::Emulated(_) => {
            hint(board, artifact);
            Some(stored("model", "pvit", artifact.bytes())?)
        }
        Kind::Hardware(_) => None,
    };
    let contents = Contents { model, clip: None, features: Vec::new() };
    build::build(board, artifact, &contents, args, &program)?;
    Ok(program)
}

#[derive(Serialize)]
struct SizeReport {
    board: &'static str,
    model: String,
    arena_bytes: usize,
    static_bytes: u64,
    stack_reserved_bytes: u64,
    stacks: Vec<StackReport>,
    heap_functions: Vec<String>,
    panic_functions: Vec<String>,
    /// Places from where these are reached, by the crates that they are from.
    panic_calls: BTreeMap<String, usize>,
    flash_bytes: u64,
    code_bytes: u64,
    model_bytes: usize,
}

#[derive(Serialize)]
struct StackReport {
    name: &'static str,
    reserved_bytes: u64,
    /// The most that it can take, exceptions included; nothing where that cannot be known.
    worst_bytes: Option<u64>,
}

impl From<&Stack> for StackReport {
    fn from(stack: &Stack) -> Self {
        let worst_bytes = stack.depth.as_ref().ok().map(Depth::bytes);
        Self { name: stack.name, reserved_bytes: stack.reserve, worst_bytes }
    }
}

/// Builds the firmware and shows its sizes. What `flash` would refuse is an error, after they are shown.
pub(crate) fn size(args: &SizeArgs) -> Result<(), Error> {
    let (board, artifact, program) = compile(&args.build)?;
    let sizes = Sizes::read(&program)?;
    let image = Image::read(&program, board)?;
    let report = SizeReport {
        board: board.name,
        model: shown(&artifact.path),
        arena_bytes: artifact.model().arena_bytes(),
        static_bytes: sizes.statics,
        stack_reserved_bytes: sizes.stack,
        stacks: image.stacks.iter().map(StackReport::from).collect(),
        heap_functions: image.heap.clone(),
        panic_functions: image.panics.clone(),
        panic_calls: image.callers.clone(),
        flash_bytes: sizes.flash,
        code_bytes: sizes.code,
        model_bytes: artifact.model().artifact_bytes(),
    };
    json(args.json.as_deref(), &report)?;
    let bytes = |value: u64| format!("{} B", grouped(value));
    let (model, ram) = (bytes(report.model_bytes as u64), sizes.statics + sizes.stack);
    let mut rows = vec![
        ("flash", bytes(sizes.flash), format!("of {}", grouped(board.flash))),
        ("  code", bytes(sizes.code), String::new()),
    ];
    rows.push(match board.kind {
        Kind::Emulated(_) => ("  model", model, String::new()),
        Kind::Hardware(_) => {
            let room = grouped(board.region.bytes.into());
            ("model", model, format!("of {room}, flash of its own"))
        }
    });
    // Chips with several memories have more than they are linked for.
    let of = match ram <= args.build.ram_bytes() {
        true => format!("of {}: ", grouped(args.build.ram_bytes())),
        false => String::new(),
    };
    rows.extend([
        ("RAM", bytes(ram), format!("{of}variables and the whole stack")),
        ("  arena", bytes(report.arena_bytes as u64), "what this model takes of it".to_owned()),
    ]);
    for stack in &image.stacks {
        let most = match &stack.depth {
            Ok(depth) => format!(
                "reserved; it takes {} at most, {} of it for exceptions",
                grouped(depth.bytes()),
                grouped(depth.exception.into())
            ),
            Err(_) => "reserved; `run` measures its use".to_owned(),
        };
        rows.push((stack.name, bytes(stack.reserve), most));
    }
    if !image.panics.is_empty() {
        let functions = format!("functions that panic, reached from {}", image.sources());
        rows.push(("panics", image.panics.len().to_string(), functions));
    }
    println!("{}", table(&rows));
    for Stack { name, depth, .. } in &image.stacks {
        if let Err(reason) = depth {
            println!("how deep the {name} gets cannot be computed: {reason}");
        }
    }
    match board.kind {
        Kind::Hardware(_) => judge(board, &artifact, &args.build.link, &image),
        // What is computed is an upper bound, and `run` tells the truth.
        Kind::Emulated(_) => {
            let known = image.stacks.iter().all(|stack| stack.depth.is_ok());
            if let Some((reason, help)) = image.fault().filter(|_| known) {
                eprintln!("{} {reason}; {help}", style("warning:").yellow());
            }
            Ok(())
        }
    }
}

/// Builds the firmware with pictures, runs it, and compares it with the host.
pub(crate) fn run(args: &RunArgs) -> Result<(), Error> {
    let default = results(&args.build.board).join("overlay.png");
    let display = args.overlay.as_deref().unwrap_or(&default);
    let measured = measure(&Request {
        build: &args.build,
        images: args.images,
        frames: args.frames.as_deref(),
        camera: args.camera,
        region: args.region.as_ref().map(Option::as_deref),
        overlay: Some(display),
        timeout: args.timeout,
        quiet: args.quiet,
        profile: false,
    })?;
    measured.report.print(&measured.extra);
    println!("display: {}", shown(display));
    json(args.json.as_deref(), &measured.report)?;
    let images = measured.report.images;
    measured.agreement()?;
    println!(
        "{} logits of {images} pictures and the display equal the host's, byte for byte",
        style("ok").green().bold(),
    );
    Ok(())
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
/// build again. Boards share them: those of one kind of processor share builds then.
pub(crate) fn stored(name: &str, extension: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let path = results("contents").join(format!("{name}-{:016x}.{extension}", hasher.finish()));
    if !path.is_file() {
        write(&path, bytes)?;
    }
    Ok(path)
}
