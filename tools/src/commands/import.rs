//! `picovit import`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result, miette};
use picovit_models::ModelConfig;

/// Import a state dict.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// PyTorch state dict (.pth) in the official layout.
    file: PathBuf,
    /// Model name, see `cargo tools models`.
    #[arg(long)]
    model: String,
    /// Edge of the square input image, or HEIGHTxWIDTH [default: the model's own].
    #[arg(long, value_name = "N|HxW", value_parser = image_size)]
    image_size: Option<(usize, usize)>,
    /// Input channels, 1 or 3 [default: the model's own].
    #[arg(long)]
    channels: Option<usize>,
    /// Number of classes [default: the model's own].
    #[arg(long)]
    classes: Option<usize>,
    /// Channels per token, for networks narrower or wider than the published ones.
    #[arg(long, value_name = "N")]
    embedding_dim: Option<usize>,
    /// Channel means the weights were trained with, 0..1 units, comma separated [default: 0.5].
    #[arg(long, value_delimiter = ',', requires = "std")]
    mean: Option<Vec<f32>>,
    /// Channel standard deviations, 0..1 units, comma separated [default: 0.5].
    #[arg(long, value_delimiter = ',', requires = "mean")]
    std: Option<Vec<f32>>,
    /// Class names, comma separated, in logit order.
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    /// Data set the weights were trained on, remembered for `quantize`.
    #[arg(long)]
    dataset: Option<String>,
    /// Checkpoint to write; its configuration goes beside it.
    #[arg(long, default_value = "best.mpk")]
    out: PathBuf,
}

fn image_size(text: &str) -> Result<(usize, usize), String> {
    let parse = |s: &str| s.parse::<usize>().map_err(|_| format!("`{s}` is not a size in pixels"));
    match text.split_once('x') {
        Some((height, width)) => Ok((parse(height)?, parse(width)?)),
        None => parse(text).map(|edge| (edge, edge)),
    }
}

pub fn run(args: &Args) -> Result<()> {
    let mut config = ModelConfig::named(&args.model).into_diagnostic()?;
    if let Some((height, width)) = args.image_size {
        config = config.with_image_size(height, width);
    }
    if let Some(channels) = args.channels {
        config = config.with_channels(channels);
    }
    if let Some(classes) = args.classes {
        config = config.with_classes(classes);
    }
    if let Some(dim) = args.embedding_dim {
        let picovit_models::Architecture::Cct(cct) = &mut config.architecture else {
            return Err(miette!("--embedding-dim: {} has no such size", config.name));
        };
        cct.embedding_dim = dim;
    }
    if let (Some(mean), Some(std)) = (&args.mean, &args.std) {
        config = config.with_normalization(mean.clone(), std.clone());
    }
    if !args.labels.is_empty() {
        if args.labels.len() != config.classes {
            return Err(miette!(
                "--labels has {} names for {} classes",
                args.labels.len(),
                config.classes
            ));
        }
        config = config.with_labels(args.labels.clone());
    }
    if let Some(dataset) = &args.dataset {
        config = config.with_dataset(dataset);
    }
    picovit_models::import_checkpoint(&args.file, &config, &args.out).into_diagnostic()?;
    println!(
        "wrote {} and {}: {}, {} parameters",
        args.out.display(),
        picovit_models::record::config_path(&args.out).display(),
        config.name,
        crate::output::grouped(config.params())
    );
    Ok(())
}
