//! The drive that a boot loader offers.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::uf2::BLOCK;
use crate::board::{Board, Drive};
use crate::error::Error;

/// The file that says what a drive is.
const INFO: &str = "INFO_UF2.TXT";
/// Where systems put drives, and how far below.
const PLACES: [(&str, usize); 4] = [("/media", 2), ("/run/media", 2), ("/mnt", 1), ("/Volumes", 1)];

/// The drive of a board: that in a folder, or else the only one that is there.
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
    let found = only(&drives, drive.board);
    found.map_err(|(reason, many)| match many {
        false => fails(reason),
        true => {
            let help = "name one with --drive DIR, or unplug the other boards".to_owned();
            Error::NoBoard { board: board.name, reason, help }
        }
    })
}

/// The one drive of a board, or why there is none, and whether that is because there are several.
fn only(drives: &[(PathBuf, String)], board: &str) -> Result<PathBuf, (String, bool)> {
    let mut ours: Vec<&Path> = Vec::new();
    for (folder, _) in drives.iter().filter(|(_, id)| id == board) {
        // Two places of a system may be one.
        let is = |other: &&Path| {
            folder.canonicalize().ok().is_some_and(|place| other.canonicalize().ok() == Some(place))
        };
        if !ours.iter().any(is) {
            ours.push(folder);
        }
    }
    match ours[..] {
        [folder] => Ok(folder.to_owned()),
        [] if drives.is_empty() => {
            let places = PLACES.map(|(place, _)| place).join(", ");
            Err((format!("no drive `{board}` under {places}"), false))
        }
        [] => {
            let others: Vec<&str> = drives.iter().map(|(_, id)| id.as_str()).collect();
            Err((format!("no drive `{board}`, only of `{}`", others.join("`, `")), false))
        }
        _ => {
            let all: Vec<String> = ours.iter().map(|folder| folder.display().to_string()).collect();
            let count = all.len();
            Err((format!("there are {count} drives `{board}`: {}", all.join(", ")), true))
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
    let file = File::create(&path).map_err(|error| error.to_string());
    let sent = file.and_then(|mut file| send(&mut file, folder, content));
    let reason = match sent {
        Err(reason) => format!("cannot write {}: {reason}", path.display()),
        Ok(()) if gone(folder, Instant::now() + patience, takes_files) => return Ok(()),
        Ok(()) => format!(
            "the drive {} is still there after {} seconds: the boot loader did not take all of it",
            folder.display(),
            patience.as_secs()
        ),
    };
    let help = "unplug the board, start its boot loader again, and repeat the command".to_owned();
    Err(Error::NotFlashed { board: board.name, reason, help })
}

/// A file on a drive.
trait Sink {
    /// Adds bytes to it.
    fn add(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes sure that the drive has them.
    fn settle(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Hands blocks to a boot loader. Its drive goes with the last one: if it is gone before that, the loader
/// does not have all of them.
fn send(file: &mut impl Sink, folder: &Path, content: &[u8]) -> Result<(), String> {
    let (first, last) = content.split_at(content.len().saturating_sub(BLOCK));
    file.add(first).and_then(|()| file.settle()).map_err(|error| error.to_string())?;
    if !folder.join(INFO).is_file() {
        return Err("the drive went away before the last block".to_owned());
    }
    file.add(last).map_err(|error| error.to_string())?;
    // The board may have started by now, and the drive be gone.
    let _ = file.settle();
    Ok(())
}

/// Whether a drive goes until then. One that somebody mounted by hand stays mounted, and the system goes
/// on to tell what it remembers of it, but it takes no more files.
fn gone(folder: &Path, deadline: Instant, takes_files: impl Fn(&Path) -> bool) -> bool {
    while folder.join(INFO).is_file() {
        if Instant::now() >= deadline {
            return !takes_files(folder);
        }
        sleep(Duration::from_millis(50));
    }
    true
}

/// Whether a file can be written to a drive.
fn takes_files(folder: &Path) -> bool {
    let path = folder.join("picovit.txt");
    let write = |mut file: File| file.write_all(b"\n").and_then(|()| file.sync_all());
    let taken = File::create(&path).and_then(write).is_ok();
    let _ = fs::remove_file(&path);
    taken
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A boot loader: takes blocks, and its drive goes with one of them.
    struct Loader {
        drive: TempDir,
        taken: usize,
        goes_with: usize,
        /// Whether the system tells of what a drive that is gone did not get.
        tells: bool,
    }

    impl Loader {
        fn new(goes_with: usize, tells: bool) -> Self {
            let drive = TempDir::new().unwrap();
            fs::write(drive.path().join(INFO), "Board-ID: RP2350").unwrap();
            Self { drive, taken: 0, goes_with, tells }
        }

        fn is_there(&self) -> bool {
            self.drive.path().join(INFO).exists()
        }

        fn send(&mut self, blocks: usize) -> Result<(), String> {
            let folder = self.drive.path().to_owned();
            send(self, &folder, &vec![0; blocks * BLOCK])
        }
    }

    impl Sink for Loader {
        fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
            for _ in bytes.chunks_exact(BLOCK) {
                if !self.is_there() {
                    break;
                }
                self.taken += 1;
                if self.taken == self.goes_with {
                    fs::remove_file(self.drive.path().join(INFO)).unwrap();
                }
            }
            // The system keeps them for later.
            Ok(())
        }

        fn settle(&mut self) -> io::Result<()> {
            match self.is_there() || !self.tells {
                true => Ok(()),
                false => Err(io::Error::other("no such device")),
            }
        }
    }

    #[test]
    fn a_board_is_written_to_only_where_it_is_the_only_one() {
        let dir = TempDir::new().unwrap();
        let drive = |name: &str, id: &str| {
            let folder = dir.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            (folder, id.to_owned())
        };
        let (one, two) = (drive("one", "RP2350"), drive("two", "RP2350"));
        let other = drive("other", "RPI-RP2");
        assert_eq!(only(&[other.clone(), one.clone()], "RP2350"), Ok(one.0.clone()));
        let (reason, many) =
            only(&[one.clone(), other.clone(), two.clone()], "RP2350").unwrap_err();
        let names = [&one.0, &two.0].map(|folder| reason.contains(&*folder.to_string_lossy()));
        assert!(many && names == [true; 2] && !reason.contains("other"), "{reason}");
        // The same by another name.
        let again = (dir.path().join("two/../one"), "RP2350".to_owned());
        assert_eq!(only(&[one.clone(), again], "RP2350"), Ok(one.0));
        let (reason, many) = only(&[other], "RP2350").unwrap_err();
        assert!(!many && reason.contains("only of `RPI-RP2`"), "{reason}");
    }

    #[test]
    fn a_drive_that_goes_with_the_last_block_has_all_of_them() {
        for (blocks, tells) in [(8, true), (8, false), (1, true)] {
            let mut loader = Loader::new(blocks, tells);
            assert_eq!(loader.send(blocks), Ok(()));
            assert_eq!(loader.taken, blocks);
            assert!(gone(loader.drive.path(), Instant::now(), takes_files));
        }
    }

    #[test]
    fn a_drive_that_goes_before_is_an_error() {
        for goes_with in [1, 4, 7] {
            for (tells, why) in [(true, "no such device"), (false, "before the last block")] {
                let mut loader = Loader::new(goes_with, tells);
                let reason = loader.send(8).unwrap_err();
                assert!(reason.contains(why), "{goes_with}: {reason}");
                assert_eq!(loader.taken, goes_with);
            }
        }
    }

    #[test]
    fn a_drive_that_stays_did_not_take_all() {
        let folder = Loader::new(9, true).drive;
        let content: Vec<u8> = (0..8 * BLOCK).map(|place| (place / BLOCK) as u8).collect();
        let board = crate::board::named("pico2").unwrap();
        let error = copy(board, folder.path(), &content, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("still there"), "{error}");
        assert_eq!(fs::read(folder.path().join("picovit.uf2")).unwrap(), content);
        // Nothing of the test whether it is there.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        // The system remembers its files, but the drive is gone.
        assert!(gone(folder.path(), Instant::now(), |_| false));
        assert!(!takes_files(&folder.path().join("no/such/folder")));
    }
}
