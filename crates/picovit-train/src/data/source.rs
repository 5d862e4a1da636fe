//! Finds and loads a data set by name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cifar::Cifar;
use super::{DataError, Dataset, fashion, folder};
use crate::random::{Random, Stream};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// For training and validation.
    Train,
    /// For the final figure.
    Test,
    /// So many training images for calibration, the same ones every time.
    Calibration(usize),
}

/// A data set's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DataKind {
    /// Fashion-MNIST, IDX files.
    FashionMnist,
    /// CIFAR-10, binary version.
    #[serde(rename = "cifar-10")]
    Cifar10,
    /// CIFAR-100, binary version, fine labels.
    #[serde(rename = "cifar-100")]
    Cifar100,
    /// A folder with one subfolder a class, perhaps below `train` and `test`. A `train` without
    /// subfolders, and with neither `test` nor `val` beside it, is a class.
    Folder(PathBuf),
}

/// A data set and where to look for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// The kind.
    pub kind: DataKind,
    /// Folder to look into first.
    pub dir: Option<PathBuf>,
}

impl DataSource {
    /// The data set of a name (`fashion-mnist`, `cifar-10`, `cifar-100`) or the folder of a path.
    ///
    /// # Errors
    /// If it is neither.
    pub fn named(name: &str, dir: Option<PathBuf>) -> Result<Self, DataError> {
        let kind = match name {
            "fashion-mnist" | "fmnist" => DataKind::FashionMnist,
            "cifar-10" | "cifar10" => DataKind::Cifar10,
            "cifar-100" | "cifar100" => DataKind::Cifar100,
            path if PathBuf::from(path).is_dir() => DataKind::Folder(path.into()),
            other => return Err(DataError::UnknownName(other.into())),
        };
        Ok(Self { kind, dir })
    }

    /// Channels that images of this kind have; none where they may have either number.
    #[must_use]
    pub fn channels(&self) -> Option<usize> {
        match self.kind {
            DataKind::FashionMnist => Some(1),
            DataKind::Cifar10 | DataKind::Cifar100 => Some(3),
            DataKind::Folder(_) => None,
        }
    }

    /// Loads a split, every image fitted to one size, see [`Dataset::fit`].
    ///
    /// # Errors
    /// If no file is found or one is damaged.
    pub fn load_for(
        &self,
        split: Split,
        height: usize,
        width: usize,
        channels: usize,
    ) -> Result<Dataset, DataError> {
        let dir = self.dir.as_deref();
        let test = split == Split::Test;
        let data = match &self.kind {
            DataKind::FashionMnist => {
                // Calibration images have files of their own.
                return Ok(fashion::load(dir, split)?.fit(height, width, channels));
            }
            DataKind::Cifar10 => Cifar::Ten.load(dir, test)?,
            DataKind::Cifar100 => Cifar::Hundred.load(dir, test)?,
            DataKind::Folder(path) => folder::load(path, test, (height, width, channels))?,
        };
        let data = match split {
            Split::Calibration(count) => sample(&data, count),
            Split::Train | Split::Test => data,
        };
        Ok(data.fit(height, width, channels))
    }
}

/// The first `count` images of an order that is the same every time.
pub(super) fn sample(data: &Dataset, count: usize) -> Dataset {
    let mut indices: Vec<usize> = (0..data.len()).collect();
    Random::new(0, 0, Stream::Calibration).shuffle(&mut indices);
    indices.truncate(count);
    data.select(&indices)
}
