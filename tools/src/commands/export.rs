//! `picovit export`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result, miette};

/// Write a checkpoint's weights to a safetensors file, named as the model's authors name them.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Checkpoint (.mpk) with its configuration beside it.
    checkpoint: PathBuf,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let configuration = picovit_models::record::config_path(&args.checkpoint);
    refuse_overwriting(&[&args.checkpoint, &configuration], &[&args.out])?;
    let config = picovit_models::export_checkpoint(&args.checkpoint, &args.out);
    let config = config.into_diagnostic()?;
    println!(
        "wrote {}: {}, {} parameters",
        args.out.display(),
        config.name,
        crate::output::grouped(config.params())
    );
    Ok(())
}

/// Refuses to write any of `written` where one of `read` is, by whatever path.
pub(super) fn refuse_overwriting(read: &[&Path], written: &[&Path]) -> Result<()> {
    for target in written {
        let source =
            read.iter().find(|source| place(source).is_some_and(|p| place(target) == Some(p)));
        if let Some(source) = source {
            let (target, source) = (target.display(), source.display());
            return Err(miette!("--out: {target} would overwrite {source}; choose another name"));
        }
    }
    Ok(())
}

/// Where a path leads, through links; it may lead to a file that is not there yet.
fn place(path: &Path) -> Option<PathBuf> {
    let there = fs::canonicalize(path).ok();
    there.or_else(|| {
        let folder = path.parent()?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
    })
}
