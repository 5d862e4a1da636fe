//! `picovit export-calibration`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result};

/// Write the calibration images of Fashion-MNIST to files of their own.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Number of images.
    #[arg(long, value_name = "N", default_value_t = 512)]
    images: usize,
    /// Folder to write calibration-images-idx3-ubyte.gz and its labels to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let dir = args.data_dir.as_deref();
    picovit_train::data::export_calibration(dir, args.images, &args.out).into_diagnostic()?;
    println!("wrote {} calibration images to {}", args.images, args.out.display());
    Ok(())
}
