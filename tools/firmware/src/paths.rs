//! Places in the repository.

use std::path::{Path, PathBuf};

/// The repository: the closest folder above the current one that holds the firmware workspace,
/// else the one this program was built from.
#[must_use]
pub fn root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let holds = |dir: &&Path| {
        dir.join("firmware/Cargo.toml").is_file() && dir.join("tools/firmware").is_dir()
    };
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match here.ancestors().find(holds) {
        Some(root) => root.to_owned(),
        None => built.canonicalize().unwrap_or(built),
    }
}

/// Where results of a board go.
#[must_use]
pub fn results(board: &str) -> PathBuf {
    root().join("target/firmware").join(board)
}

/// A path as a reader sees it: relative to the current folder where that is shorter.
#[must_use]
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
