//! Test pictures, from the files of Fashion-MNIST to a clip in flash.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use picovit::image::PixelFormat;
use picovit_app::ClipHeader;
use picovit_app::clip::{HEADER_BYTES, UNKNOWN};

use crate::board::Board;
use crate::camera::Camera;
use crate::error::Error;
use crate::paths::root;

const IMAGES: &str = "t10k-images-idx3-ubyte";
const LABELS: &str = "t10k-labels-idx1-ubyte";

/// Where the shipped pictures are.
#[must_use]
pub fn shipped() -> PathBuf {
    root().join("models/cct_2_3x2_fmnist/data")
}

/// The first `count` pictures of the test set in a folder, as a clip for the firmware. Without
/// `labelled` their classes are left out.
///
/// # Errors
/// If the files are missing or damaged, or hold fewer pictures.
pub fn clip(dir: &Path, count: usize, labelled: bool) -> Result<Vec<u8>, Error> {
    let images = Idx::read(&dir.join(IMAGES), 3)?;
    let labels = Idx::read(&dir.join(LABELS), 1)?;
    let [there, height, width] = images.extents[..] else { return Err(images.damaged()) };
    if labels.extents != [there] {
        return Err(labels.damaged());
    }
    if there < count {
        return Err(Error::TooFewPictures { path: images.path, asked: count, there });
    }
    let (Ok(height), Ok(width)) = (u16::try_from(height), u16::try_from(width)) else {
        return Err(images.damaged());
    };
    let header = ClipHeader { format: PixelFormat::Gray8, width, height, count: count as u32 };
    let mut bytes = header.to_bytes().expect("clips know grey").to_vec();
    let edge = usize::from(height) * usize::from(width);
    for (pixels, &label) in images.data.chunks_exact(edge).zip(&labels.data).take(count) {
        let class = if labelled { u16::from(label) } else { UNKNOWN };
        bytes.extend_from_slice(&class.to_le_bytes());
        bytes.extend_from_slice(pixels);
    }
    Ok(bytes)
}

/// Bytes of memory that emulated boards have for a clip: `PICTURES` in firmware/boards/mps2/memory.
const ROOM: u64 = 12 * 1024 * 1024;

/// Makes sure that a board's memory takes so many pictures, as they are in a clip or as a camera gives
/// them, before anything slow is done for them.
pub(crate) fn check_room(
    board: &Board,
    asked: u32,
    clip: &[u8],
    camera: Option<Camera>,
) -> Result<(), Error> {
    const LABEL: u64 = 2;
    let header = HEADER_BYTES as u64;
    let picture = match camera {
        Some(camera) => camera.frame_bytes() as u64 + LABEL,
        None => (clip.len() as u64).saturating_sub(header) / u64::from(asked.max(1)),
    };
    let needs = header + picture * u64::from(asked);
    if needs <= ROOM {
        return Ok(());
    }
    let fewer = match (ROOM - header) / picture {
        0 => String::new(),
        most => format!("ask for fewer with --images {most}"),
    };
    let smaller = camera.map(|_| "take smaller frames with --camera".to_owned());
    let ways = Some(fewer).filter(|fewer| !fewer.is_empty()).into_iter().chain(smaller);
    let help = ways.collect::<Vec<_>>().join(", or ");
    let (needs, room) = (needs.div_ceil(1024), ROOM / 1024);
    Err(Error::TooManyPictures { asked, needs, board: board.name, room, help })
}

/// An IDX file of bytes.
struct Idx {
    path: PathBuf,
    extents: Vec<usize>,
    data: Vec<u8>,
}

impl Idx {
    /// Reads `path`, or `path` with `.gz` behind it.
    fn read(path: &Path, dimensions: usize) -> Result<Self, Error> {
        let packed = path.with_extension("gz");
        let (path, content) = if packed.is_file() {
            let file = fs::read(&packed).map_err(Error::file("read", &packed))?;
            let mut content = Vec::new();
            let unpacked = GzDecoder::new(&file[..]).read_to_end(&mut content);
            unpacked.map_err(|error| Error::Pictures {
                path: packed.clone(),
                reason: error.to_string(),
            })?;
            (packed, content)
        } else {
            let content = fs::read(path)
                .map_err(|error| Error::Pictures { path: packed, reason: error.to_string() })?;
            (path.to_owned(), content)
        };
        let mut idx = Self { path, extents: Vec::new(), data: Vec::new() };
        let header = 4 + 4 * dimensions;
        if content.len() < header || content[..4] != [0, 0, 8, dimensions as u8] {
            return Err(idx.damaged());
        }
        let words = content[4..header].chunks_exact(4);
        let extent =
            |word: &[u8]| u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize;
        idx.extents = words.map(extent).collect();
        let expected = idx.extents.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if expected != Some(content.len() - header) || expected == Some(0) {
            return Err(idx.damaged());
        }
        idx.data = content[header..].to_vec();
        Ok(idx)
    }

    fn damaged(&self) -> Error {
        let reason = "not the IDX file it should be, or damaged".to_owned();
        Error::Pictures { path: self.path.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use picovit_app::Clip;

    use super::*;

    fn folder(images: &[u8], labels: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IMAGES), images).unwrap();
        fs::write(dir.path().join(LABELS), labels).unwrap();
        dir
    }

    const TWO: [u8; 18] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 10, 20];

    #[test]
    fn a_clip_holds_the_first_pictures() {
        let dir = folder(&TWO, &[0, 0, 8, 1, 0, 0, 0, 2, 3, 4]);
        let bytes = clip(dir.path(), 2, true).unwrap();
        let second = Clip::parse(&bytes).unwrap().get(1).unwrap();
        assert_eq!((second.expected, second.frame.pixels), (Some(4), &[20][..]));
        let bytes = clip(dir.path(), 1, false).unwrap();
        let clip = Clip::parse(&bytes).unwrap();
        assert_eq!((clip.len(), clip.get(0).unwrap().expected), (1, None));
    }

    #[test]
    fn more_pictures_than_memory_are_refused_with_how_many_there_can_be() {
        for board in crate::board::BOARDS {
            let map = format!("firmware/boards/mps2/memory/{}.x", board.memory);
            let map = fs::read_to_string(root().join(map)).unwrap();
            let line = map.lines().find(|line| line.contains("PICTURES :")).unwrap();
            assert!(line.ends_with(&format!("{}M", ROOM >> 20)), "{line}");
        }
        let board = crate::board::named("mps2-an386").unwrap();
        let camera = |text: &str| Some(text.parse().unwrap());
        let check = |asked, camera| check_room(board, asked, &[], camera);
        assert!(check(81, camera("320x240:rgb565")).is_ok());
        let error = check(82, camera("320x240:rgb565")).unwrap_err();
        assert!(error.to_string().contains("12288 KB"), "{error}");
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("--images 81") && help.contains("--camera"), "{help}");
        let help = miette::Diagnostic::help(&check(1, camera("4096x4096:gray8")).unwrap_err())
            .unwrap()
            .to_string();
        assert!(!help.contains("--images") && help.contains("--camera"), "{help}");
        // As they are: 2 bytes more than there is room for.
        let clip = vec![0; ROOM as usize + 2];
        let help = miette::Diagnostic::help(&check_room(board, 2, &clip, None).unwrap_err())
            .unwrap()
            .to_string();
        assert_eq!(help, "ask for fewer with --images 1");
    }

    #[test]
    fn missing_short_and_damaged_files_are_named() {
        let dir = folder(&TWO, &[0, 0, 8, 1, 0, 0, 0, 2, 3, 4]);
        assert!(matches!(clip(dir.path(), 3, true), Err(Error::TooFewPictures { there: 2, .. })));
        for (images, labels) in [
            (&TWO[..17], &[0, 0, 8, 1, 0, 0, 0, 2, 3, 4][..]),
            (&TWO[..3], &[0, 0, 8, 1, 0, 0, 0, 2, 3, 4][..]),
            (&TWO[..], &[0, 0, 8, 1, 0, 0, 0, 1, 3][..]),
            (&TWO[..], &[0, 0, 9, 1, 0, 0, 0, 2, 3, 4][..]),
        ] {
            let dir = folder(images, labels);
            assert!(matches!(clip(dir.path(), 1, true), Err(Error::Pictures { .. })));
        }
        let error = clip(Path::new("nowhere"), 1, true).unwrap_err().to_string();
        assert!(error.contains(IMAGES), "{error}");
    }
}
