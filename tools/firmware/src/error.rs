//! What can go wrong, and what to do about it.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error as ThisError;

/// Why a command failed.
#[derive(Debug, ThisError, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// There is no such board.
    #[error("there is no board `{name}`")]
    #[diagnostic(help("the boards are:{known}"))]
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A board that nobody can touch.
    #[error("{board} cannot be flashed: it is emulated")]
    #[diagnostic(help(
        "`cargo firmware run --board {board}` starts it; these can be flashed:{known}"
    ))]
    NoHardware {
        /// The board asked for.
        board: &'static str,
        /// Those that can.
        known: String,
    },
    /// Nothing says which board.
    #[error("no board to flash is named")]
    #[diagnostic(help("name one with --board NAME; these can be flashed:{known}"))]
    NoBoardNamed {
        /// Those that can.
        known: String,
    },
    /// A board that is not emulated.
    #[error(
        "{board} is not emulated: `cargo firmware flash --board {board}` writes firmware to it"
    )]
    #[diagnostic(help("the boards are:{known}"))]
    NotEmulated {
        /// The board asked for.
        board: &'static str,
        /// What there is.
        known: String,
    },
    /// The board would refuse the model.
    #[error("{} is not for {board}: {reason}", path.display())]
    #[diagnostic(help("{help}"))]
    Unfit {
        /// The artifact.
        path: PathBuf,
        /// The board.
        board: &'static str,
        /// Why not.
        reason: String,
        /// What to do.
        help: String,
    },
    /// There is no way to the board.
    #[error("no {board} to write to: {reason}")]
    #[diagnostic(help("{help}"))]
    NoBoard {
        /// The board.
        board: &'static str,
        /// What was looked for.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The program is none for a board.
    #[error("the firmware for {board} is refused: {reason}")]
    #[diagnostic(help("{help}"))]
    Image {
        /// The board.
        board: &'static str,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The board did not take what was written.
    #[error("{board} was not flashed: {reason}")]
    #[diagnostic(help("{help}"))]
    NotFlashed {
        /// The board.
        board: &'static str,
        /// What happened.
        reason: String,
        /// What to do.
        help: String,
    },
    /// No model was named and none was found.
    #[error("there is no model to put into the firmware: neither model.pvit here nor {looked}")]
    #[diagnostic(help(
        "make one with: cargo tools quantize models/cct_2_3x2_fmnist/best.mpk\n\
         or name one with --model FILE.pvit"
    ))]
    NoModel {
        /// Where it was looked for.
        looked: String,
    },
    /// The model is damaged or for another version.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help(
        "make a new artifact from the checkpoint: \
         cargo tools quantize models/cct_2_3x2_fmnist/best.mpk"
    ))]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Test pictures are missing or damaged.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help(
        "the pictures are those of the Fashion-MNIST test set: t10k-images-idx3-ubyte.gz and \
         t10k-labels-idx1-ubyte.gz. They ship in models/cct_2_3x2_fmnist/data; another folder \
         with the same two files can be named with --frames DIR"
    ))]
    Pictures {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Fewer pictures than asked for.
    #[error("{asked} pictures asked for, {} has {there}", path.display())]
    #[diagnostic(help("ask for fewer with --images {there}"))]
    TooFewPictures {
        /// The file.
        path: PathBuf,
        /// Pictures asked for.
        asked: usize,
        /// Pictures there.
        there: usize,
    },
    /// More pictures than there is memory for.
    #[error("{asked} test pictures take {needs} KB, {board} has {room} KB for them")]
    #[diagnostic(help("{help}"))]
    TooManyPictures {
        /// Pictures asked for.
        asked: u32,
        /// KB that they take.
        needs: u64,
        /// The board.
        board: &'static str,
        /// KB that there are.
        room: u64,
        /// What to do.
        help: String,
    },
    /// There is no way to compile for the target.
    #[error("cannot compile for {target}: {reason}")]
    #[diagnostic(help(
        "one of these gives a compiler that can:\n\
         - rustup target add {target}\n\
         - Debian: apt-get install rustc-web cargo-web rust-web-src \
           (the core library is then built from source)\n\
         - rustup component add rust-src (built from source as well)"
    ))]
    NoToolchain {
        /// The target.
        target: String,
        /// What was tried.
        reason: String,
    },
    /// Model, buffers and stack do not fit.
    #[error("the firmware needs {excess} bytes more {memory} than {board} has ({room} KB)")]
    #[diagnostic(help("{help}"))]
    DoesNotFit {
        /// `RAM` or `flash`.
        memory: &'static str,
        /// The board.
        board: &'static str,
        /// Bytes too many.
        excess: u64,
        /// Size of the memory in KB.
        room: u64,
        /// What to do.
        help: String,
    },
    /// A board's RAM cannot be divided up like that.
    #[error("{board} is not for {ram} KB of RAM with a stack of {stack} KB: {reason}")]
    #[diagnostic(help("--ram and --stack say how much; both can be left out"))]
    Ram {
        /// The board.
        board: &'static str,
        /// KB of RAM.
        ram: u32,
        /// KB of stack.
        stack: u32,
        /// Why not.
        reason: String,
    },
    /// The compiler gave up.
    #[error("the firmware does not compile:\n{output}")]
    #[diagnostic(help("the command was: {command}"))]
    Build {
        /// What the compiler said.
        output: String,
        /// What was run.
        command: String,
    },
    /// The program is not what it should be.
    #[error("{}: {reason}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The emulator is not installed.
    #[error("the emulator `{emulator}` is not installed")]
    #[diagnostic(help(
        "Debian or Ubuntu: apt-get install qemu-system-arm; Fedora: dnf install qemu-system-arm; \
         macOS: brew install qemu. For qemu-aarch64, which runs on Linux: qemu-user and \
         gcc-aarch64-linux-gnu"
    ))]
    NoEmulator {
        /// Its name.
        emulator: &'static str,
    },
    /// The emulated program did not end well.
    #[error("the firmware failed on {board}: {reason}")]
    #[diagnostic(help("{help}"))]
    Firmware {
        /// The board.
        board: &'static str,
        /// What happened.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The emulated program did not end.
    #[error("the firmware did not end within {seconds} seconds, after {done} of {images} pictures")]
    #[diagnostic(help("it may hang; a slow machine needs a longer --timeout"))]
    Timeout {
        /// The limit.
        seconds: u64,
        /// Pictures classified.
        done: usize,
        /// Pictures given.
        images: usize,
    },
    /// The log cannot be read.
    #[error("the firmware's log cannot be read: {reason}")]
    #[diagnostic(help("this is a fault in the firmware or in this tool"))]
    Log {
        /// Why.
        reason: String,
    },
    /// The emulator has no such processor, or the processor none of the kernels.
    #[error("nothing can be counted on `{cpu}`: {reason}")]
    #[diagnostic(help("{help}"))]
    Processor {
        /// The processor.
        cpu: String,
        /// Why not.
        reason: String,
        /// What to do.
        help: String,
    },
    /// A WebAssembly module cannot be run.
    #[error("the WebAssembly module: {reason}")]
    #[diagnostic(help("this is a fault in firmware/boards/wasm or in this tool"))]
    Module {
        /// Why.
        reason: String,
    },
    /// The board does not take the model in its region, and shows why.
    #[error("{board} does not start: {reason}")]
    #[diagnostic(help(
        "its display shows the notice that the host draws for this, pixel for pixel: {display}"
    ))]
    Refused {
        /// The board.
        board: &'static str,
        /// Why not.
        reason: picovit_app::RegionError,
        /// Where the notice was written to.
        display: String,
    },
    /// Chip and host disagree.
    #[error("{board} and host disagree: {what}")]
    #[diagnostic(help(
        "the arithmetic contract (docs/arithmetic.md) is broken on one side; the first picture \
         that differs is {first}: board {on_board}, host {on_host}"
    ))]
    Mismatch {
        /// The board.
        board: &'static str,
        /// What differs.
        what: String,
        /// First picture that differs.
        first: usize,
        /// The board's version of it.
        on_board: String,
        /// The host's version of it.
        on_host: String,
    },
    /// A kernel of a chip gives something else than the portable one on the host.
    #[error("{board} and host disagree: {name}")]
    #[diagnostic(help(
        "the sum over all cases is `{expected}` on the host, the board said `{found}`; \
         firmware/kernel-check has the cases"
    ))]
    Kernels {
        /// The board.
        board: &'static str,
        /// The group of kernels.
        name: &'static str,
        /// The board's line.
        found: String,
        /// The host's.
        expected: String,
    },
    /// There is no such model among those that ship.
    #[error("no model `{name}` ships")]
    #[diagnostic(help("these do:\n  {known}"))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A shipped model cannot be quantized.
    #[error("{} cannot be quantized:\n{output}", checkpoint.display())]
    #[diagnostic(help("the command was: {command}"))]
    Quantize {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What was said.
        output: String,
        /// What was run.
        command: String,
    },
    /// The table of figures cannot be used.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help(
        "where that is another file, --table FILE names the right one; a table that is damaged is deleted \
         and made anew: {update}"
    ))]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How to make it.
        update: String,
    },
    /// Figures grew.
    #[error("more than {tolerance} % above {table}, or not the rows that are in it:\n{list}")]
    #[diagnostic(help("where that is meant, write the new figures down: {update}{compiler}"))]
    Regression {
        /// The file.
        table: String,
        /// Percent.
        tolerance: u64,
        /// What grew or is missing, a line each.
        list: String,
        /// How to write them down.
        update: String,
        /// A note where the compiler is another one, or the table new.
        compiler: String,
    },
    /// A part of a table would be another compiler's.
    #[error("the table was made with `{table}`, this is `{this}`")]
    #[diagnostic(help("measure all of it: --update without --boards and --models"))]
    OtherCompiler {
        /// The table's.
        table: String,
        /// This one.
        this: String,
    },
    /// The display is written as PNG only.
    #[error("{} is no name for the display, which is written as PNG", path.display())]
    #[diagnostic(help(
        "--overlay FILE.png takes that of the last picture, a folder's name that ends otherwise all of them"
    ))]
    NoPng {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {verb} {}: {reason}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// A program cannot be started or read from.
    #[error("cannot run `{program}`: {reason}")]
    Program {
        /// The program.
        program: String,
        /// Why not.
        reason: std::io::Error,
    },
}

impl Error {
    /// An error about a file, to be used with `map_err`.
    pub(crate) fn file(
        verb: &'static str,
        path: &std::path::Path,
    ) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::File { verb, path: path.clone(), reason }
    }
}
