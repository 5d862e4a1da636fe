//! Compiling the firmware.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use indicatif::ProgressBar;
use picovit::format::Packing;

use crate::board::{Board, Kind};
use crate::error::Error;
use crate::model::Artifact;
use crate::output::spinner;
use crate::paths::root;
use crate::toolchain::{Choice, Toolchain};
use crate::{BuildArgs, Optimize};

/// What WebAssembly modules are built for.
const WASM: &str = "wasm32-unknown-unknown";

/// What goes into the firmware: files that are named after their content, so that cargo builds
/// again exactly when the content changes.
pub(crate) struct Contents {
    /// The model, unless it is in memory of its own.
    pub model: Option<PathBuf>,
    /// The pictures.
    pub clip: Option<PathBuf>,
    /// What the firmware has to be able to do beside running the model.
    pub features: Vec<&'static str>,
}

/// Builds the firmware of a board and puts a copy of the program at `program`; returns the
/// compiler's name and version.
pub(crate) fn build(
    board: &'static Board,
    artifact: &Artifact,
    contents: &Contents,
    args: &BuildArgs,
    program: &Path,
) -> Result<String, Error> {
    let arena = args.link.arena_kb(board)?;
    let spinner = spinner(format!("Building firmware for {}", board.name));
    let (toolchain, mut command, _lock) = command(board, args.link.toolchain, &spinner)?;
    command
        .env("PICOVIT_RAM_KB", args.link.ram.to_string())
        .env("PICOVIT_STACK_KB", args.link.stack.to_string())
        .envs(arena.map(|arena| ("PICOVIT_ARENA_KB", arena.to_string())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let features = match &contents.model {
        Some(model) => {
            command.env("PICOVIT_MODEL", model);
            artifact.features(board.packing.0)
        }
        None => {
            command.env_remove("PICOVIT_MODEL");
            any_model(board, artifact)
        }
    };
    for feature in features.iter().chain(&contents.features) {
        command.args(["--features", feature]);
    }
    if args.link.optimize == Optimize::Size {
        command.args(["--config", "profile.release.package.picovit.opt-level='z'"]);
    }
    match &contents.clip {
        Some(clip) => command.env("PICOVIT_FRAMES", clip),
        None => command.env_remove("PICOVIT_FRAMES"),
    };
    let shown = format!("{command:?}");
    let program_error = |reason| Error::Program { program: "cargo".to_owned(), reason };
    let mut child = command.spawn().map_err(program_error)?;
    let stderr = child.stderr.take().expect("piped");
    let watcher = watch(stderr, spinner.clone());
    let mut messages = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_to_string(&mut messages).map_err(program_error)?;
    let status = child.wait().map_err(program_error)?;
    let output = watcher.join().unwrap_or_default();
    if !status.success() {
        return Err(failure(board, artifact, args.ram_bytes(), output, shown));
    }

    let built = executable(&messages, board.package)
        .ok_or_else(|| Error::Build { output: "no program came out".to_owned(), command: shown })?;
    fs::copy(&built, program).map_err(Error::file("copy", &built))?;
    spinner.finish_and_clear();
    let compiler = toolchain.describe();
    eprintln!("Built firmware for {} ({compiler})", board.name);
    Ok(compiler)
}

/// Features of firmware that does not know its model: all but what runs artifacts for another chip,
/// and floats only where there is reason to think of them, because few boards have the memory.
fn any_model(board: &Board, artifact: &Artifact) -> Vec<&'static str> {
    let features = artifact.features(board.packing.0).into_iter().filter(|&name| name == "f16");
    let emulated = matches!(board.kind, Kind::Emulated(_));
    features.chain(emulated.then_some("region")).chain(["class-token", "mobilevit"]).collect()
}

/// How to build a board's package. The next build overwrites its program: the lock holds others off
/// until it is copied.
fn command(
    board: &'static Board,
    choice: Choice,
    spinner: &ProgressBar,
) -> Result<(Toolchain, Command, File), Error> {
    let toolchain = Toolchain::find(board.target, choice, &|step| {
        spinner.set_message(step.to_owned());
    })?;
    let (workspace, target_dir, lock) = firmware()?;
    let mut command = toolchain.cargo_build(&target_dir, board.target_features);
    command
        .current_dir(&workspace)
        .args(["--release", "--locked", "--package", board.package])
        .arg("--message-format=json-render-diagnostics")
        .env("PICOVIT_MEMORY", board.memory);
    // defmt leaves out all but errors unless it is told.
    if std::env::var_os("DEFMT_LOG").is_none() {
        command.env("DEFMT_LOG", "info");
    }
    Ok((toolchain, command, lock))
}

/// The firmware's workspace, the folder that it is built in, and the lock on that.
fn firmware() -> Result<(PathBuf, PathBuf, File), Error> {
    let workspace = root().join("firmware");
    let target_dir = workspace.join("target");
    fs::create_dir_all(&target_dir).map_err(Error::file("create", &target_dir))?;
    let path = target_dir.join(".picovit-build-lock");
    let lock = File::create(&path).map_err(Error::file("create", &path))?;
    lock.lock().map_err(Error::file("lock", &path))?;
    Ok((workspace, target_dir, lock))
}

/// Builds the check of a board's kernels and puts a copy of the program at `program`.
pub(crate) fn build_kernels(
    board: &'static Board,
    choice: Choice,
    program: &Path,
) -> Result<(), Error> {
    let spinner = spinner(format!("Building the check of the kernels for {}", board.name));
    let (_, mut command, _lock) = command(board, choice, &spinner)?;
    command
        .args(["--features", "kernels", "--bin", "kernels"])
        .env("PICOVIT_RAM_KB", "128")
        .env("PICOVIT_STACK_KB", "16");
    let output = command
        .output()
        .map_err(|reason| Error::Program { program: "cargo".to_owned(), reason })?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = output.status.success().then(|| executable(&messages, "kernels")).flatten();
    let Some(built) = built else {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Build { output, command: format!("{command:?}") });
    };
    fs::copy(&built, program).map_err(Error::file("copy", &built))?;
    spinner.finish_and_clear();
    Ok(())
}

/// Builds a program of the engine's for a host, `--bench` or `--test` of this name; where it is.
pub(crate) fn build_for_host(
    target: &str,
    choice: Choice,
    kind: &str,
    name: &str,
) -> Result<PathBuf, Error> {
    let what = ["--package", "picovit", kind, name, "--features", "std,f16"];
    build_on_workspace(target, choice, &what, name)
}

/// Builds the camera program for a host; where it is.
pub(crate) fn build_camera(target: &str, choice: Choice) -> Result<PathBuf, Error> {
    let name = "picovit-camera";
    // Nine tenths of the file would be lines for a debugger.
    let small = ["--config", "profile.release.strip=true"];
    let what = ["--package", "picovit-rpi", "--bin", name].into_iter().chain(small);
    build_on_workspace(target, choice, &what.collect::<Vec<_>>(), name)
}

/// Builds a program of the workspace without the chips; linked statically, so that it runs whatever
/// C library is installed.
fn build_on_workspace(
    target: &str,
    choice: Choice,
    what: &[&str],
    name: &str,
) -> Result<PathBuf, Error> {
    let spinner = spinner(format!("Building {name} for {target}"));
    let toolchain = Toolchain::find(target, choice, &|step| spinner.set_message(step.to_owned()))?;
    let mut command = toolchain.cargo_build(&crate::aarch64::target_dir(), &["crt-static"]);
    command
        .current_dir(root())
        .args(["--release", "--locked", "--message-format=json-render-diagnostics"])
        .args(what);
    let output = command
        .output()
        .map_err(|reason| Error::Program { program: "cargo".to_owned(), reason })?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = output.status.success().then(|| executable(&messages, name)).flatten();
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    let built = built.ok_or_else(|| Error::Build { output, command: format!("{command:?}") })?;
    spinner.finish_and_clear();
    eprintln!("Built {name} for {target} ({})", toolchain.describe());
    Ok(built)
}

/// Builds a WebAssembly module with these extensions of the instruction set: a model's, or else the check
/// of the kernels; its bytes.
pub(crate) fn build_wasm(
    choice: Choice,
    extensions: &[&str],
    artifact: Option<&Artifact>,
) -> Result<Vec<u8>, Error> {
    let spinner = spinner(format!("Building a WebAssembly module{}", with(extensions)));
    let toolchain = Toolchain::find(WASM, choice, &|step| spinner.set_message(step.to_owned()))?;
    let (workspace, target_dir, _lock) = firmware()?;
    let mut command = toolchain.cargo_build(&target_dir, extensions);
    command
        .current_dir(workspace)
        .args(["--release", "--locked", "--package", "picovit-wasm"])
        .args(["--config", "profile.release.strip='debuginfo'"])
        .arg("--message-format=json-render-diagnostics");
    match artifact {
        Some(artifact) => {
            command.env("PICOVIT_MODEL", &artifact.path);
            let features = artifact.features(Packing::Portable);
            command.args(features.iter().flat_map(|feature| ["--features", feature]));
        }
        None => {
            command.args(["--features", "kernels"]);
        }
    }
    let output = command
        .output()
        .map_err(|reason| Error::Program { program: "cargo".to_owned(), reason })?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = output.status.success().then(|| module(&messages, "picovit_wasm")).flatten();
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    let built = built.ok_or_else(|| Error::Build { output, command: format!("{command:?}") })?;
    let bytes = fs::read(&built).map_err(Error::file("read", &built))?;
    spinner.finish_and_clear();
    eprintln!("Built a WebAssembly module{} ({})", with(extensions), toolchain.describe());
    Ok(bytes)
}

/// In words.
fn with(extensions: &[&str]) -> String {
    extensions.iter().map(|name| format!(" with {name}")).collect()
}

/// Shows what cargo is doing; gives back all it said.
fn watch(stream: impl Read + Send + 'static, spinner: ProgressBar) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let step = line.trim();
            if step.starts_with("Compiling") || step.starts_with("Download") {
                spinner.set_message(step.to_owned());
            }
            all.push_str(&line);
            all.push('\n');
        }
        all
    })
}

/// The program among cargo's messages.
fn executable(messages: &str, package: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut programs = messages.filter_map(|message: serde_json::Value| {
        (message["target"]["name"] == package)
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    programs.next_back()
}

/// The module of this name among cargo's messages.
fn module(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut modules = messages.filter_map(|message: serde_json::Value| {
        let files = message["filenames"].as_array()?.iter().filter_map(|file| file.as_str());
        let mut modules = files.filter(|file| file.ends_with(".wasm"));
        (message["target"]["name"] == name).then(|| modules.next().map(PathBuf::from))?
    });
    modules.next_back()
}

/// Tells a model that is too large from everything else.
fn failure(
    board: &'static Board,
    artifact: &Artifact,
    ram: u64,
    output: String,
    command: String,
) -> Error {
    // rust-lld: "section '.bss' will not fit in region 'RAM': overflowed by 123 bytes";
    // GNU ld: "region `RAM' overflowed by 123 bytes".
    let overflow = output.lines().find_map(|line| {
        let (before, after) = line.split_once("overflowed by ")?;
        let excess: u64 = after.split(' ').next()?.parse().ok()?;
        Some((memory(before)?, excess))
    });
    let Some((memory, excess)) = overflow else {
        let useful: Vec<&str> = output.lines().filter(|line| !is_progress(line)).collect();
        return Error::Build { output: useful.join("\n"), command };
    };
    let room = if memory == "RAM" { ram } else { board.flash };
    let help = match board.kind {
        Kind::Emulated(_) => format!(
            "the model's arena is {} bytes and its artifact {} bytes; take a smaller model or input \
             size; for a chip with more RAM, give it with --ram",
            artifact.model().arena_bytes(),
            artifact.model().artifact_bytes()
        ),
        // Neither model nor --ram and --stack change what is beside the model's working memory.
        Kind::Hardware(_) => format!(
            "it does not depend on the model: frames, the display's band, or the program became larger \
             than firmware/boards/{} has room for",
            board.name
        ),
    };
    Error::DoesNotFit { memory, board: board.name, excess, room: room / 1024, help }
}

/// The memory that a linker's message names last; nothing of one that no model and no option changes, as
/// that of a board's frames.
fn memory(message: &str) -> Option<&'static str> {
    let mut named = message
        .split(['\'', '`'])
        .filter(|part| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_uppercase()));
    match named.next_back()? {
        "RAM" => Some("RAM"),
        "FLASH" => Some("flash"),
        _ => None,
    }
}

fn is_progress(line: &str) -> bool {
    let line = line.trim_start();
    ["Compiling ", "Downloading ", "Downloaded ", "Locking ", "Updating ", "Fresh "]
        .iter()
        .any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_that_is_too_small_is_told() {
        let lld = "section '.bss' will not fit in region 'RAM': ";
        assert_eq!(memory(lld), Some("RAM"));
        assert_eq!(memory("region `FLASH' "), Some("flash"));
        assert_eq!(memory("section '.frames' will not fit in region 'FRAMES': "), None);
    }

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"picovit"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"picovit-mps2"},"executable":"/x/y"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages, "picovit-mps2"), Some(PathBuf::from("/x/y")));
        assert_eq!(executable(messages, "other"), None);
    }
}
