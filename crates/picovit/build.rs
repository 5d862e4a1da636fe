//! Tells the engine which extensions of the instruction set its kernels may use: `cfg(dsp)` (dual
//! 16-bit multiply-accumulates of Cortex-M4, M7, M33 and later) and `cfg(mve)` (Helium, Cortex-M52
//! and later); `cfg(fpu)` for a Cortex-M with floats of 32 bits and conversions from 16; `cfg(armv6m)`
//! for Cortex-M0 and M0+; `cfg(wide)` for processors of hosts, which have vector units.
//!
//! The stable compiler hides these from `cfg(target_feature)`. They follow from the target's name and
//! from the flags that name features or a processor.

use std::env;

/// Processors with the extension for certain, by the compiler's names. The Cortex-M33 may be built
/// without, but the compiler takes it to have it as well.
const DSP: [&str; 7] = [
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m35p",
    "cortex-m52",
    "cortex-m55",
    "cortex-m85",
];
const MVE: [&str; 3] = ["cortex-m52", "cortex-m55", "cortex-m85"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(dsp)");
    println!("cargo:rustc-check-cfg=cfg(mve)");
    println!("cargo:rustc-check-cfg=cfg(fpu)");
    println!("cargo:rustc-check-cfg=cfg(armv6m)");
    println!("cargo:rustc-check-cfg=cfg(armv8m)");
    println!("cargo:rustc-check-cfg=cfg(wide)");
    let target = env::var("TARGET").unwrap_or_default();
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let simd128 = features.split(',').any(|feature| feature == "simd128");
    // What the sources go by: names of targets begin otherwise, too (`arm64e-apple-darwin`).
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if matches!(arch.as_str(), "x86_64" | "aarch64") || simd128 {
        println!("cargo:rustc-cfg=wide");
    }
    if !target.starts_with("thumb") {
        return;
    }
    let cortex_m = target.starts_with("thumbv7em") || target.starts_with("thumbv8m.main");
    if cortex_m && target.ends_with("eabihf") {
        println!("cargo:rustc-cfg=fpu");
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut dsp = target.starts_with("thumbv7em");
    let mut mve = false;
    for flag in flags.split('\x1f') {
        let option = flag.strip_prefix("-C").unwrap_or(flag);
        let option = option.strip_prefix("--codegen=").unwrap_or(option);
        match option.split_once('=') {
            Some(("target-cpu", cpu)) => {
                dsp |= DSP.contains(&cpu);
                mve |= MVE.contains(&cpu);
            }
            Some(("target-feature", features)) => {
                for feature in features.split(',') {
                    match feature {
                        "+dsp" => dsp = true,
                        // Helium includes the DSP extension.
                        "+mve" | "+mve.fp" => (dsp, mve) = (true, true),
                        "-dsp" => (dsp, mve) = (false, false),
                        "-mve" => mve = false,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if target.starts_with("thumbv6m") {
        println!("cargo:rustc-cfg=armv6m");
    }
    if target.starts_with("thumbv8m.main") {
        println!("cargo:rustc-cfg=armv8m");
    }
    if dsp {
        println!("cargo:rustc-cfg=dsp");
    }
    if mve {
        println!("cargo:rustc-cfg=mve");
    }
}
