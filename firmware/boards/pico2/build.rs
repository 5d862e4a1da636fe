//! Hands the memory map to the linker, and to the program what depends on its size.

use std::path::PathBuf;
use std::{env, fs};

/// RAM that the board is built for unless `PICOVIT_RAM_KB` says otherwise.
const RAM_KB: u32 = 128;
/// Stack of core 1, where the model runs, unless `PICOVIT_STACK_KB` says otherwise.
const STACK_KB: u32 = 8;
/// Working memory of the model beside that, unless `PICOVIT_ARENA_KB` says otherwise, as
/// `cargo firmware` does.
const ARENA_KB: u32 = 32;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed=memory");
    let map = fs::read_to_string("memory/pico2.x").expect("the memory map");
    // Core 0 needs little stack: the model runs on core 1. Linkers differ in which symbols they take
    // where memory is laid out: they get numbers.
    let ram = kilobytes("PICOVIT_RAM_KB", RAM_KB);
    let map = map.replace("RAM_SIZE", &format!("{ram}K")).replace("STACK_SIZE", "3K");
    fs::write(out.join("memory.x"), map).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={}", out.display());
    for script in ["link.x", "defmt.x"] {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    println!("cargo:rustc-link-arg-bins=--nmagic");

    let arena = kilobytes("PICOVIT_ARENA_KB", ARENA_KB);
    let stack = kilobytes("PICOVIT_STACK_KB", STACK_KB);
    let sizes = format!(
        "/// Working memory of the model, in bytes.\npub const ARENA_BYTES: usize = {arena} * 1024;\n\
         /// Stack of core 1, in bytes.\npub const STACK_BYTES: usize = {stack} * 1024;\n"
    );
    fs::write(out.join("sizes.rs"), sizes).expect("OUT_DIR is writable");
}

/// What an environment variable says.
fn kilobytes(variable: &str, default: u32) -> u32 {
    println!("cargo:rerun-if-env-changed={variable}");
    match env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable}: {value} is no number")),
        Err(_) => default,
    }
}
