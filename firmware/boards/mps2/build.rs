//! Finds the model and the pictures, and hands the memory map to the linker.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    memory_map(&out);
    println!("cargo:rustc-link-search={}", out.display());
    for script in ["link.x", "defmt.x"] {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    println!("cargo:rustc-link-arg-bins=--nmagic");

    if env::var_os("CARGO_FEATURE_KERNELS").is_some() {
        // The check of the kernels has neither.
        return;
    }
    // A model in memory of its own is no part of the build.
    if env::var_os("CARGO_FEATURE_REGION").is_none() {
        model();
    }
    let frames = file("PICOVIT_FRAMES").unwrap_or_else(|| {
        // A clip of no pictures: magic, version 1, grey, 1 x 1, none.
        let empty = out.join("empty.clip");
        fs::write(&empty, b"PVCL\x01\0\0\0\x01\0\x01\0\0\0\0\0").expect("OUT_DIR is writable");
        empty
    });
    println!("cargo:rerun-if-changed={}", frames.display());
    println!("cargo:rustc-env=PICOVIT_FRAMES_FILE={}", frames.display());
}

/// Says where the model is.
fn model() {
    let model = file("PICOVIT_MODEL").unwrap_or_else(|| {
        let root = Path::new("../../..").canonicalize().expect("the repository root");
        root.join("model.pvit")
    });
    if model.is_file() {
        println!("cargo:rerun-if-changed={}", model.display());
        println!("cargo:rustc-env=PICOVIT_MODEL_FILE={}", model.display());
    } else {
        println!(
            "cargo:error=no model at {}: make one with `cargo tools quantize best.mpk`, or name \
             one in the environment variable PICOVIT_MODEL",
            model.display()
        );
    }
}

/// Writes the memory map that `PICOVIT_MEMORY` names, for `PICOVIT_RAM_KB` of RAM (128) with
/// `PICOVIT_STACK_KB` of stack (8): linking fails when the variables need more than the rest.
fn memory_map(out: &Path) {
    println!("cargo:rerun-if-changed=memory");
    let map = setting("PICOVIT_MEMORY", "mps2-an386") + ".x";
    let (ram, stack) = (setting("PICOVIT_RAM_KB", "128"), setting("PICOVIT_STACK_KB", "8"));
    // Linkers differ in which symbols they take where memory is laid out: they get numbers.
    for (from, to) in [(map.as_str(), "memory.x"), ("stack.x", "stack.x")] {
        let script = Path::new("memory").join(from);
        let text = fs::read_to_string(&script)
            .unwrap_or_else(|error| panic!("PICOVIT_MEMORY: {}: {error}", script.display()));
        let text = text.replace("RAM_SIZE", &format!("{ram}K"));
        let text = text.replace("STACK_SIZE", &format!("{stack}K"));
        fs::write(out.join(to), text).expect("OUT_DIR is writable");
    }
}

/// What an environment variable says.
fn setting(variable: &str, default: &str) -> String {
    println!("cargo:rerun-if-env-changed={variable}");
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// The file that an environment variable names.
fn file(variable: &str) -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed={variable}");
    env::var_os(variable).map(PathBuf::from)
}
