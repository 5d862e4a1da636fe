//! What can be wrong with a data set.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data set could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No folder holds the files.
    #[error("cannot find {data}: {} is in none of {}; pass the folder that holds it with --data-dir", .files.join(", "), join(.searched))]
    NotFound {
        /// What was looked for.
        data: String,
        /// Files that were looked for.
        files: Vec<String>,
        /// Folders looked into.
        searched: Vec<PathBuf>,
    },
    /// A data set has no default folder.
    #[error(
        "{0} has to be fetched first; pass the folder that holds its binary version with --data-dir"
    )]
    NoFolder(&'static str),
    /// A file or folder could not be read.
    #[error("cannot read {}; check that the path is right and that it may be read", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}; check that the folder is there, may be written and has room", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder is not what its name says.
    #[error("{}: {problem}", .path.display())]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// The field and what is wrong with it.
        problem: String,
    },
    /// An image could not be decoded.
    #[error("cannot decode the image {}: {source}; remove it, or save it again as PNG or JPEG, smaller if it is too large", .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        source: image::ImageError,
    },
    /// A name that is no data set.
    #[error(
        "`{0}` is neither a data set nor a folder; use fashion-mnist, cifar-10, cifar-100, or the path of a folder with one subfolder a class"
    )]
    UnknownName(String),
}

impl DataError {
    pub(super) fn format(path: &Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.into(), problem: problem.into() }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.into(), source }
    }
}

fn join(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
