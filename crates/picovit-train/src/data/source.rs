//! Finds and loads a data set by name.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, idx};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training and validation.
    Train,
    /// For the final figure.
    Test,
}

/// A data set's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataKind {
    /// Fashion-MNIST, IDX files.
    FashionMnist,
}

/// A data set and where to look for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// The kind.
    pub kind: DataKind,
    /// Folder to look into first.
    pub dir: Option<PathBuf>,
}

/// Class names of Fashion-MNIST.
const FASHION_MNIST: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Folder of the Debian package `dataset-fashion-mnist`.
const DEBIAN_FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

impl FromStr for DataKind {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "fashion-mnist" | "fmnist" => Ok(Self::FashionMnist),
            other => Err(DataError::UnknownName(other.into())),
        }
    }
}

impl DataSource {
    /// Loads one split.
    ///
    /// # Errors
    /// If no file is found or one is damaged.
    pub fn load(&self, split: Split) -> Result<Dataset, DataError> {
        match &self.kind {
            DataKind::FashionMnist => {
                let mut folders: Vec<PathBuf> = self.dir.iter().cloned().collect();
                folders.push(DEBIAN_FASHION_MNIST.into());
                fashion_mnist(&folders, split)
            }
        }
    }
}

fn fashion_mnist(folders: &[PathBuf], split: Split) -> Result<Dataset, DataError> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let images_path = find(folders, &format!("{prefix}-images-idx3-ubyte"))?;
    let labels_path = find(folders, &format!("{prefix}-labels-idx1-ubyte"))?;
    let images = idx::images(&images_path)?;
    let labels = idx::labels(&labels_path)?;
    let count = images.pixels.len() / (images.height * images.width);
    if labels.len() != count {
        let problem = format!(
            "holds {} labels for the {count} images of {}",
            labels.len(),
            images_path.display()
        );
        return Err(DataError::format(&labels_path, problem));
    }
    if let Some(index) = labels.iter().position(|&label| label > 9) {
        let problem = format!("label {index} is {}, Fashion-MNIST has 0 to 9", labels[index]);
        return Err(DataError::format(&labels_path, problem));
    }
    Ok(Dataset {
        name: "fashion-mnist".into(),
        height: images.height,
        width: images.width,
        channels: 1,
        pixels: images.pixels,
        labels: labels.into_iter().map(u16::from).collect(),
        class_names: FASHION_MNIST.map(String::from).to_vec(),
    })
}

/// The first of the folders that has the file, plain or gzipped.
fn find(folders: &[PathBuf], name: &str) -> Result<PathBuf, DataError> {
    let names = [name.to_owned(), format!("{name}.gz")];
    let paths = folders.iter().flat_map(|folder: &PathBuf| names.iter().map(|n| folder.join(n)));
    paths.into_iter().find(|path: &PathBuf| Path::is_file(path)).ok_or_else(|| {
        DataError::NotFound {
            data: "Fashion-MNIST".into(),
            files: names.to_vec(),
            searched: folders.to_vec(),
        }
    })
}
