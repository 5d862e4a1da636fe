//! Spinners, tables, numbers and files.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::error::Error;

/// A spinner on standard error; hidden where that is not a terminal.
pub(crate) fn spinner(prefix: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.green} {prefix}: {wide_msg} {elapsed}");
    let spinner = ProgressBar::new_spinner()
        .with_style(style.expect("a valid template"))
        .with_prefix(prefix)
        .with_finish(ProgressFinish::AndClear);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A progress bar on standard error; hidden where that is not a terminal.
pub(crate) fn bar(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} [{bar:32}] {pos}/{len} ({eta})");
    ProgressBar::new(length as u64)
        .with_style(style.expect("a valid template").progress_chars("=> "))
        .with_message(what.to_owned())
        .with_finish(ProgressFinish::AndClear)
}

/// A table of figures: name, value, remark.
pub(crate) fn table(rows: &[(&str, String, String)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    for (name, value, remark) in rows {
        table.add_row([*name, value, remark]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A table with a line of headings; all columns but the first `left` hold numbers.
pub(crate) fn sheet<const N: usize>(headings: [&str; N], left: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes a file, and its folder where need be, under a temporary name and renames it, so that no
/// half-written file remains. A link stays one; what is no file, as `/dev/null`, is written to.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = Error::file("write", path);
    let place = followed(path);
    // `/dev/stdout` and the like, which may be files: what is there already stays.
    let descriptor = place.starts_with("/proc");
    if descriptor || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let opened = OpenOptions::new().append(true).open(path);
        return opened.and_then(|mut file| file.write_all(content)).map_err(failed);
    }
    let path = &place;
    // Renaming asks only whether the folder may be written.
    if fs::metadata(path).is_ok_and(|found| found.permissions().readonly()) {
        return Err(failed(std::io::Error::new(ErrorKind::PermissionDenied, "it is read-only")));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(&failed)?;
    }
    let mut temporary = OsString::from(path);
    temporary.push(format!(".{}.tmp", std::process::id()));
    fs::write(&temporary, content)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .map_err(failed)
}

/// Where links lead, the last of which may lead to nothing yet.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // More are an error of the system's.
    for _ in 0..40 {
        // `/dev/fd` is a link to where the system lists this process's files.
        let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        if let Some((folder, name)) =
            folder.filter(|f| f.starts_with("/proc")).zip(path.file_name())
        {
            return folder.join(name);
        }
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(to);
    }
    path
}

/// A number with thousands separators.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let values = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(values, ["0", "999", "1,000", "1,234,567"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_what_they_lead_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/file");
        write(&file, b"old").unwrap();
        let links = [("one", "new/file"), ("two", "one"), ("dangling", "later/file")];
        let links = links.map(|(link, to)| {
            let link = dir.path().join(link);
            std::os::unix::fs::symlink(to, &link).unwrap();
            link
        });
        for link in &links {
            write(link, b"new").unwrap();
            assert!(link.is_symlink(), "{}", link.display());
            assert_eq!(fs::read(link).unwrap(), b"new");
        }
        for (folder, file) in [("new", &file), ("later", &dir.path().join("later/file"))] {
            assert_eq!(fs::read(file).unwrap(), b"new");
            assert_eq!(fs::read_dir(dir.path().join(folder)).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_must_not_be_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
        assert!(write(&file, b"other").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn open_files_are_known_by_all_their_names() {
        for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            assert!(followed(Path::new(name)).starts_with("/proc"), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_written_to() {
        use std::io::Read as _;
        use std::os::unix::fs::FileTypeExt as _;

        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Both ends at once, so that nobody waits for the other.
        let mut end = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        write(&pipe, b"through").unwrap();
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        let mut taken = [0; 7];
        end.read_exact(&mut taken).unwrap();
        assert_eq!(&taken, b"through");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write(&link, b"away").unwrap();
        assert!(link.is_symlink());
    }
}
