//! Reading artifacts from disk.

use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use picovit::Model;
use picovit_compiler::AlignedBytes;
use picovit_compiler::pack::Info;

/// Reads an artifact file into aligned memory.
pub fn read(path: &Path) -> Result<AlignedBytes> {
    let bytes = std::fs::read(path).into_diagnostic().wrap_err_with(|| {
        format!(
            "cannot read {}; check that the path is right and that it may be read",
            path.display()
        )
    })?;
    Ok(AlignedBytes::new(&bytes))
}

/// Validates an artifact.
pub fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>> {
    Model::parse(bytes).map_err(|error| {
        miette!(
            help = "make a new artifact from the checkpoint: cargo tools quantize best.mpk",
            "{}: {error}",
            path.display()
        )
    })
}

/// The description inside an artifact; a foreign one gives nothing.
pub fn info(model: &Model<'_>) -> Option<Info> {
    serde_json::from_str(model.info()).ok()
}
