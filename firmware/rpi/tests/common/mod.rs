//! The program, a model and a recorded stream.

// Not every test needs all of it.
#![allow(dead_code)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use picovit_tests::reference::{
    BlockPlan, ConvPlan, Layout, Plan, PoolPlan, Pooling, Stage, StreamPlan, Style, build,
};
use tempfile::TempDir;

/// Extent of the stream's frames.
pub const SIZE: (usize, usize) = (320, 240);
/// Bytes of one in YUV 4:2:0.
pub const FRAME: usize = SIZE.0 * SIZE.1 * 3 / 2;

/// The program: the host's, or what the environment says, as `qemu-aarch64 FILE`.
pub fn program() -> Command {
    let named = env::var("PICOVIT_CAMERA").unwrap_or_default();
    let mut words = named.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(env!("CARGO_BIN_EXE_picovit-camera")));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Whether an emulator runs the program.
pub fn emulated() -> bool {
    program().get_program().to_string_lossy().contains("qemu")
}

/// A folder with `model.pvit` and what a test puts there.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        folder.write("model.pvit", &random_network(7));
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The program in this folder, with its model, frames of [`SIZE`] and these arguments.
    pub fn program(&self, args: &str) -> Command {
        let mut command = program();
        command.current_dir(self.0.path()).args(["--size", "320x240"]);
        command.args(args.split_whitespace());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &str) -> Output {
        self.program(args).output().unwrap()
    }

    /// A program that the program may start.
    pub fn script(&self, name: &str, lines: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, format!("#!/bin/sh\n{lines}\n").as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The search path with this folder in front.
    pub fn search_path(&self) -> std::ffi::OsString {
        let path = env::var_os("PATH").unwrap_or_default();
        let places = [self.0.path().to_owned()].into_iter().chain(env::split_paths(&path));
        env::join_paths(places).unwrap()
    }
}

/// What a program complained about, in one line without the frame around it, and its exit status.
pub fn complaint(output: &Output) -> (String, i32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    let words = said.split(|c: char| c.is_whitespace() || c == '│');
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    (words.join(" "), output.status.code().expect("it ended by itself"))
}

/// Lines of JSON.
pub fn records(output: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// A small network with random constants, 32x32 grey to 10 classes.
pub fn random_network(seed: u64) -> Vec<u8> {
    let conv = |channels| {
        Stage::Conv(ConvPlan {
            channels,
            kernel: 3,
            stride: 1,
            padding: 1,
            table: false,
            second: None,
            pool: Some(PoolPlan { kernel: 3, stride: 2, padding: 1, padding_after: 1 }),
        })
    };
    let attention = BlockPlan::Attention { heads: 2, head_dim: 16, groups: 1 };
    let mlp = BlockPlan::Mlp { hidden: 32, gain16: true, twice: false };
    let plan = Plan {
        height: 32,
        width: 32,
        channels: 1,
        stages: vec![conv(16), conv(32)],
        pooling: Pooling::Sequence(StreamPlan {
            positions: true,
            blocks: vec![attention, mlp],
            ..StreamPlan::default()
        }),
        classes: 10,
    };
    build(&plan.network(seed, Style::Typical), Layout::Tight)
}

/// Brightness of one frame: a bright shape that moves, and changes, over a gradient.
pub fn luma(frame: usize) -> Vec<u8> {
    let (width, height) = SIZE;
    let (cx, cy) = (60 + frame * 7 % 200, 50 + frame * 5 % 140);
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let (dx, dy) = (x.abs_diff(cx), y.abs_diff(cy));
        let inside =
            if (frame / 10).is_multiple_of(2) { dx * dx + dy * dy < 1600 } else { dx.max(dy) < 36 };
        if inside { (200 + frame % 50) as u8 } else { ((x + y + 3 * frame) / 4 % 128) as u8 }
    };
    (0..width * height).map(pixel).collect()
}

/// So many frames in YUV 4:2:0.
pub fn stream(frames: usize) -> Vec<u8> {
    let mut stream = Vec::with_capacity(frames * FRAME);
    for frame in 0..frames {
        stream.extend(luma(frame));
        let colours = SIZE.0 * SIZE.1 / 4;
        stream.extend((0..colours).map(|i| 96 + ((i % 160) * 64 / 160) as u8));
        stream.extend((0..colours).map(|i| 96 + ((i / 160 + frame) % 120 * 64 / 120) as u8));
    }
    stream
}

/// Where a program is, if it is installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(name)).find(|place: &PathBuf| Path::is_file(place))
}
