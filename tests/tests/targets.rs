//! The engine builds for every chip family, without allocator, panics and floating point.

use std::path::{Path, PathBuf};
use std::{env, fs};

use object::{Object, ObjectSection, ObjectSymbol};
use picovit_firmware_tool::toolchain::{Choice, Toolchain};

/// Chip families the engine has to build for.
const TARGETS: [&str; 4] = [
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
    "riscv32imc-unknown-none-elf",
];

/// Parts of the names of soft-float helpers, of their Arm aliases and of the allocator.
const FORBIDDEN: [&str; 22] = [
    "__aeabi_f",
    "__aeabi_d",
    "__aeabi_i2f",
    "__aeabi_i2d",
    "__aeabi_ui2f",
    "__aeabi_ui2d",
    "__aeabi_l2f",
    "__aeabi_l2d",
    "__aeabi_ul2f",
    "__aeabi_ul2d",
    "sf2",
    "df2",
    "sf3",
    "df3",
    "sisf",
    "sidf",
    "disf",
    "didf",
    "sfsi",
    "dfsi",
    "__rust_alloc",
    "__rg_alloc",
];

/// Parts of the names of what Rust calls when it panics.
const PANICS: [&str; 4] = ["panicking", "index_fail", "unwrap_failed", "expect_failed"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds the engine for a target, its extensions and features of the engine; returns the folder
/// of the results and cargo's messages.
fn build(target: &str, extensions: &[&str], features: &str) -> (PathBuf, String) {
    let toolchain = Toolchain::find(target, Choice::default(), &|_| {})
        .unwrap_or_else(|error| panic!("{target}: {error:?}; run tools/setup.sh"));
    // Of its own, as tests run side by side.
    let dir = root().join("target/engine").join([extensions, &[features]].concat().join("-"));
    let output = toolchain
        .cargo_build(&dir, extensions)
        .args(["--release", "--package", "picovit", "--features", features])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{target}: {said}");
    (dir.join(target).join("release"), String::from_utf8(output.stdout).expect("JSON is UTF-8"))
}

/// Builds the engine for a target with these extensions and features and returns the library.
fn library(target: &str, extensions: &[&str], features: &str) -> Vec<u8> {
    let (dir, _) = build(target, extensions, features);
    let path = dir.join("libpicovit.rlib");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Code and referenced symbols of every object in a static library.
fn objects(library: &[u8]) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    let archive = object::read::archive::ArchiveFile::parse(library).expect("an archive");
    let (mut code, mut symbols) = (vec![], vec![]);
    for member in archive.members() {
        let data = member.expect("a member").data(library).expect("its data");
        let Ok(file) = object::File::parse(data) else { continue };
        symbols.extend(file.symbols().filter_map(|s| s.name().ok().map(String::from)));
        for section in file.sections().filter(|s| s.kind() == object::SectionKind::Text) {
            let name = section.name().unwrap_or_default().to_owned();
            code.push((name, section.data().unwrap_or_default().to_vec()));
        }
    }
    (code, symbols)
}

/// Whether Thumb-2 code holds a floating point instruction: coprocessor 10 or 11 space.
fn has_thumb_float(code: &[u8]) -> Option<usize> {
    let halves: Vec<u16> =
        code.chunks_exact(2).map(|half| u16::from_le_bytes([half[0], half[1]])).collect();
    let mut i = 0;
    while i < halves.len() {
        let first = halves[i];
        if first >> 11 < 0b11101 {
            i += 1;
            continue;
        }
        let second = halves.get(i + 1).copied().unwrap_or(0);
        let coprocessor = second >> 8 & 0xf;
        if first >> 8 & 0xec == 0xec && matches!(coprocessor, 10 | 11) {
            return Some(2 * i);
        }
        i += 2;
    }
    None
}

#[test]
fn engine_builds_for_every_chip_without_allocator_panics_and_floating_point() {
    for target in TARGETS {
        let (code, symbols) = objects(&library(target, &[], ""));
        refuse_panics(target, &symbols);
        for symbol in &symbols {
            // Helpers of the compiler; other names may contain anything.
            if !symbol.starts_with("__") {
                continue;
            }
            let bad = FORBIDDEN.iter().find(|part| symbol.contains(**part));
            assert!(bad.is_none(), "{target} references {symbol}");
        }
        // The other targets have no floating point instructions to begin with.
        if target.ends_with("hf") {
            for (section, bytes) in &code {
                // Error messages and tests of them are not the int8 path, but need none either.
                let place = has_thumb_float(bytes);
                assert!(place.is_none(), "{target}: {section} has one at {place:x?}");
            }
        }
    }
}

/// The kernels of extensions that a target's name does not bring.
#[test]
fn extensions_bring_neither_allocator_nor_panics() {
    for extension in ["dsp", "mve"] {
        let target = "thumbv8m.main-none-eabihf";
        let (_, symbols) = objects(&library(target, &[extension], "f16"));
        let kernels = if extension == "mve" { "picovit_helium" } else { "picovit_cortex_m" };
        assert!(symbols.iter().any(|symbol| symbol.contains(kernels)), "no kernels: {extension}");
        refuse_panics(target, &symbols);
    }
}

/// Fails where a library refers to what Rust calls when it panics, or to the allocator.
fn refuse_panics(target: &str, symbols: &[String]) {
    assert!(symbols.iter().any(|s| s.contains("picovit")), "{target}: no engine in the library");
    let parts = || PANICS.iter().chain(&["__rust_alloc", "__rg_alloc"]);
    let bad = symbols.iter().find(|symbol| parts().any(|part| symbol.contains(part)));
    assert!(bad.is_none(), "{target} references {bad:?}");
}

#[test]
fn float_operations_bring_neither_allocator_nor_panics() {
    for target in ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"] {
        let (_, symbols) = objects(&library(target, &[], "f16"));
        assert!(symbols.iter().any(|symbol| symbol.contains("float")), "{target}: no floats");
        refuse_panics(target, &symbols);
    }
}

#[test]
fn the_engine_knows_the_extensions_of_its_chip() {
    for (target, extensions, expected) in [
        ("thumbv6m-none-eabi", &[][..], &["armv6m"][..]),
        ("thumbv7em-none-eabihf", &[], &["fpu", "dsp"]),
        ("thumbv8m.main-none-eabihf", &[], &["fpu", "armv8m"]),
        ("thumbv8m.main-none-eabihf", &["dsp"], &["fpu", "armv8m", "dsp"]),
        ("thumbv8m.main-none-eabihf", &["mve"], &["fpu", "armv8m", "dsp", "mve"]),
        ("riscv32imc-unknown-none-elf", &[], &[]),
    ] {
        let (_, messages) = build(target, extensions, "");
        let settings = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let ours = message["reason"] == "build-script-executed"
                && message["package_id"].as_str()?.contains("crates/picovit#");
            ours.then(|| message["cfgs"].clone())
        });
        let settings = settings.unwrap_or_else(|| panic!("{target}: no build script ran"));
        assert_eq!(settings, serde_json::json!(expected), "{target} with {extensions:?}");
    }
}

#[test]
fn the_float_detector_sees_a_float_instruction() {
    // vadd.f32 s0, s0, s1 and mla r0, r1, r2, r3.
    assert_eq!(has_thumb_float(&[0x30, 0xee, 0x20, 0x0a]), Some(0));
    assert_eq!(has_thumb_float(&[0x01, 0xfb, 0x02, 0x30]), None);
}
