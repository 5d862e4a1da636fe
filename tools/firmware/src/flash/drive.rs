//! The drive that a boot loader offers.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::board::{Board, Drive};
use crate::error::Error;

/// The file that says what a drive is.
const INFO: &str = "INFO_UF2.TXT";
/// Where systems put drives, and how far below.
const PLACES: [(&str, usize); 4] = [("/media", 2), ("/run/media", 2), ("/mnt", 1), ("/Volumes", 1)];

/// The drive of a board: that in a folder, or else the first of those that are there.
pub(super) fn find(
    board: &'static Board,
    drive: &Drive,
    named: Option<&Path>,
) -> Result<PathBuf, Error> {
    let help = || {
        format!(
            "{}: it appears as a drive; or name the drive with --drive DIR, write a file to copy there \
             with --uf2 FILE, or use a debug probe with --probe",
            drive.start
        )
    };
    let fails = |reason: String| Error::NoBoard { board: board.name, reason, help: help() };
    if let Some(folder) = named {
        return match id(folder) {
            Some(id) if id == drive.board => Ok(folder.to_owned()),
            Some(id) => Err(fails(format!(
                "{} is the drive of `{id}`, not of `{}`",
                folder.display(),
                drive.board
            ))),
            None => Err(fails(format!("there is no {INFO} in {}", folder.display()))),
        };
    }
    let drives = PLACES.iter().flat_map(|&(place, depth)| below(Path::new(place), depth));
    let drives: Vec<(PathBuf, String)> =
        drives.filter_map(|folder| id(&folder).map(|id| (folder, id))).collect();
    match drives.iter().find(|(_, id)| id == drive.board) {
        Some((folder, _)) => Ok(folder.clone()),
        None if drives.is_empty() => {
            let places = PLACES.map(|(place, _)| place).join(", ");
            Err(fails(format!("no drive `{}` under {places}", drive.board)))
        }
        None => {
            let others: Vec<&str> = drives.iter().map(|(_, id)| id.as_str()).collect();
            Err(fails(format!("no drive `{}`, only of `{}`", drive.board, others.join("`, `"))))
        }
    }
}

/// Folders so many levels below one, in order of their names.
fn below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort_unstable();
    let deeper: Vec<PathBuf> = match depth {
        0 | 1 => Vec::new(),
        _ => folders.iter().flat_map(|folder| below(folder, depth - 1)).collect(),
    };
    folders.extend(deeper);
    folders
}

/// What the drive in a folder says it is.
fn id(folder: &Path) -> Option<String> {
    let info = fs::read_to_string(folder.join(INFO)).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("Board-ID:"))?;
    Some(id.trim().to_owned())
}

/// Copies a file to the drive of a board and waits for the drive to go, as it does once the boot loader
/// has all of it. What is in the flash cannot be read back this way.
pub(super) fn copy(
    board: &'static Board,
    folder: &Path,
    content: &[u8],
    patience: Duration,
) -> Result<(), Error> {
    let path = folder.join("picovit.uf2");
    // Under its own name at once: the boot loader takes blocks as they come, and a drive that is gone
    // after the last one has nothing to rename.
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(content)?;
        // The board may have started by now, and the drive be gone.
        let _ = file.sync_all();
        Ok(())
    });
    let gone = |deadline: Instant| {
        while folder.join(INFO).is_file() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(50));
        }
        true
    };
    let help = "unplug the board, start its boot loader again, and repeat the command".to_owned();
    match written {
        Err(error) => {
            let reason = format!("cannot write {}: {error}", path.display());
            Err(Error::NotFlashed { board: board.name, reason, help })
        }
        Ok(()) if gone(Instant::now() + patience) => Ok(()),
        Ok(()) => {
            let reason = format!(
                "the drive {} is still there after {} seconds: the boot loader did not take all of it",
                folder.display(),
                patience.as_secs()
            );
            Err(Error::NotFlashed { board: board.name, reason, help })
        }
    }
}
