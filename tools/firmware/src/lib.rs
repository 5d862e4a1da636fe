//! Builds picovit firmware, runs it on emulated boards and measures it.
//!
//! The firmware classifies real pictures on the emulated chip. Its log is decoded here, every
//! picture is classified again with the host's engine, and logits and overlay are compared byte
//! for byte. Instructions are counted by the emulator's clock, so every number is the same on
//! every machine and every day. Instructions are not cycles.
#![forbid(unsafe_code)]

mod aarch64;
mod aligned;
pub mod board;
mod build;
mod camera;
mod commands;
pub mod elf;
mod emulator;
mod error;
mod flash;
pub mod host;
mod image;
mod kernels;
pub mod log;
mod measure;
mod model;
mod output;
mod overlay;
pub mod paths;
pub mod pictures;
mod profile;
mod reader;
pub mod region;
mod regression;
mod report;
pub mod toolchain;
mod wasm;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use board::{Board, Kind};

pub use error::Error;
pub use reader::end_with_the_reader;

/// Firmware for boards and emulators.
#[derive(Debug, Parser)]
#[command(name = "cargo firmware", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the firmware with a model in it.
    Build(BuildArgs),
    /// Run it on an emulated board with real pictures and compare with the host.
    Run(RunArgs),
    /// Run it and show what every operation of the model takes.
    Profile(ProfileArgs),
    /// Compare the figures of the shipped models on all boards with those written down.
    Regression(RegressionArgs),
    /// Compare the kernels of an emulated board with the host's, over random shapes and values.
    Kernels(KernelsArgs),
    /// Count the instructions of an inference on AArch64, for every instruction set of the kernels.
    Aarch64(Aarch64Args),
    /// Build the camera program for a Raspberry Pi (64-bit Linux) and print where it is.
    Rpi(RpiArgs),
    /// Count the instructions of an inference as a WebAssembly module, with vectors and without, and
    /// compare its logits with the host's.
    Wasm(WasmArgs),
    /// Flash, RAM and code of the firmware, without running it.
    Size(SizeArgs),
    /// Write firmware and model, or the model only, to a board.
    Flash(FlashArgs),
}

/// What to build.
#[derive(Clone, Debug, clap::Args)]
struct BuildArgs {
    /// The board: mps2-an385, mps2-an386, mps2-an500, mps2-an505, mps3-an547 (emulated), pico2, stm32h7.
    #[arg(long, default_value = board::DEFAULT)]
    board: String,
    /// The artifact [default: model.pvit here, else in the repository].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    link: LinkArgs,
}

/// How to build it.
#[derive(Clone, Debug, clap::Args)]
struct LinkArgs {
    /// Which compiler and core library to use.
    #[arg(long, value_enum, default_value_t, env = "PICOVIT_TOOLCHAIN")]
    toolchain: toolchain::Choice,
    /// RAM to link the firmware for, in KB; linking fails where it does not suffice.
    #[arg(long, value_name = "KB", default_value_t = board::RAM_KB, value_parser = clap::value_parser!(u32).range(32..=4096))]
    ram: u32,
    /// How much of it is the stack, in KB: a model of 1000 classes needs more than the default. On
    /// boards that can be touched it is taken from the model's working memory.
    #[arg(long, value_name = "KB", default_value_t = board::STACK_KB, value_parser = clap::value_parser!(u32).range(1..=28))]
    stack: u32,
    /// What the engine's code is compiled for. The engine takes a third less flash when small; where its loops are
    /// in assembly, which are those of int8 models on Cortex-M4 and later, a little more time.
    #[arg(long, value_enum, default_value_t)]
    optimize: Optimize,
}

/// What the engine's code is compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Optimize {
    /// Few instructions.
    #[default]
    Speed,
    /// Little flash.
    Size,
}

impl LinkArgs {
    /// Working memory that the firmware of a board has for any model, in KB; none on emulated boards,
    /// which have what their model needs.
    ///
    /// # Errors
    /// [`Error::Ram`].
    fn arena_kb(&self, board: &'static Board) -> Result<Option<u32>, Error> {
        let Kind::Hardware(hardware) = &board.kind else { return Ok(None) };
        let (ram, stack) = (self.ram, self.stack);
        let fails = |reason: String| Err(Error::Ram { board: board.name, ram, stack, reason });
        match hardware.arena_kb(ram, stack) {
            _ if ram > hardware.ram_kb => {
                fails(format!("it has {} KB for variables and stack", hardware.ram_kb))
            }
            0 => fails("nothing is left for the model".to_owned()),
            arena => Ok(Some(arena)),
        }
    }
}

impl BuildArgs {
    /// Bytes of RAM to link for.
    fn ram_bytes(&self) -> u64 {
        u64::from(self.link.ram) * 1024
    }
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    build: BuildArgs,
    /// Number of test pictures.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    images: u32,
    /// Folder with the pictures: t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz
    /// [default: the shipped Fashion-MNIST test set].
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Show the pictures as a camera would see them, frames WIDTHxHEIGHT:FORMAT: 320x240:rgb565, or
    /// rgb565le, rgb888, yuyv, uyvy, gray8.
    #[arg(long, value_name = "FRAME")]
    camera: Option<camera::Camera>,
    /// Put the model into memory of its own instead of into the firmware, which is then the same for
    /// all models; with =FILE, put there what is in the file, which need not be a model.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    region: Option<Option<PathBuf>>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the board's display goes: FILE.png for the last picture, a folder for all
    /// [default: target/firmware/BOARD/overlay.png].
    #[arg(long, value_name = "FILE.png|DIR")]
    overlay: Option<PathBuf>,
    /// Give up after so many seconds without the emulator finishing.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    timeout: u64,
    /// Print the summary only, not one line a picture.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
struct ProfileArgs {
    #[command(flatten)]
    build: BuildArgs,
    /// Number of test pictures to average over.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    images: u32,
    /// Folder with the pictures: t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz
    /// [default: the shipped Fashion-MNIST test set].
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Show the pictures as a camera would see them, frames WIDTHxHEIGHT:FORMAT: 320x240:rgb565, or
    /// rgb565le, rgb888, yuyv, uyvy, gray8.
    #[arg(long, value_name = "FRAME")]
    camera: Option<camera::Camera>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Give up after so many seconds without the emulator finishing.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Debug, clap::Args)]
struct RegressionArgs {
    /// Write what is measured to the table.
    #[arg(long)]
    update: bool,
    /// Only these models, by the names of their folders.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    models: Vec<String>,
    /// Only these boards.
    #[arg(long, value_name = "BOARD,...", value_delimiter = ',')]
    boards: Vec<String>,
    /// The table [default: tests/regression/boards.toml].
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Folder with artifacts, MODEL-int8-TARGET.pvit and MODEL-f16-TARGET.pvit, that are taken as they
    /// are; those missing are put there [default: all are made anew].
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Which compiler and core library to use.
    #[arg(long, value_enum, default_value_t, env = "PICOVIT_TOOLCHAIN")]
    toolchain: toolchain::Choice,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Give up after so many seconds without the emulator finishing one run.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Debug, clap::Args)]
struct KernelsArgs {
    /// The board: mps2-an385, mps2-an386, mps2-an500, mps2-an505, mps3-an547 (emulated), pico2, stm32h7.
    #[arg(long, default_value = board::DEFAULT)]
    board: String,
    /// Which compiler and core library to use.
    #[arg(long, value_enum, default_value_t, env = "PICOVIT_TOOLCHAIN")]
    toolchain: toolchain::Choice,
}

#[derive(Debug, clap::Args)]
struct Aarch64Args {
    /// The artifact [default: model.pvit here, else in the repository].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The processor, by the emulator's names: cortex-a53 and cortex-a72 have no dot products.
    #[arg(long, default_value = "max")]
    cpu: String,
    /// Kernels to count, those of them that the processor has: `times fewer` is against the first.
    #[arg(long, value_name = "KERNELS", value_delimiter = ',', default_value = "portable,neon,neon-dotprod", value_parser = ["portable", "neon", "neon-dotprod"])]
    kernels: Vec<String>,
    /// Run the engine's tests there first.
    #[arg(long)]
    check: bool,
    /// Show which functions take them.
    #[arg(long)]
    functions: bool,
    /// Which compiler and core library to use.
    #[arg(long, value_enum, default_value_t, env = "PICOVIT_TOOLCHAIN")]
    toolchain: toolchain::Choice,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RpiArgs {
    /// Which compiler and core library to use.
    #[arg(long, value_enum, default_value_t, env = "PICOVIT_TOOLCHAIN")]
    toolchain: toolchain::Choice,
}

#[derive(Debug, clap::Args)]
struct WasmArgs {
    /// The artifact [default: model.pvit here, else in the repository].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Number of test pictures.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    images: u32,
    /// Compare the kernels over random shapes and values first.
    #[arg(long)]
    check: bool,
    /// Which compiler and core library to use.
    #[arg(long, value_enum, default_value_t, env = "PICOVIT_TOOLCHAIN")]
    toolchain: toolchain::Choice,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct SizeArgs {
    #[command(flatten)]
    build: BuildArgs,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct FlashArgs {
    /// The board.
    #[arg(long)]
    board: Option<String>,
    /// The artifact [default: model.pvit here, else in the repository].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write the model only, which has flash of its own: the firmware stays as it is, and nothing is
    /// compiled.
    #[arg(long)]
    model_only: bool,
    /// The drive of the board's boot loader [default: the one under /media, /run/media, /mnt or
    /// /Volumes].
    #[arg(long, value_name = "DIR", conflicts_with_all = ["uf2", "probe"])]
    drive: Option<PathBuf>,
    /// Write a UF2 file and leave the board alone.
    #[arg(long, value_name = "FILE", conflicts_with = "probe")]
    uf2: Option<PathBuf>,
    /// Use a debug probe, by the program `probe-rs`, also where the board has a boot loader.
    #[arg(long)]
    probe: bool,
    /// What probe-rs calls the chip, where it is not the one that is expected.
    #[arg(long, value_name = "NAME")]
    chip: Option<String>,
    /// How long to wait for the drive to go once all has been copied.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    link: LinkArgs,
}

/// Executes a command line.
///
/// # Errors
/// Whatever went wrong, with what to do about it. That the firmware's logits differ from the
/// host's is an error too.
pub fn run(cli: Cli) -> miette::Result<()> {
    match cli.command {
        Command::Build(args) => commands::build(&args)?,
        Command::Run(args) => commands::run(&args)?,
        Command::Profile(args) => profile::profile(&args)?,
        Command::Regression(args) => regression::regression(&args)?,
        Command::Kernels(args) => kernels::check(&args)?,
        Command::Aarch64(args) => aarch64::count(&args)?,
        Command::Rpi(args) => println!("{}", aarch64::camera(args.toolchain)?.display()),
        Command::Wasm(args) => wasm::count(&args)?,
        Command::Size(args) => commands::size(&args)?,
        Command::Flash(args) => flash::flash(&args)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena_kb(board: &str, more: &[&str]) -> Result<Option<u32>, String> {
        let args = ["cargo firmware", "flash", "--board", board];
        let args = args.into_iter().chain(more.iter().copied());
        let Command::Flash(args) = Cli::parse_from(args).command else { unreachable!() };
        args.link.arena_kb(board::named(board).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn ram_and_stack_say_what_the_model_has() {
        assert_eq!(arena_kb("mps2-an386", &[]), Ok(None));
        assert_eq!(arena_kb("pico2", &[]), Ok(Some(32)));
        assert_eq!(arena_kb("pico2", &["--ram", "144", "--stack", "9"]), Ok(Some(47)));
        assert_eq!(arena_kb("stm32h7", &["--stack", "18"]), Ok(Some(86)));
        let error = arena_kb("stm32h7", &["--ram", "144"]).unwrap_err();
        assert!(error.contains("144 KB") && error.contains("it has 128 KB"), "{error}");
        let error = arena_kb("pico2", &["--ram", "96"]).unwrap_err();
        assert!(error.contains("nothing is left"), "{error}");
    }
}
