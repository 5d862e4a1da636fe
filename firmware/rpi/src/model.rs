//! The artifact.

use std::fs;
use std::path::{Path, PathBuf};

use picovit::Model;

use crate::error::Error;

/// Memory aligned as the engine asks for it.
pub(crate) struct Aligned {
    words: Vec<u128>,
    length: usize,
}

impl Aligned {
    /// Zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(size_of::<u128>())], length }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    /// The bytes, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}

/// A checked artifact.
pub(crate) struct Artifact {
    path: PathBuf,
    bytes: Aligned,
}

impl Artifact {
    /// Reads and checks it.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let content = fs::read(path)
            .map_err(|reason| Error::Model { path: path.to_owned(), reason: reason.to_string() })?;
        let mut bytes = Aligned::zeros(content.len());
        bytes.bytes_mut().copy_from_slice(&content);
        let artifact = Self { path: path.to_owned(), bytes };
        Model::parse(artifact.bytes.bytes()).map_err(|reason| artifact.refused(reason))?;
        Ok(artifact)
    }

    /// The model in it.
    pub(crate) fn model(&self) -> Model<'_> {
        Model::parse(self.bytes.bytes()).expect("checked when it was read")
    }

    /// Why it cannot be used.
    pub(crate) fn refused(&self, reason: impl ToString) -> Error {
        Error::Model { path: self.path.clone(), reason: reason.to_string() }
    }

    /// The file's name.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}
