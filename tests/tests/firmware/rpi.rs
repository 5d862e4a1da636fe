//! The camera program of the Raspberry Pi, cross-built and emulated: what the host's says.
//!
//! Needs `qemu-aarch64` and a C compiler that links for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use picovit::image::{Frame, PixelFormat};
use picovit_app::Clip;
use picovit_firmware_tool::pictures;
use serde_json::Value;

use crate::artifacts::quantized_for;
use crate::{cargo, firmware, said};

/// Frames of the recorded stream.
const FRAMES: usize = 100;
/// Their extent.
const SIZE: (usize, usize) = (320, 240);
/// The emulator.
const EMULATOR: &str = "qemu-aarch64";

/// The Raspberry Pi's program.
fn cross_built() -> PathBuf {
    let output = firmware(["rpi"]);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// The host's program.
fn native() -> PathBuf {
    let args =
        ["build", "--locked", "--quiet", "--package", "picovit-rpi", "--message-format=json"];
    let output = cargo(args);
    assert!(output.status.success(), "{}", said(&output));
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut program = messages.filter_map(|message: Value| {
        (message["target"]["name"] == "picovit-camera").then_some(())?;
        message["executable"].as_str().map(PathBuf::from)
    });
    program.next_back().expect("a program came out")
}

/// Where the emulator is: tests give the program another search path.
fn emulator() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).map(|dir| dir.join(EMULATOR));
    places.into_iter().find(|place| place.is_file()).expect("qemu-aarch64 is installed (qemu-user)")
}

/// Test pictures, enlarged to frames of YUV 4:2:0, each a little further to the right, in colours.
fn recorded() -> Vec<u8> {
    let clip = pictures::clip(&pictures::shipped(), FRAMES, false).unwrap();
    let clip = Clip::parse(&clip).unwrap();
    let (width, height) = SIZE;
    let mut stream = Vec::new();
    for index in 0..FRAMES {
        let Frame { width: columns, height: rows, format, pixels } = clip.get(index).unwrap().frame;
        assert_eq!(format, PixelFormat::Gray8);
        let edge = 220;
        let (left, top) = (30 + index % 41, 10);
        let pixel = |x: usize, y: usize| {
            let (x, y) = (x.wrapping_sub(left), y.wrapping_sub(top));
            if x < edge && y < edge {
                pixels[y * rows / edge * columns + x * columns / edge]
            } else {
                0
            }
        };
        stream.extend((0..width * height).map(|i| pixel(i % width, i / width)));
        let colours = width * height / 4;
        stream.extend((0..2 * colours).map(|i| (i / 7 + 5 * index) as u8));
    }
    stream
}

/// Every record of the stream, and the program's last words.
fn records(mut program: Command, model: &Path, stream: &Path) -> (Vec<Value>, Output) {
    program.arg("--model").arg(model);
    program.arg(format!("--source=file:{}", stream.display()));
    let output = program.args(["--size=320x240", "--output=json", "--logits"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), output)
}

#[test]
fn rpi_says_what_the_host_says() {
    let folder = tempfile::tempdir().unwrap();
    let stream = folder.path().join("clip.yuv");
    fs::write(&stream, recorded()).unwrap();
    let (pi, emulator) = (cross_built(), emulator());
    let model = quantized_for("cct_2_3x2_fmnist", "int8", "aarch64");
    let (mut expected, output) = records(Command::new(native()), &model, &stream);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(expected.len(), FRAMES);
    let time = |record: &mut Value| record.as_object_mut().unwrap().remove("inference_us").unwrap();
    expected.iter_mut().for_each(|record| assert!(time(record).is_u64()));
    let labels: std::collections::BTreeSet<_> =
        expected.iter().map(|record| record["alone"]["label"].as_str().unwrap()).collect();
    assert!(labels.len() >= 8, "{labels:?}");

    // With dot products (Raspberry Pi 5) and without (3, 4, Zero 2), each with the weights made for it.
    for (cpu, target) in [("max", "aarch64"), ("cortex-a53", "cortex-a53")] {
        let model = quantized_for("cct_2_3x2_fmnist", "int8", target);
        let mut program = Command::new(&emulator);
        program.args(["-cpu", cpu]).arg(&pi);
        let (mut found, output) = records(program, &model, &stream);
        assert!(output.status.success(), "{cpu}: {}", said(&output));
        found.iter_mut().for_each(|record| drop(time(record)));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{cpu}");
        }
        assert_eq!(found.len(), FRAMES);
    }
}

/// Truncated stream, port in use, killed camera, wrong model, signals, framebuffer: the tests of the
/// program, with the Raspberry Pi's.
#[test]
fn rpi_fails_as_the_host_fails() {
    let program = format!("{} {}", emulator().display(), cross_built().display());
    let output = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--package", "picovit-rpi", "--test", "program"])
        .current_dir(crate::root())
        .env("PICOVIT_CAMERA", program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("a_camera_that_is_killed_is_quoted ... ok"),
        "{}",
        said(&output)
    );
}
