//! The firmware on an emulated chip: real pictures, exact logits, honest figures.
//!
//! Needs `qemu-system-arm` and a compiler for the chip; without them these tests fail and say
//! what to install.

mod aarch64;
mod artifacts;
mod figures;
mod flash;
mod image;
mod live;
mod region;
mod rpi;
mod wasm;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use artifacts::{half_precision_model, quantized, quantized_for, real_model, shipped};
use picovit::format::Packing;
use picovit::image::{Frame, PixelFormat};
use picovit::{Engine, Model};
use picovit_app::{
    App, AppError, Clip, ClipHeader, Clock, Cost, Direct, Settings, Shot, Verdict, WINDOW,
};
use picovit_firmware_tool::board;
use picovit_tests::reference::{
    Aligned, BlockPlan, ConvPlan, Layout, Plan, PoolPlan, Pooling, Stage, StreamPlan, Style, build,
};
use serde_json::Value;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A cargo alias, as a user types it.
fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output();
    output.expect("cargo can be started")
}

fn firmware<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let args: Vec<S> = args.into_iter().collect();
    let args = args.iter().map(AsRef::as_ref);
    cargo([OsStr::new("firmware")].into_iter().chain(args))
}

/// Everything a command said, for people who wonder why it failed.
fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// What a command said, in one line without the frame that miette draws around it.
fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "succeeded: {}", said(output));
    let said = said(output);
    assert!(!said.contains("panicked"), "{said}");
    let words = said.split(|c: char| c.is_whitespace() || c == '│');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A network of the shape of CCT-2/3x2 with random constants.
fn random_network(edge: usize, seed: u64) -> Vec<u8> {
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
    let attention = || BlockPlan::Attention { heads: 2, head_dim: 64, groups: 1 };
    let mlp = || BlockPlan::Mlp { hidden: 128, gain16: true, twice: false };
    let plan = Plan {
        height: edge,
        width: edge,
        channels: 1,
        stages: vec![conv(64), conv(128)],
        pooling: Pooling::Sequence(StreamPlan {
            positions: true,
            blocks: vec![attention(), mlp(), attention(), mlp()],
            ..StreamPlan::default()
        }),
        classes: 10,
    };
    build(&plan.network(seed, Style::Typical), Layout::Tight)
}

/// One run of the firmware.
struct Run<'a> {
    board: &'a str,
    /// KB to link for.
    ram: u32,
    model: &'a Path,
    images: usize,
    /// Frames of a camera, as `--camera` takes them.
    camera: Option<&'a str>,
    /// The model in memory of its own.
    region: bool,
}

impl<'a> Run<'a> {
    /// On the board and with the RAM that commands assume.
    fn new(model: &'a Path, images: usize) -> Self {
        Self { board: board::DEFAULT, ram: 128, model, images, camera: None, region: false }
    }

    /// Runs it, checks what must hold of every report, and returns the report.
    fn report(&self, overlay: &Path, json: &Path) -> Value {
        let (ram, images) = (self.ram.to_string(), self.images.to_string());
        let args: [&OsStr; 13] = [
            "run".as_ref(),
            "--board".as_ref(),
            self.board.as_ref(),
            "--ram".as_ref(),
            ram.as_ref(),
            "--model".as_ref(),
            self.model.as_ref(),
            "--images".as_ref(),
            images.as_ref(),
            "--overlay".as_ref(),
            overlay.as_ref(),
            "--json".as_ref(),
            json.as_ref(),
        ];
        let camera = self.camera.iter().flat_map(|frames| ["--camera", frames]);
        let region = self.region.then_some("--region");
        let output = firmware(args.into_iter().chain(camera.chain(region).map(OsStr::new)));
        assert!(output.status.success(), "{}: {}", self.board, said(&output));
        let report = fs::read(json).expect("the report is there");
        let report = serde_json::from_slice(&report).expect("valid JSON");
        self.check(&report);
        report
    }
}

const KEYS: [&str; 12] = [
    "arena_bytes",
    "board",
    "code_bytes",
    "engine_code_bytes",
    "flash_bytes",
    "image_code_bytes",
    "images",
    "instructions_per_inference",
    "logits_match",
    "model",
    "ram_bytes",
    "stack_bytes",
];

impl Run<'_> {
    /// Checks what must hold of every report.
    fn check(&self, report: &Value) {
        let mut keys: Vec<&str> =
            report.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, KEYS);
        let number =
            |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key} is no number"));
        assert_eq!(report["board"], self.board);
        assert_eq!(report["logits_match"], true);
        assert_eq!(number("images"), self.images as u64);

        let bytes = Aligned::copy(&fs::read(self.model).expect("the model is there"));
        let model = Model::parse(&bytes).expect("a valid model");
        assert_eq!(number("arena_bytes"), model.arena_bytes() as u64);
        assert!(number("ram_bytes") <= u64::from(self.ram) * 1024, "{report}");
        assert!(number("ram_bytes") >= number("arena_bytes") + number("stack_bytes"), "{report}");
        assert!(number("flash_bytes") > number("code_bytes") + bytes.len() as u64, "{report}");
        let engine = number("engine_code_bytes");
        assert!((10_000..number("code_bytes")).contains(&engine), "{report}");
        assert!((512..=8192).contains(&number("stack_bytes")), "{report}");
        // The most that an instruction multiplies: two halfwords, sixteen bytes on Helium. Anything
        // below that is a counter that misses some.
        let products = if model.packing() == Packing::Helium { 16 } else { 2 };
        let instructions = number("instructions_per_inference");
        assert!(products * instructions > model.header().macs, "{report}");
    }
}

/// Decodes a PNG to RGB and checks that it shows something.
fn check_overlay(path: &Path) -> Vec<u8> {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let decoder = png::Decoder::new(std::io::BufReader::new(file));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut rgb = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut rgb).expect("pixels");
    assert_eq!((info.width, info.height, info.color_type), (320, 240, png::ColorType::Rgb));
    let mut colours: Vec<&[u8]> = rgb.chunks_exact(3).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 20, "{} colours only", colours.len());
    rgb
}

#[test]
fn kernels_of_every_board_equal_the_portable_ones() {
    for board in board::BOARDS {
        let output = firmware(["kernels", "--board", board.name]);
        assert!(output.status.success(), "{}: {}", board.name, said(&output));
        assert!(said(&output).contains("products, cortex-m-helium"), "{}", said(&output));
    }
}

#[test]
fn the_chip_answers_what_the_host_answers() {
    let dir = TempDir::new().unwrap();
    let model = real_model();
    let overlay = dir.path().join("display/last.png");
    Run::new(&model, 64).report(&overlay, &dir.path().join("report.json"));
    check_overlay(&overlay);
}

#[test]
fn the_chip_computes_with_floats_as_the_host_does() {
    let dir = TempDir::new().unwrap();
    let model = half_precision_model();
    let overlay = dir.path().join("display/last.png");
    Run::new(&model, 4).report(&overlay, &dir.path().join("report.json"));
}

#[test]
fn the_chip_runs_every_model_that_ships() {
    let dir = TempDir::new().unwrap();
    let (overlay, json) = (dir.path().join("last.png"), dir.path().join("report.json"));
    for name in shipped() {
        for format in ["int8", "f16"] {
            let model = quantized(&name, format);
            // The arena of the Keras CCT's f16 alone has 130 KB.
            let ram = if format == "f16" { 256 } else { 128 };
            Run { ram, ..Run::new(&model, 2) }.report(&overlay, &json);
        }
    }
}

#[test]
fn every_board_answers_what_the_host_answers() {
    let dir = TempDir::new().unwrap();
    let (whole, half) = (real_model(), half_precision_model());
    let (overlay, json) = (dir.path().join("last.png"), dir.path().join("report.json"));
    for board in board::BOARDS.iter().filter(|board| board.name != board::DEFAULT) {
        Run { board: board.name, ..Run::new(&whole, 3) }.report(&overlay, &json);
        check_overlay(&overlay);
        // 575 KB of constants: more than the M55's fast memory for code.
        if board.name != "mps2-an500" {
            Run { board: board.name, ..Run::new(&half, 1) }.report(&overlay, &json);
        }
    }
}

/// The whole loop at a camera's resolution: cropped, reduced, classified, drawn.
#[test]
fn every_board_sees_what_the_host_sees_through_a_camera() {
    let dir = TempDir::new().unwrap();
    let (overlay, json) = (dir.path().join("last.png"), dir.path().join("report.json"));
    let mut reduced = Vec::new();
    for (name, target) in [
        ("mps2-an386", "cortex-m4"),
        ("mps2-an500", "cortex-m7"),
        ("mps2-an505", "cortex-m33"),
        ("mps3-an547", "cortex-m55"),
    ] {
        let model = quantized_for("cct_2_3x2_fmnist", "int8", target);
        let run = Run { board: name, ..Run::new(&model, 64) };
        Run { camera: Some("320x240:rgb565"), ..run }.report(&overlay, &json);
        reduced.push(check_overlay(&overlay));
    }
    // What the network saw, in the overlay's corner, is the same everywhere.
    let seen = |rgb: &[u8]| -> Vec<u8> {
        (8..136).flat_map(|y| rgb[3 * (320 * y + 8)..][..3 * 128].to_vec()).collect()
    };
    assert!(reduced.iter().all(|rgb| seen(rgb) == seen(&reduced[0])));
    // Other formats, and a frame that is higher than wide.
    let model = quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m55");
    for camera in ["160x120:yuyv", "120x160:uyvy", "96x96:gray8", "64x48:rgb565le"] {
        let run = Run { board: "mps3-an547", ..Run::new(&model, 4) };
        Run { camera: Some(camera), ..run }.report(&overlay, &json);
    }
}

#[test]
fn helium_runs_every_family_on_weights_of_its_own() {
    let dir = TempDir::new().unwrap();
    let (overlay, json) = (dir.path().join("last.png"), dir.path().join("report.json"));
    for name in ["cct_2_3x2_fmnist", "vit_lite_2_4_fmnist", "mobilevit_xxs_fmnist"] {
        let model = quantized_for(name, "int8", "cortex-m55");
        let run = Run { board: "mps3-an547", ..Run::new(&model, 2) };
        let instructions = run.report(&overlay, &json)["instructions_per_inference"].as_u64();
        // Far below what the DSP instructions of the same processor would take.
        assert!(name != "cct_2_3x2_fmnist" || instructions < Some(6_400_000), "{instructions:?}");
    }
}

#[test]
fn a_large_network_runs_where_the_board_has_the_memory() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("large.pvit");
    fs::write(&model, random_network(72, 1)).unwrap();
    let (overlay, json) = (dir.path().join("last.png"), dir.path().join("report.json"));
    for board in ["mps2-an505", "mps3-an547"] {
        let run = Run { board, ram: 4096, ..Run::new(&model, 1) };
        let report = run.report(&overlay, &json);
        assert!(report["ram_bytes"].as_u64() > Some(128 * 1024), "{report}");
    }
}

#[test]
fn a_random_network_gives_the_same_bytes_and_the_same_figures_every_time() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("random.pvit");
    fs::write(&model, random_network(32, 7)).unwrap();
    let (all, json) = (dir.path().join("all"), dir.path().join("report.json"));
    let first = Run::new(&model, 3).report(&all, &json);
    let pictures: Vec<_> =
        (0..3).map(|index| check_overlay(&all.join(format!("overlay-{index:04}.png")))).collect();
    assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2]);
    let second = Run::new(&model, 3).report(&all, &json);
    assert_eq!(first, second);
}

#[test]
fn what_cannot_work_is_said_before_anything_is_built() {
    let said = complaint(&firmware(["run", "--camera", "320x240:bayer"]));
    assert!(said.contains("none of gray8, rgb888, rgb565"), "{said}");
    let dir = TempDir::new().unwrap();
    let board = complaint(&firmware(["run", "--board", "toaster"]));
    assert!(board.contains("`toaster`") && board.contains("mps2-an386"), "{board}");
    let flash = complaint(&firmware(["flash", "--board", board::DEFAULT]));
    assert!(flash.contains("pico2") && flash.contains("it is emulated"), "{flash}");
    let flash = complaint(&firmware(["flash"]));
    assert!(flash.contains("no board") && flash.contains("stm32h7"), "{flash}");
    let run = complaint(&firmware(["run", "--board", "pico2"]));
    assert!(run.contains("cargo firmware flash --board pico2"), "{run}");

    let good = random_network(32, 7);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (name, bytes) in [
        ("flipped.pvit", &flipped[..]),
        ("short.pvit", &good[..good.len() / 2]),
        ("text.pvit", b"hello"),
        ("empty.pvit", b""),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let output = firmware(["run".as_ref(), "--model".as_ref(), path.as_os_str()]);
        let complaint = complaint(&output);
        assert!(complaint.contains("cargo tools quantize"), "{complaint}");
        assert!(!complaint.contains("Built"), "{complaint}");
    }
    let missing = firmware(["size", "--model", "no-such-file.pvit"]);
    assert!(complaint(&missing).contains("no-such-file.pvit"));
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_figures() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("large.pvit");
    fs::write(&model, random_network(72, 1)).unwrap();
    let complaint = complaint(&firmware(["build".as_ref(), "--model".as_ref(), model.as_os_str()]));
    assert!(complaint.contains("bytes more RAM than mps2-an386 has"), "{complaint}");
}

#[test]
fn a_stack_that_is_too_small_is_named() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("random.pvit");
    fs::write(&model, random_network(32, 7)).unwrap();
    // The older processors have no register for the stack's limit: how they end is up to chance.
    for board in ["mps2-an505", "mps3-an547"] {
        let args = ["run", "--images", "1", "--stack", "1", "--board", board, "--model"];
        let args = args.map(OsStr::new).into_iter().chain([model.as_os_str()]);
        let complaint = complaint(&firmware(args));
        assert!(complaint.contains("hard fault: the stack ran over its end"), "{complaint}");
        assert!(complaint.contains("--stack KB makes it larger"), "{complaint}");
    }
}

/// Counts how often it was asked.
#[derive(Default)]
struct Counter(u64);

impl Clock for Counter {
    fn start(&mut self) {
        self.0 += 1;
    }

    fn stop(&mut self) -> Cost {
        Cost::Micros(self.0)
    }

    fn period(&self) -> Option<u64> {
        self.0.checked_sub(2)
    }
}

/// A display of one pixel.
struct Dot(usize);

impl embedded_graphics::geometry::OriginDimensions for Dot {
    fn size(&self) -> embedded_graphics::geometry::Size {
        embedded_graphics::geometry::Size::new(1, 1)
    }
}

impl embedded_graphics::draw_target::DrawTarget for Dot {
    type Color = embedded_graphics::pixelcolor::Rgb565;
    type Error = std::convert::Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = embedded_graphics::Pixel<Self::Color>>,
    {
        self.0 += pixels.into_iter().count();
        Ok(())
    }
}

#[test]
fn the_application_classifies_smooths_and_admits_doubt() {
    let bytes = Aligned::copy(&random_network(32, 7));
    let model = Model::parse(&bytes).unwrap();
    let mut arenas = [(); 3].map(|()| Aligned::filled(model.arena_bytes(), 0));
    let [arena, doubtful_arena, plain_arena] = &mut arenas;

    let pixels: Vec<u8> = (0..40 * 30u32).map(|i| (i * 7 % 256) as u8).collect();
    let frame = Frame { width: 40, height: 30, format: PixelFormat::Gray8, pixels: &pixels };
    let shot = Shot { frame, expected: None, cut: false };
    let black = vec![0; 4];
    let other = Frame { width: 2, height: 2, format: PixelFormat::Gray8, pixels: &black };
    let other = Shot { frame: other, expected: Some(1), cut: false };

    let mut engine = Engine::new(&model, plain_arena).unwrap();
    picovit::image::fit(&shot.frame, 32, 32, 1, engine.input()).unwrap();
    let expected = engine.run().to_vec();

    let engine = Engine::new(&model, arena).unwrap();
    let mut app = App::<10, WINDOW>::new::<()>(engine, Settings { unsure_below: 0 }).unwrap();
    let (mut clock, mut screen) = (Counter::default(), Direct(Dot(0)));
    for index in 0..6 {
        let outcome = app.step(&shot, &mut clock, &mut screen).unwrap();
        assert_eq!(app.logits(), expected);
        assert_eq!((outcome.index, outcome.expected), (index, None));
        assert_eq!(outcome.verdict, Verdict::Sure(outcome.predicted));
        assert_eq!(outcome.top[0], outcome.predicted);
        assert_eq!(outcome.cost, Cost::Micros(u64::from(index) + 1));
        assert_eq!(outcome.period, u64::from(index).checked_sub(1));
    }
    assert!(screen.0.0 > 0);
    // One other picture among many moves the mean by its share only; after a cut it counts alone.
    let steady = app.classify(&shot, &mut clock).unwrap();
    let moved = app.classify(&other, &mut clock).unwrap();
    assert!(app.logits() != expected);
    let share = |outcome: &picovit_app::Outcome| {
        outcome.top.iter().find(|p| p.class == steady.predicted.class).map(|p| p.probability)
    };
    let kept = share(&moved).expect("still among the first");
    assert!(kept >= steady.predicted.probability / 4 * 3 - 1, "{kept}");
    let alone = app.classify(&Shot { cut: true, ..other }, &mut clock).unwrap();
    assert_eq!(alone.top[0].probability, alone.predicted.probability);
    assert_eq!(app.history().len(), 9);

    let engine = Engine::new(&model, doubtful_arena).unwrap();
    let settings = Settings { unsure_below: u16::MAX };
    let mut app = App::<16, WINDOW>::new::<()>(engine, settings).unwrap();
    let outcome = app.classify(&shot, &mut clock).unwrap();
    assert!(!outcome.verdict.is_sure() || outcome.predicted.probability == u16::MAX);

    // The loop runs until the source ends.
    let header = ClipHeader { format: PixelFormat::Gray8, width: 2, height: 2, count: 3 };
    let mut clip = header.to_bytes().unwrap().to_vec();
    clip.extend([0, 0, 1, 2, 3, 4].repeat(3));
    let mut clip = Clip::parse(&clip).unwrap();
    let frames = app.run::<_, _, std::convert::Infallible>(&mut clip, &mut clock, &mut screen);
    assert_eq!(frames, Ok(3));
}

#[test]
fn an_application_too_small_for_the_model_says_so() {
    let bytes = Aligned::copy(&random_network(32, 7));
    let model = Model::parse(&bytes).unwrap();
    let mut arena = Aligned::filled(model.arena_bytes(), 0);
    let engine = Engine::new(&model, &mut arena).unwrap();
    let refused = App::<9, WINDOW>::new::<()>(engine, Settings::default());
    assert!(matches!(refused, Err(AppError::TooManyClasses { classes: 10, room: 9 })));
}
