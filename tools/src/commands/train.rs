//! `picovit train`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result};
use picovit_models::ModelConfig;
use picovit_train::data::DataSource;
use picovit_train::{
    BackendChoice, OptimizerKind, Policy, Recipe, TrainOptions, ValidationSize, train,
};

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
    /// How to train: cct-200, cct-300, keras-30, mobilevit, muon-30, or a TOML file. The options
    /// below override it.
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
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
    /// Threads that prepare images [default: half of the processors].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    workers: usize,
    /// GPUs that share every batch.
    #[arg(long, value_name = "N", default_value_t = 1)]
    devices: usize,
    /// Continue an interrupted run in the output folder.
    #[arg(long)]
    resume: bool,
    /// Folder for best.mpk, best.json, metrics.jsonl and the state to resume from.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Options that a recipe may set, too.
#[derive(Debug, ClapArgs)]
struct Overrides {
    /// Passes over the training images.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images per pass through the network.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Batches whose gradients make one step.
    #[arg(long, value_name = "N")]
    accumulate: Option<usize>,
    /// adamw, or muon for the matrices and adamw for the rest.
    #[arg(long)]
    optimizer: Option<OptimizerKind>,
    /// Highest learning rate.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Muon's learning rate as a multiple of adamw's.
    #[arg(long, value_name = "FACTOR")]
    muon_factor: Option<f64>,
    /// Decoupled weight decay.
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,
    /// Epochs of linear warm-up.
    #[arg(long, value_name = "N")]
    warmup_epochs: Option<f64>,
    /// Longest gradient over all parameters.
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f64>,
    /// Share of the weights' moving average that stays at a step, as in 0.999.
    #[arg(long, value_name = "SHARE")]
    average_decay: Option<f64>,
    /// Share of the target spread over all classes.
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// Dropout of attention weights.
    #[arg(long, value_name = "RATE")]
    attention_dropout: Option<f32>,
    /// Probability of skipping the last block.
    #[arg(long, value_name = "RATE")]
    stochastic_depth: Option<f32>,
    /// Border from which random crops are taken, in pixels.
    #[arg(long, value_name = "PIXELS")]
    crop_padding: Option<usize>,
    /// Do not mirror images.
    #[arg(long)]
    no_flip: bool,
    /// Changes of geometry and tone: none, autoaugment or randaugment.
    #[arg(long)]
    policy: Option<Policy>,
    /// Share of the images of which a rectangle is erased.
    #[arg(long, value_name = "SHARE")]
    erase: Option<f32>,
    /// Mixup's alpha; 0 turns it off.
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// CutMix's alpha; 0 turns it off.
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f64>,
}

impl Overrides {
    fn recipe(&self) -> Recipe {
        Recipe {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulate: self.accumulate,
            optimizer: self.optimizer,
            learning_rate: self.learning_rate,
            muon_factor: self.muon_factor,
            weight_decay: self.weight_decay,
            warmup_epochs: self.warmup_epochs,
            clip_norm: self.clip_norm,
            average_decay: self.average_decay,
            label_smoothing: self.label_smoothing,
            attention_dropout: self.attention_dropout,
            stochastic_depth: self.stochastic_depth,
            crop_padding: self.crop_padding,
            flip: self.no_flip.then_some(false),
            policy: self.policy,
            erase: self.erase,
            mixup: self.mixup,
            cutmix: self.cutmix,
            ..Recipe::default()
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let mut model = ModelConfig::named(&args.model).into_diagnostic()?;
    if let Some(edge) = args.image_size {
        model = model.with_image_size(edge, edge);
    }
    let data = DataSource::named(&args.dataset, args.data_dir.clone()).into_diagnostic()?;
    let mut options = TrainOptions::new(model, data, args.out.clone());
    if let Some(recipe) = &args.recipe {
        Recipe::load(recipe).into_diagnostic()?.apply(&mut options);
    }
    args.overrides.recipe().apply(&mut options);
    options.min_learning_rate = options.min_learning_rate.min(options.learning_rate);
    options.validation = args.validation.map_or(options.validation, ValidationSize::Count);
    options.from.clone_from(&args.from);
    options.limit = args.limit;
    options.seed = args.seed.unwrap_or(options.seed);
    options.workers = args.workers;
    options.devices = args.devices;
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
