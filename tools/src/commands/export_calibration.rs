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
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Folder to write calibration-images-idx3-ubyte.gz and its labels to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let dir = args.data_dir.as_deref();
    let count = picovit_train::data::export_calibration(dir, args.images as usize, &args.out);
    println!("wrote {} calibration images to {}", count.into_diagnostic()?, args.out.display());
    Ok(())
}
