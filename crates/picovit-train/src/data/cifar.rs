//! The binary versions of CIFAR-10 and CIFAR-100.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cifar {
    /// Ten classes; one label byte an image.
    Ten,
    /// A hundred classes; a coarse label byte, then the fine one.
    Hundred,
}

const EDGE: usize = 32;
const PLANE: usize = EDGE * EDGE;

impl Cifar {
    const fn name(self) -> &'static str {
        match self {
            Self::Ten => "cifar-10",
            Self::Hundred => "cifar-100",
        }
    }

    /// Folder inside the published archive.
    const fn folder(self) -> &'static str {
        match self {
            Self::Ten => "cifar-10-batches-bin",
            Self::Hundred => "cifar-100-binary",
        }
    }

    const fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }

    const fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    const fn names_file(self) -> &'static str {
        match self {
            Self::Ten => "batches.meta.txt",
            Self::Hundred => "fine_label_names.txt",
        }
    }

    fn files(self, test: bool) -> Vec<String> {
        match (self, test) {
            (Self::Ten, false) => (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
            (Self::Ten, true) => vec!["test_batch.bin".into()],
            (Self::Hundred, false) => vec!["train.bin".into()],
            (Self::Hundred, true) => vec!["test.bin".into()],
        }
    }

    /// Loads the training or the test images.
    pub(super) fn load(self, dir: Option<&Path>, test: bool) -> Result<Dataset, DataError> {
        let dir = dir.ok_or(DataError::NoFolder(self.name()))?;
        let folders = [dir.to_path_buf(), dir.join(self.folder())];
        let files = self.files(test);
        let holds = |folder: &&PathBuf| folder.join(&files[0]).is_file();
        let Some(folder) = folders.iter().find(holds) else {
            let (data, searched) = (self.name().to_owned(), folders.to_vec());
            return Err(DataError::NotFound { data, files, searched });
        };
        let mut dataset = Dataset {
            name: self.name().into(),
            height: EDGE,
            width: EDGE,
            channels: 3,
            pixels: vec![],
            labels: vec![],
            class_names: self.class_names(&folder.join(self.names_file()))?,
        };
        for file in &files {
            self.append(&folder.join(file), &mut dataset)?;
        }
        Ok(dataset)
    }

    fn append(self, path: &Path, dataset: &mut Dataset) -> Result<(), DataError> {
        let content = fs::read(path).map_err(DataError::read(path))?;
        let record = self.label_bytes() + 3 * PLANE;
        if content.is_empty() || !content.len().is_multiple_of(record) {
            let problem = format!(
                "{} bytes are no whole number of records of {record}; it is truncated or no {} \
                 file of the binary version",
                content.len(),
                self.name(),
            );
            return Err(DataError::format(path, problem));
        }
        for (index, record) in content.chunks_exact(record).enumerate() {
            let (labels, planes) = record.split_at(self.label_bytes());
            let label = labels[self.label_bytes() - 1];
            if usize::from(label) >= self.classes() {
                let largest = self.classes() - 1;
                let problem = format!("the label of record {index} is {label}, at most {largest}");
                return Err(DataError::format(path, problem));
            }
            dataset.labels.push(u16::from(label));
            let pixel = |i: usize| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]];
            dataset.pixels.extend((0..PLANE).flat_map(pixel));
        }
        Ok(())
    }

    /// Names from the file that comes with the images; numbers where it is missing.
    fn class_names(self, path: &Path) -> Result<Vec<String>, DataError> {
        if !path.exists() {
            return Ok((0..self.classes()).map(|class| class.to_string()).collect());
        }
        let text = fs::read_to_string(path).map_err(DataError::read(path))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let names: Vec<_> = lines.map(String::from).collect();
        if names.len() != self.classes() {
            let problem = format!("it names {} classes of {}", names.len(), self.classes());
            return Err(DataError::format(path, problem));
        }
        Ok(names)
    }
}
