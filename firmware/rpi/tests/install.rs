//! The install script, into a folder instead of the system.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const FILES: [&str; 4] = [
    "usr/local/bin/picovit-camera",
    "usr/local/share/picovit-camera/model.pvit",
    "etc/systemd/system/picovit-camera.service",
    "etc/picovit-camera.conf",
];

/// The beginning of a program for this machine.
fn program(machine: u8) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(18, 0);
    header.extend([machine, 0]);
    header
}

/// What was copied to the Raspberry Pi.
fn copied() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["install.sh", "picovit-camera.service"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), folder.path().join(name))
            .unwrap();
    }
    fs::write(folder.path().join("picovit-camera"), program(183)).unwrap();
    fs::write(folder.path().join("model.pvit"), b"PVIT and so on").unwrap();
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg(folder.join("install.sh")).args(args);
    command
}

fn install(folder: &Path, machine: &str, args: &[&str]) -> Output {
    let mut command = command(folder, args);
    command.env("DESTDIR", folder.join("root")).env("PICOVIT_MACHINE", machine);
    command.output().unwrap()
}

/// A stand-in for a program of the system.
fn script(path: &Path, lines: &str) {
    fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// With the stand-ins of this folder in front.
fn search_path(folder: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths([folder.to_owned()].into_iter().chain(env::split_paths(&path))).unwrap()
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_installs_keeps_settings_and_leaves_nothing_behind() {
    let folder = copied();
    let there = |name: &str| folder.path().join("root").join(name);
    for round in 0..2 {
        let output = install(folder.path(), "aarch64", &[]);
        assert!(output.status.success(), "{output:?}");
        assert!(FILES.iter().all(|name| there(name).is_file()));
        let settings = fs::read_to_string(there(FILES[3])).unwrap();
        assert!(settings.contains("PICOVIT_ARGS=") || round == 1, "{settings}");
        assert!(settings == "mine" || round == 0, "{settings}");
        fs::write(there(FILES[3]), "mine").unwrap();
    }
    for _ in 0..2 {
        let output = install(folder.path(), "aarch64", &["--uninstall"]);
        assert!(output.status.success(), "{output:?}");
        assert!(!FILES.iter().any(|name| there(name).exists()));
    }
}

#[test]
fn what_cannot_run_is_not_installed() {
    let folder = copied();
    let said = complaint(&install(folder.path(), "armv7l", &[]));
    assert!(said.contains("armv7l") && said.contains("64-bit"), "{said}");
    // Of two systems on the same kernel.
    let bits = |bits: &str| {
        script(&folder.path().join("getconf"), &format!("[ $1 = LONG_BIT ] && echo {bits}"));
        let mut command = command(folder.path(), &[]);
        command.env("PATH", search_path(folder.path())).env("DESTDIR", folder.path().join(bits));
        command.env("PICOVIT_MACHINE", "aarch64").output().unwrap()
    };
    let said = complaint(&bits("32"));
    assert!(said.contains("32 bits") && said.contains("64-bit"), "{said}");
    assert!(bits("64").status.success());
    let said = complaint(&install(folder.path(), "aarch64", &["--model", "none.pvit"]));
    assert!(
        said.contains("none.pvit is missing") && said.contains("cargo tools quantize"),
        "{said}"
    );
    let said = complaint(&install(folder.path(), "aarch64", &["--fast"]));
    assert!(said.contains("--fast"), "{said}");
    fs::write(folder.path().join("picovit-camera"), program(62)).unwrap();
    let said = complaint(&install(folder.path(), "aarch64", &[]));
    assert!(said.contains("cargo firmware rpi"), "{said}");
    assert!(!folder.path().join("root").exists());
}

#[test]
fn a_password_that_nobody_can_type_is_not_asked_for() {
    let folder = copied();
    // Somebody else than root, who is asked for a password. Nothing is installed either way.
    script(&folder.path().join("id"), "echo 1000");
    script(&folder.path().join("sudo"), "printf '%s\\n' \"$*\" >>\"$ASKED\"; exit 1");
    let asked = folder.path().join("asked");
    // Without a terminal, also where the tests have one.
    let mut command = Command::new("setsid");
    command.args(["-w", "sh"]).arg(folder.path().join("install.sh")).arg("--no-start");
    command.env("PATH", search_path(folder.path())).env("PICOVIT_MACHINE", "aarch64");
    let said = complaint(&command.env("ASKED", &asked).env_remove("DESTDIR").output().unwrap());
    assert!(said.contains("ssh -t"), "{said}");
    assert_eq!(fs::read_to_string(asked).unwrap(), "-n true\n");
}
