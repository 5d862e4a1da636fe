//! `picovit train`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result};
use picovit_models::ModelConfig;
use picovit_train::data::DataSource;
use picovit_train::{BackendChoice, TrainOptions, ValidationSize, train};

/// Train a model.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Model name, see `cargo tools models`.
    #[arg(long)]
    model: String,
    /// Data set: fashion-mnist, cifar10, cifar100 or a folder with one subfolder a class.
    #[arg(long)]
    dataset: String,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, default_value = "auto")]
    backend: BackendChoice,
    /// Passes over the training images.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images per step.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Highest learning rate.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Decoupled weight decay.
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,
    /// Epochs of linear warm-up.
    #[arg(long, value_name = "N")]
    warmup_epochs: Option<f64>,
    /// Share of the target spread over all classes.
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// Border from which random crops are taken, in pixels.
    #[arg(long, value_name = "PIXELS")]
    crop_padding: Option<usize>,
    /// Do not mirror images.
    #[arg(long)]
    no_flip: bool,
    /// Start from the weights of this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<PathBuf>,
    /// Number of training images kept for validation [default: one in twelve].
    #[arg(long, value_name = "N")]
    validation: Option<usize>,
    /// Use only the first N training images.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Edge of the model's square input [default: the model's own].
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// Decides everything that is random.
    #[arg(long)]
    seed: Option<u64>,
    /// Continue an interrupted run in the output folder.
    #[arg(long)]
    resume: bool,
    /// Folder for best.mpk, best.json, metrics.jsonl and the state to resume from.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let mut model = ModelConfig::named(&args.model).into_diagnostic()?;
    if let Some(edge) = args.image_size {
        model = model.with_image_size(edge, edge);
    }
    let data = DataSource::named(&args.dataset, args.data_dir.clone()).into_diagnostic()?;
    let mut options = TrainOptions::new(model, data, args.out.clone());
    let set = |target: &mut f64, value: Option<f64>| {
        if let Some(value) = value {
            *target = value;
        }
    };
    set(&mut options.learning_rate, args.learning_rate);
    set(&mut options.weight_decay, args.weight_decay);
    set(&mut options.warmup_epochs, args.warmup_epochs);
    options.min_learning_rate = options.min_learning_rate.min(options.learning_rate);
    options.epochs = args.epochs.unwrap_or(options.epochs);
    options.batch_size = args.batch_size.unwrap_or(options.batch_size);
    options.label_smoothing = args.label_smoothing.unwrap_or(options.label_smoothing);
    options.augment.crop_padding = args.crop_padding.unwrap_or(options.augment.crop_padding);
    options.augment.flip &= !args.no_flip;
    options.validation = args.validation.map_or(options.validation, ValidationSize::Count);
    options.from.clone_from(&args.from);
    options.limit = args.limit;
    options.seed = args.seed.unwrap_or(options.seed);
    options.resume = args.resume;
    let summary = train(&options, args.backend).into_diagnostic()?;
    println!(
        "best: epoch {}, validation accuracy {:.2} %, in {}",
        summary.best.epoch,
        100.0 * summary.best.accuracy(),
        summary.checkpoint.display()
    );
    Ok(())
}
