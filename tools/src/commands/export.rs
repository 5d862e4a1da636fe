//! `picovit export`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result};

use crate::output::{self, grouped};

/// Write a checkpoint's weights to a safetensors file, named as the model's authors name them.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Checkpoint (.mpk) with its configuration beside it.
    checkpoint: PathBuf,
    /// File to write, in safetensors' format.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let configuration = picovit_models::record::config_path(&args.checkpoint);
    output::check(&[Some(&args.out)], &[&args.checkpoint, &configuration])?;
    let config = picovit_models::export_checkpoint(&args.checkpoint, &args.out);
    let config = config.into_diagnostic()?;
    println!(
        "wrote {}: {}, {} parameters",
        args.out.display(),
        config.name,
        grouped(config.params())
    );
    Ok(())
}
