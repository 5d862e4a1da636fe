//! Hands the memory map to the linker.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed=memory");
    let map = fs::read_to_string("memory/stm32h743.x").expect("the memory map");
    // Linkers differ in which symbols they take where memory is laid out: they get numbers.
    let map = map.replace("RAM_SIZE", &kilobytes("PICOVIT_RAM_KB", "128"));
    let map = map.replace("STACK_SIZE", &kilobytes("PICOVIT_STACK_KB", "8"));
    fs::write(out.join("memory.x"), map).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={}", out.display());
    for script in ["link.x", "defmt.x"] {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    println!("cargo:rustc-link-arg-bins=--nmagic");
}

/// What an environment variable says, for the linker.
fn kilobytes(variable: &str, default: &str) -> String {
    println!("cargo:rerun-if-env-changed={variable}");
    env::var(variable).unwrap_or_else(|_| default.to_owned()) + "K"
}
