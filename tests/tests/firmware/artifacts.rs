//! Artifacts of the models that ship, each made once for all tests.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use crate::{cargo, root, said};

/// Where they are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("artifacts")
}

/// Names of the models that ship.
pub fn shipped() -> Vec<String> {
    let folders = fs::read_dir(root().join("models")).expect("models ship");
    folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect()
}

/// A shipped model in a number format.
pub fn quantized(model: &str, format: &str) -> PathBuf {
    quantized_for(model, format, "cortex-m4")
}

/// A shipped model in a number format, packed for a processor.
pub fn quantized_for(model: &str, format: &str, target: &str) -> PathBuf {
    // Those of an earlier run may be out of date: only what this process made counts.
    static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let path = folder().join(format!("{model}-{format}-{target}.pvit"));
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.contains(&path) {
        return path;
    }
    fs::create_dir_all(folder()).unwrap();
    let checkpoint = root().join("models").join(model).join("best.mpk");
    let args = ["tools", "quantize", "--no-eval", "--format", format, "--target", target, "--out"];
    let args = args.map(OsStr::new);
    let output = cargo(args.into_iter().chain([path.as_os_str(), checkpoint.as_os_str()]));
    assert!(output.status.success(), "{}", said(&output));
    made.insert(path.clone());
    path
}

/// The shipped model in half precision.
pub fn half_precision_model() -> PathBuf {
    quantized("cct_2_3x2_fmnist", "f16")
}

/// The shipped model: its artifact, or one made from its checkpoint.
pub fn real_model() -> PathBuf {
    if let Some(named) = env::var_os("PICOVIT_TEST_MODEL") {
        return named.into();
    }
    let artifact = root().join("models/cct_2_3x2_fmnist/model.pvit");
    if artifact.is_file() {
        return artifact;
    }
    quantized("cct_2_3x2_fmnist", "int8")
}
