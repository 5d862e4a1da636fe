//! The checkpoints that a run learns from as long as it goes on.

use std::fs;
use std::path::PathBuf;

use flate2::Crc;
use picovit_models::RecordError;

use crate::error::TrainError;
use crate::options::TrainOptions;
use crate::state::{State, StateDir};

/// CRC-32 of every teacher's file, and of the checkpoint that quantization-aware training keeps to.
pub(crate) fn checksums(options: &TrainOptions) -> Result<Vec<u32>, TrainError> {
    let checksum = |path: &PathBuf| {
        let bytes =
            fs::read(path).map_err(|source| RecordError::Read { path: path.clone(), source })?;
        let mut crc = Crc::new();
        crc.update(&bytes);
        Ok(crc.sum())
    };
    paths(options).map(checksum).collect()
}

/// Whether they are those that the run began with. States of older versions do not know them.
pub(crate) fn same_teachers(
    state: &State,
    options: &TrainOptions,
    found: &[u32],
) -> Result<(), TrainError> {
    let mut each = paths(options).zip(state.teachers.iter().zip(found));
    match each.find(|(_, (before, now))| before != now) {
        None => Ok(()),
        Some((path, _)) => Err(TrainError::OtherTeacher {
            path: path.clone(),
            out: options.out_dir.clone(),
            remedy: StateDir::new(&options.out_dir).remedy("it"),
        }),
    }
}

fn paths(options: &TrainOptions) -> impl Iterator<Item = &PathBuf> {
    let tuned = options.from.iter().filter(|_| options.qat.is_some());
    options.distillation.iter().flat_map(|distillation| &distillation.teachers).chain(tuned)
}
