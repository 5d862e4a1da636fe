//! What is written to boards, as far as that can be seen without one: a folder is the drive of a boot
//! loader, a script the program of a debug probe.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{env, fs, thread};

use picovit::format::Packing;
use picovit_app::Region;
use picovit_tests::reference::Aligned;
use tempfile::TempDir;

use crate::artifacts::quantized_for;
use crate::{complaint, firmware, root, said};

/// `cargo firmware flash --model-only` for a board.
fn flash<S: AsRef<OsStr>>(board: &str, model: &Path, more: &[S]) -> Output {
    let args = ["flash", "--board", board, "--model-only", "--model"].map(OsStr::new);
    let more = more.iter().map(AsRef::as_ref);
    firmware(args.into_iter().chain([model.as_os_str()]).chain(more))
}

fn model() -> PathBuf {
    quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m4")
}

/// The bytes that a UF2 file for the RP2350 puts from an address on, without a gap; it has nothing else.
fn flashed(uf2: &[u8], address: u32) -> Vec<u8> {
    let word = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let (blocks, rest) = uf2.as_chunks::<512>();
    assert!(rest.is_empty() && !blocks.is_empty());
    let mut bytes = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        assert_eq!((word(block, 0), word(block, 4)), (0x0a32_4655, 0x9e5d_5157));
        assert_eq!(word(block, 508), 0x0ab1_6f30);
        assert_eq!((word(block, 8), word(block, 28)), (0x2000, 0xe48b_ff59));
        assert_eq!(word(block, 12), address + bytes.len() as u32);
        assert_eq!((word(block, 16), word(block, 20)), (256, number as u32));
        assert_eq!(word(block, 24) as usize, blocks.len());
        bytes.extend_from_slice(&block[32..288]);
    }
    bytes
}

/// Checks that memory holds a model's region.
fn check_region(memory: &[u8], model: &Path) {
    let (memory, artifact) = (Aligned::copy(memory), fs::read(model).unwrap());
    let region = Region::parse(&memory, &[Packing::CortexM]).expect("a region");
    assert_eq!(region.model().artifact_bytes(), artifact.len());
    assert!(memory[32..].starts_with(&artifact));
    assert_eq!(region.self_test().logits().len(), 10);
}

#[test]
fn a_file_for_the_boot_loader_holds_the_region_at_its_place() {
    let (dir, model) = (TempDir::new().unwrap(), model());
    let file = dir.path().join("new/model.uf2");
    let output = flash("pico2", &model, &[OsStr::new("--uf2"), file.as_os_str()]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("Built"), "{}", said(&output));
    let uf2 = fs::read(&file).unwrap();
    let memory = flashed(&uf2, 0x1010_0000);
    assert!(memory.len().is_multiple_of(4096));
    check_region(&memory, &model);
    // Nothing but the file is left.
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

/// A folder that says that it is a board's drive.
fn drive(id: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let info = format!("UF2 Bootloader v1.0\r\nModel: Raspberry Pi\r\nBoard-ID: {id}\r\n");
    fs::write(dir.path().join("INFO_UF2.TXT"), info).unwrap();
    dir
}

#[test]
fn the_drive_of_the_boot_loader_takes_the_model_and_goes() {
    let (dir, model) = (drive("RP2350"), model());
    let folder = dir.path().to_owned();
    // Goes when the last block is there, as the boot loader does.
    let loader = thread::spawn(move || {
        loop {
            let taken = fs::read(folder.join("picovit.uf2")).unwrap_or_default();
            let count = taken.get(24..28).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
            if count.is_some_and(|count| taken.len() == 512 * count as usize) {
                fs::remove_file(folder.join("INFO_UF2.TXT")).unwrap();
                return taken;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let args = [OsStr::new("--wait"), "600".as_ref(), "--drive".as_ref(), dir.path().as_os_str()];
    let output = flash("pico2", &model, &args);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("cannot be read back"), "{}", said(&output));
    check_region(&flashed(&loader.join().unwrap(), 0x1010_0000), &model);
}

#[test]
fn a_drive_that_is_another_boards_or_does_not_go_is_an_error() {
    let model = model();
    let on = |dir: &Path| {
        let args = [OsStr::new("--wait"), "0".as_ref(), "--drive".as_ref(), dir.as_os_str()];
        complaint(&flash("pico2", &model, &args))
    };
    let other = drive("RPI-RP2");
    let said = on(other.path());
    assert!(said.contains("`RPI-RP2`, not of `RP2350`") && said.contains("BOOTSEL"), "{said}");
    assert!(!other.path().join("picovit.uf2").exists());
    let empty = TempDir::new().unwrap();
    let said = on(empty.path());
    assert!(said.contains("there is no INFO_UF2.TXT in") && said.contains("--probe"), "{said}");
    let stays = drive("RP2350");
    let said = on(stays.path());
    assert!(said.contains("pico2 was not flashed") && said.contains("still there"), "{said}");
    let said = complaint(&flash("stm32h7", &model, &["--uf2", "never.uf2"]));
    assert!(said.contains("no boot loader"), "{said}");
}

#[test]
fn a_model_that_the_board_would_refuse_is_not_written() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("model.uf2");
    let model = quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m55");
    let said = complaint(&flash("pico2", &model, &[OsStr::new("--uf2"), file.as_os_str()]));
    assert!(said.contains("cargo tools quantize --target cortex-m33"), "{said}");
    let large = dir.path().join("large.pvit");
    fs::write(&large, crate::random_network(72, 1)).unwrap();
    let said = complaint(&flash("pico2", &large, &[OsStr::new("--uf2"), file.as_os_str()]));
    assert!(said.contains("packed for portable"), "{said}");
    let large = quantized_for("cct_2_3x2_keras_fmnist", "int8", "cortex-m4");
    let said = complaint(&flash("pico2", &large, &[OsStr::new("--uf2"), file.as_os_str()]));
    assert!(said.contains("--arena-budget 32768") && said.contains("--ram"), "{said}");
    assert!(!file.exists());
}

/// A `probe-rs` in a folder of its own, which does what the lines of a script say.
fn probe_rs(script: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("probe-rs");
    fs::write(&path, format!("#!/bin/sh\nhere=$(dirname \"$0\")\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Flashes a model with the `probe-rs` of a folder, or without any.
fn probe(board: &str, programs: Option<&Path>) -> Output {
    let path = env::var_os("PATH").unwrap_or_default();
    let others = env::split_paths(&path).filter(|dir| !dir.join("probe-rs").exists());
    let path: OsString =
        env::join_paths(programs.map(Path::to_owned).into_iter().chain(others)).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).env("PATH", path);
    command.args(["firmware", "flash", "--board", board, "--model-only", "--probe", "--model"]);
    command.arg(model()).output().expect("cargo can be started")
}

const LIST: &str = "[ $1 = list ] && { echo 'The following debug probes were found:'; \
                    echo '[0]: STLink V3 (ST-LINK) -- 0483:374e'; exit 0; }";

#[test]
fn a_probe_writes_the_model_to_its_place_and_reads_it_back() {
    let program = probe_rs(&format!(
        "{LIST}\necho \"$@\" >> $here/log\n[ $1 = reset ] && exit 0\n\
         for last; do :; done\ncp \"$last\" $here/region.bin"
    ));
    for (board, chip, address) in
        [("stm32h7", "STM32H743ZITx", "0x8080000"), ("pico2", "RP235x", "0x10100000")]
    {
        let output = probe(board, Some(program.path()));
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("read back and is right"), "{}", said(&output));
        let log = fs::read_to_string(program.path().join("log")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let [download, reset] = lines[..] else { panic!("{log}") };
        let written = format!(
            "download --chip {chip} --non-interactive --binary-format bin --base-address {address} \
             --verify "
        );
        assert!(download.starts_with(&written) && download.ends_with(".bin"), "{download}");
        assert_eq!(reset, format!("reset --chip {chip} --non-interactive"));
        check_region(&fs::read(program.path().join("region.bin")).unwrap(), &model());
        fs::remove_file(program.path().join("log")).unwrap();
    }
}

#[test]
fn a_missing_or_failing_probe_is_an_error_that_says_what_to_do() {
    let said = complaint(&probe("stm32h7", None));
    assert!(
        said.contains("not installed") && said.contains("cargo install probe-rs-tools"),
        "{said}"
    );
    let none = probe_rs("echo 'No debug probes were found.'");
    let said = complaint(&probe("stm32h7", Some(none.path())));
    assert!(said.contains("finds no debug probe") && said.contains("udev"), "{said}");
    let broken = probe_rs("echo 'libusb is missing' >&2; exit 3");
    let said = complaint(&probe("stm32h7", Some(broken.path())));
    assert!(said.contains("`probe-rs list` failed") && said.contains("libusb"), "{said}");
    let two = probe_rs("echo '[0]: STLink V3 -- 0483:374e:1'; echo '[1]: J-Link -- 1366:0101:2'");
    let said = complaint(&probe("stm32h7", Some(two.path())));
    assert!(said.contains("1366:0101:2") && said.contains("PROBE_RS_PROBE="), "{said}");
    let fails = probe_rs(&format!("{LIST}\necho 'verification failed' >&2; exit 1"));
    let said = complaint(&probe("pico2", Some(fails.path())));
    assert!(said.contains("pico2 was not flashed"), "{said}");
    assert!(said.contains("verification failed") && said.contains("--chip NAME"), "{said}");
}
