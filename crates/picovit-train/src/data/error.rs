//! What can be wrong with a data set.

use std::path::PathBuf;

/// Why a data set could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No folder holds the files.
    #[error("cannot find {data}: none of {} is in {}; pass the folder that holds them with --data-dir", .files.join(", "), join(.searched))]
    NotFound {
        /// What was looked for.
        data: String,
        /// Names that would have done.
        files: Vec<String>,
        /// Folders looked into.
        searched: Vec<PathBuf>,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {problem}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        problem: String,
    },
    /// An image could not be decoded.
    #[error("cannot decode the image {}: {source}; remove it or save it again as PNG or JPEG", .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        source: image::ImageError,
    },
    /// A name that is no data set.
    #[error(
        "`{0}` is no data set; use fashion-mnist, cifar10, cifar100 or the path of a folder with one subfolder a class"
    )]
    UnknownName(String),
}

impl DataError {
    pub(crate) fn format(path: &std::path::Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.into(), problem: problem.into() }
    }
}

fn join(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
