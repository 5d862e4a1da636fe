//! The IDX files of MNIST and its kin, plain or gzipped.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use picovit_models::record;

use super::DataError;

/// Images of one size, one byte a pixel.
pub(super) struct IdxImages {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixels: Vec<u8>,
}

/// Reads a file of images (`idx3-ubyte`).
pub(super) fn images(path: &Path) -> Result<IdxImages, DataError> {
    let (extents, pixels) = read(path, 3)?;
    Ok(IdxImages { height: extents[1], width: extents[2], pixels })
}

/// Reads a file of labels (`idx1-ubyte`).
pub(super) fn labels(path: &Path) -> Result<Vec<u8>, DataError> {
    Ok(read(path, 1)?.1)
}

/// Writes an array, gzipped; the same array gives the same bytes.
pub(super) fn write(path: &Path, extents: &[usize], content: &[u8]) -> Result<(), DataError> {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    let written = (|| -> io::Result<()> {
        encoder.write_all(&[0, 0, 8, extents.len() as u8])?;
        for &extent in extents {
            encoder.write_all(&(extent as u32).to_be_bytes())?;
        }
        encoder.write_all(content)?;
        record::write_atomic(path, &encoder.finish()?)
    })();
    written.map_err(|source| DataError::Write { path: path.into(), source })
}

/// Reads extents and bytes of an array of `dimensions` dimensions.
fn read(path: &Path, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let fail = |problem: String| Err(DataError::format(path, problem));
    let mut content = content(path)?;
    let header = 4 + 4 * dimensions;
    if content.len() < header {
        let length = content.len();
        return fail(format!("the IDX header takes {header} bytes, the file has {length}"));
    }
    let word = |index: usize| u32::from_be_bytes([0, 1, 2, 3].map(|b| content[4 * index + b]));
    let magic = 0x0800 + dimensions as u32;
    if word(0) != magic {
        let kind = if dimensions == 1 { "labels" } else { "images" };
        let found = word(0);
        return fail(format!(
            "the magic number is {found:#010x}, an IDX file of {kind} has {magic:#010x}"
        ));
    }
    let extents: Vec<usize> = (1..=dimensions).map(|index| word(index) as usize).collect();
    let expected = extents.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let found = content.len() - header;
    if expected != Some(found) || found == 0 {
        let shape: Vec<_> = extents.iter().map(usize::to_string).collect();
        return fail(format!(
            "the header promises {} bytes, the file holds {found}; it is truncated or damaged, \
             fetch it again",
            shape.join(" x "),
        ));
    }
    content.drain(..header);
    Ok((extents, content))
}

fn content(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut file = File::open(path).map_err(DataError::read(path))?;
    let mut content = vec![];
    let read = if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_end(&mut content)
    } else {
        file.read_to_end(&mut content)
    };
    read.map_err(DataError::read(path))?;
    Ok(content)
}
