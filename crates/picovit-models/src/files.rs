//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file under a temporary name in the same folder, then renames it: readers see the
/// old content or the new, never a part. A link stays one; what is no file, as `/dev/null`, is written to.
///
/// # Errors
/// If the folder cannot be written, or the file is there and must not be.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    Pending::write(path, content)?.publish()
}

/// Content that is written, but not yet under its name.
pub(crate) struct Pending {
    /// Nothing where it went right to its place.
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Pending {
    pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<Self> {
        // `/dev/stdout` and the like, which may be files: what is there already stays.
        if is_descriptor(path) {
            OpenOptions::new().append(true).open(path)?.write_all(content)?;
            return Ok(Self { temporary: None, path: path.into() });
        }
        let path = behind_links(path);
        if let Ok(found) = fs::metadata(&path) {
            if !found.is_file() && !found.is_dir() {
                OpenOptions::new().write(true).open(&path)?.write_all(content)?;
                return Ok(Self { temporary: None, path });
            }
            // Renaming asks only whether the folder may be written.
            if found.permissions().readonly() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
            }
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut file = File::create(&temporary)?;
        // Removed again if anything fails.
        let pending = Self { temporary: Some(temporary), path };
        file.write_all(content).and_then(|()| file.sync_all())?;
        Ok(pending)
    }

    pub(crate) fn publish(mut self) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
        }
        self.temporary = None;
        Ok(())
    }
}

/// Links behind each other; more are an error of the system's.
const MAX_LINKS: usize = 40;

/// Where a link leads; what it names need not be there yet.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Ok(to) = fs::read_link(&path) else { break };
        path = folder(&path).join(to);
    }
    path
}

/// Whether a path is another name of an open file of this process, as `/dev/stdout`.
#[must_use]
pub fn is_descriptor(path: &Path) -> bool {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        // `/dev/fd` is a link to where the system lists them.
        let folder = fs::canonicalize(folder(&path)).unwrap_or_default();
        if folder.starts_with("/proc") || folder.starts_with("/dev/fd") {
            return true;
        }
        let Ok(to) = fs::read_link(&path) else { break };
        path = folder.join(to);
    }
    false
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.json"), dir.path().join("a.json.tmp"));
        fs::write(&other, "somebody's").unwrap();
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(&other).unwrap(), b"somebody's");
        assert!(write_atomic(dir.path(), b"").is_err());
        assert!(write_atomic(&dir.path().join("missing/a.json"), b"").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomic(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // Also where nothing is there yet.
        fs::remove_file(&file).unwrap();
        write_atomic(&link, b"first").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
        assert!(write_atomic(&file, b"second").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"first");
        // A pipe whose other end reads.
        let (pipe, reader) = (dir.path().join("pipe"), dir.path().join("pipe"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn(move || fs::read(reader).unwrap());
        write_atomic(&pipe, b"content").unwrap();
        assert_eq!(reader.join().unwrap(), b"content");
        assert!(!fs::metadata(&pipe).unwrap().is_file());
    }
}
