//! A compiler that can build for a chip.
//!
//! In order of preference:
//!
//! 1. the active compiler, if the target's core library is installed with it;
//! 2. the same after `rustup target add`;
//! 3. the active compiler with `-Z build-std`, if its sources are installed;
//! 4. the distribution's compiler in `/usr/bin` with `-Z build-std` (Debian:
//!    `rustc-web`, `cargo-web` and `rust-web-src`).

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::error::Error;

/// Which ways to consider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The first that works.
    #[default]
    Auto,
    /// An installed core library, or one that rustup can install.
    Installed,
    /// Build the core library from source.
    BuildStd,
}

/// A way to compile for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    target: String,
    cargo: PathBuf,
    rustc: PathBuf,
    /// A linker other than the compiler's own.
    linker: Option<PathBuf>,
    build_std: bool,
}

impl Toolchain {
    /// Finds a way to compile for a target; `progress` hears of steps that take time.
    ///
    /// # Errors
    /// [`Error::NoToolchain`], which says what was tried.
    pub fn find(target: &str, choice: Choice, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let (cargo, rustc) = active();
        let mut tried = Vec::new();
        if choice != Choice::BuildStd {
            match installed(target, &rustc, progress) {
                Ok(()) => return Ok(Self::new(target, cargo, rustc)),
                Err(reason) => tried.push(reason),
            }
        }
        if choice != Choice::Installed {
            let system = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
            for (cargo, rustc) in [(cargo, rustc), system] {
                match Self::from_source(target, cargo, rustc) {
                    Ok(toolchain) => return Ok(toolchain),
                    Err(reason) => tried.push(reason),
                }
            }
        }
        tried.dedup();
        Err(Error::NoToolchain { target: target.to_owned(), reason: tried.join("; ") })
    }

    fn new(target: &str, cargo: PathBuf, rustc: PathBuf) -> Self {
        let linker = hosted(target).then(|| cross_linker(target)).flatten();
        Self { target: target.to_owned(), cargo, rustc, linker, build_std: false }
    }

    fn from_source(target: &str, cargo: PathBuf, rustc: PathBuf) -> Result<Self, String> {
        let sysroot =
            sysroot(&rustc).ok_or_else(|| format!("there is no compiler `{}`", rustc.display()))?;
        if !sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
            return Err(format!("`{}` comes without the core library's source", rustc.display()));
        }
        if output(&cargo, &["--version"]).is_none() {
            return Err(format!("there is no `{}`", cargo.display()));
        }
        let linker = linker(target, &sysroot)
            .ok_or("neither rust-lld nor lld nor a GNU linker for the target is installed")?;
        let linker = Some(linker);
        Ok(Self { linker, build_std: true, ..Self::new(target, cargo, rustc) })
    }

    /// In a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        let version = output(&self.rustc, &["--version"]).unwrap_or_default();
        let version = version.split(" (").next().unwrap_or_default().trim().to_owned();
        if self.build_std { version + ", core built from source" } else { version }
    }

    /// `cargo build` for the target and these instruction set extensions, with results under
    /// `target_dir`, free of what the environment says about builds for the host.
    #[must_use]
    pub fn cargo_build(&self, target_dir: &Path, target_features: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        for variable in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
        ] {
            command.env_remove(variable);
        }
        command.args(["build", "--target", &self.target, "--target-dir"]);
        if self.build_std {
            // Another compiler's results would be thrown away with every change of mind.
            command.arg(target_dir.join("build-std")).args(["-Z", self.crates()]);
            command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &self.rustc);
        } else {
            command.arg(target_dir);
        }
        if let Some(linker) = &self.linker {
            command.env(self.setting("LINKER"), linker);
        }
        let flags = self.setting("RUSTFLAGS");
        if target_features.is_empty() {
            command.env_remove(flags);
        } else {
            let enabled: Vec<String> =
                target_features.iter().map(|name| format!("+{name}")).collect();
            command.env(flags, format!("-C target-feature={}", enabled.join(",")));
        }
        command
    }

    /// What to build of the standard library.
    fn crates(&self) -> &'static str {
        if hosted(&self.target) { "build-std=std,panic_unwind" } else { "build-std=core" }
    }

    /// The variable that holds a setting of cargo's for the target.
    fn setting(&self, name: &str) -> String {
        format!("CARGO_TARGET_{}_{name}", self.target.to_uppercase().replace(['-', '.'], "_"))
    }
}

/// The cargo and the compiler that are in use.
fn active() -> (PathBuf, PathBuf) {
    let program =
        |variable, name: &str| env::var_os(variable).unwrap_or_else(|| name.into()).into();
    (program("CARGO", "cargo"), program("RUSTC", "rustc"))
}

/// Whether the core library is installed, after asking rustup for it if need be.
fn installed(target: &str, rustc: &Path, progress: &dyn Fn(&str)) -> Result<(), String> {
    let sysroot =
        sysroot(rustc).ok_or_else(|| format!("there is no compiler `{}`", rustc.display()))?;
    if has_core(&sysroot, target) {
        return Ok(());
    }
    progress(&format!("rustup target add {target}"));
    let failed = match Command::new("rustup").args(["target", "add", target]).output() {
        Err(_) => {
            format!("`{}` has no core library for it, and there is no rustup", rustc.display())
        }
        Ok(_) if has_core(&sysroot, target) => return Ok(()),
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr);
            let last = message.lines().rfind(|line| !line.trim().is_empty());
            format!("`rustup target add` failed ({})", last.unwrap_or("without a message").trim())
        }
    };
    Err(failed)
}

fn has_core(sysroot: &Path, target: &str) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(target).join("lib");
    libraries.read_dir().is_ok_and(|entries| {
        entries
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    output(rustc, &["--print", "sysroot"]).map(|path| PathBuf::from(path.trim()))
}

/// Whether programs for a target run on an operating system.
fn hosted(target: &str) -> bool {
    target.contains("-linux-")
}

/// A C compiler that links for a target of Linux, where it is not the host's.
fn cross_linker(target: &str) -> Option<PathBuf> {
    let architecture = target.split('-').next().unwrap_or_default();
    let name = format!("{architecture}-linux-gnu-gcc");
    in_path().map(|dir| dir.join(&name)).find(|place| place.is_file())
}

/// The folders with programs.
fn in_path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// A linker for a bare-metal target: the compiler's own, else the first installed.
fn linker(target: &str, sysroot: &Path) -> Option<PathBuf> {
    if hosted(target) {
        return cross_linker(target);
    }
    let mut places = Vec::new();
    for sysroot in [Some(sysroot.to_owned()), self::sysroot(&active().1)].into_iter().flatten() {
        // lib/rustlib/HOST/bin/rust-lld
        let hosts = sysroot.join("lib/rustlib").read_dir().into_iter().flatten();
        places.extend(hosts.filter_map(Result::ok).map(|host| host.path().join("bin/rust-lld")));
    }
    let names = if target.starts_with("wasm") {
        ["rust-lld", "wasm-ld"].as_slice()
    } else if target.starts_with("thumb") {
        &["rust-lld", "ld.lld", "arm-none-eabi-ld", "arm-linux-gnueabihf-ld"]
    } else {
        &["rust-lld", "ld.lld", "riscv64-unknown-elf-ld", "riscv64-elf-ld"]
    };
    for name in names {
        places.extend(in_path().map(|dir| dir.join(name)));
    }
    // `is_file` follows links, so one that leads nowhere does not count.
    places.into_iter().find(|place| place.is_file())
}

/// What a program prints, if it can be run and succeeds.
fn output(program: &Path, args: &[&str]) -> Option<String> {
    let args = args.iter().map(OsString::from);
    let output = Command::new(program).args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_refused_with_reasons() {
        let error = Toolchain::find("thumbv0-none", Choice::Installed, &|_| ()).unwrap_err();
        assert!(error.to_string().contains("thumbv0-none"), "{error}");
    }

    #[test]
    fn host_settings_do_not_reach_the_chip() {
        let toolchain = Toolchain {
            linker: Some("ld".into()),
            build_std: true,
            ..Toolchain::new("thumbv8m.main-none-eabi", "cargo".into(), "rustc".into())
        };
        let command = toolchain.cargo_build(Path::new("t"), &["dsp", "mve"]);
        let variables: Vec<_> = command.get_envs().collect();
        assert!(variables.contains(&("RUSTFLAGS".as_ref(), None)));
        let linker = "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABI_LINKER".as_ref();
        assert!(variables.contains(&(linker, Some("ld".as_ref()))));
        let flags = "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABI_RUSTFLAGS".as_ref();
        assert!(variables.contains(&(flags, Some("-C target-feature=+dsp,+mve".as_ref()))));
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(args[..2], ["build", "--target"]);
        assert!(args.contains(&"build-std=core".into()));
    }
}
