//! The install script, into a folder instead of the system.

use std::fs;
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

fn install(folder: &Path, machine: &str, args: &[&str]) -> Output {
    Command::new("sh")
        .arg(folder.join("install.sh"))
        .args(args)
        .env("DESTDIR", folder.join("root"))
        .env("PICOVIT_MACHINE", machine)
        .output()
        .unwrap()
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
