//! `picovit train`.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};
use miette::{IntoDiagnostic, Result, miette};
use picovit_models::{ImageSize, ModelConfig, record};
use picovit_train::data::DataSource;
use picovit_train::{
    BackendChoice, Distillation, OptimizerKind, Policy, Qat, Recipe, TrainOptions, ValidationSize,
    run_options, train,
};

/// Train a model.
#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("taught").args(["teachers", "qat"]).multiple(true)))]
pub struct Args {
    /// Model name, see `cargo tools models` [default: that of the checkpoint given with --from].
    #[arg(long, required_unless_present = "from")]
    model: Option<String>,
    /// Data set: fashion-mnist, cifar10, cifar100 or a folder with one subfolder a class [default:
    /// that of the checkpoint given with --from].
    #[arg(long, required_unless_present = "from")]
    dataset: Option<String>,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to compute: auto, the first of cuda, candle-cuda, metal, vulkan, wgpu, tch, flex and candle that
    /// was built in and finds its device, or one of them.
    #[arg(long, default_value = "auto")]
    backend: BackendChoice,
    /// How to train: cct-200, cct-300, keras-30, mobilevit, muon-30, qat, or a TOML file. The
    /// options below override it [default with --qat: qat; without: AdamW, 22 epochs].
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// Start from the weights of this checkpoint, whose channels and normalisation stay. The number of
    /// classes and the image size may be others.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<PathBuf>,
    /// Quantization-aware training of the checkpoint given with --from: computes with the values of
    /// the int8 engine, so that the weights adapt to its rounding.
    #[arg(long, requires = "from")]
    qat: bool,
    /// Trained checkpoint whose answers the network learns, of any family; several may be named.
    #[arg(long = "teacher", value_name = "CHECKPOINT", conflicts_with = "qat")]
    teachers: Vec<PathBuf>,
    /// Number of training images kept for validation [default: one in twelve].
    #[arg(long, value_name = "N")]
    validation: Option<usize>,
    /// Use only N of the training images, which the seed draws.
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
    /// Compute matrix products on bf16 values.
    #[arg(long)]
    mixed_precision: bool,
    /// Share of the target spread over all classes.
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// Dropout of attention weights.
    #[arg(long, value_name = "RATE")]
    attention_dropout: Option<f32>,
    /// Probability of skipping the last block.
    #[arg(long, value_name = "RATE")]
    stochastic_depth: Option<f32>,
    /// Border from which random crops are taken, in pixels, instead of crops that are enlarged.
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
    /// With --qat, steps from one quantization of the weights to the next.
    #[arg(long, value_name = "STEPS", requires = "qat")]
    qat_every: Option<usize>,
    /// With --qat, number of images that calibrate the ranges.
    #[arg(long, value_name = "N", requires = "qat")]
    qat_images: Option<usize>,
    /// With --teacher, or with --qat, whose teacher is the float checkpoint: share of the loss that
    /// compares with the teacher's answers; the rest compares with the labels.
    #[arg(long, value_name = "SHARE", requires = "taught")]
    distill: Option<f32>,
    /// With --teacher, what logits are divided by before they are compared.
    #[arg(long, value_name = "T", requires = "teachers")]
    temperature: Option<f32>,
    /// With --qat, share of the loss that is the float model's own.
    #[arg(long, value_name = "SHARE", requires = "qat")]
    float_share: Option<f32>,
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
            mixed_precision: self.mixed_precision.then_some(true),
            label_smoothing: self.label_smoothing,
            attention_dropout: self.attention_dropout,
            stochastic_depth: self.stochastic_depth,
            // Crops of the image's own size instead of enlarged ones.
            crop_scale: self.crop_padding.map(|_| vec![]),
            crop_padding: self.crop_padding,
            flip: self.no_flip.then_some(false),
            policy: self.policy,
            erase: self.erase,
            mixup: self.mixup,
            cutmix: self.cutmix,
            qat_every: self.qat_every,
            qat_images: self.qat_images,
            distill: self.distill,
            temperature: self.temperature,
            float_share: self.float_share,
            ..Recipe::default()
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let start = match &args.from {
        Some(checkpoint) => {
            // A run that goes on does without what it started from.
            let begun = || run_options(&args.out).filter(|_| args.resume && !args.qat);
            let config = record::load_config(checkpoint);
            Some(
                config
                    .or_else(|error| begun().map(|run| run.model).ok_or(error))
                    .into_diagnostic()?,
            )
        }
        None => None,
    };
    let mut model = match (&args.model, &start) {
        (None, Some(start)) => start.clone(),
        (name, _) => ModelConfig::named(name.as_deref().unwrap_or_default()).into_diagnostic()?,
    };
    if let Some(edge) = args.image_size {
        let asked = ImageSize { height: edge, width: edge };
        if args.qat && asked != model.image_size {
            let size = model.image_size;
            return Err(miette!(
                "--image-size is {asked}, but quantization-aware training keeps the checkpoint's {size}; train it at {asked} with --from alone first"
            ));
        }
        model = model.with_image_size(edge, edge);
    }
    let dataset = args.dataset.clone().or_else(|| start.and_then(|start| start.dataset));
    let dataset = dataset.ok_or_else(|| {
        miette!("the checkpoint does not say what it was trained on; name the data with --dataset")
    })?;
    let data = DataSource::named(&dataset, args.data_dir.clone()).into_diagnostic()?;
    let mut options = TrainOptions::new(model, data, args.out.clone());
    options.qat = args.qat.then(Qat::default);
    let taught = !args.teachers.is_empty();
    options.distillation = taught.then(|| Distillation::new(args.teachers.clone()));
    let recipe = args.recipe.clone().or_else(|| args.qat.then(|| "qat".to_owned()));
    if let Some(recipe) = &recipe {
        Recipe::load(recipe).into_diagnostic()?.apply(&mut options);
    }
    args.overrides.recipe().apply(&mut options);
    for rate in [&mut options.min_learning_rate, &mut options.warmup_learning_rate] {
        *rate = rate.min(options.learning_rate);
    }
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
    if let Some(int8) = summary.best.best_int8() {
        println!(
            "its int8 model: accuracy {:.2} %, agreement {:.2} %, logit SQNR {:.1} dB",
            100.0 * int8.accuracy,
            100.0 * int8.agreement,
            int8.logit_sqnr_db
        );
    }
    Ok(())
}
