//! Trains a network from the command line; `picovit train` does more.

use std::path::PathBuf;

use clap::Parser;
use picovit_models::{Architecture, ModelConfig};
use picovit_train::data::{DataSource, Split};
use picovit_train::{BackendChoice, OptimizerKind, TrainOptions, ValidationSize, evaluate, train};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "cct_2_3x2")]
    model: String,
    #[arg(long, default_value = "fashion-mnist")]
    data: String,
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[arg(long, default_value = "auto")]
    backend: BackendChoice,
    #[arg(long, default_value_t = 22)]
    epochs: usize,
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    #[arg(long, default_value = "adamw")]
    optimizer: OptimizerKind,
    #[arg(long)]
    muon_factor: Option<f64>,
    #[arg(long)]
    weight_decay: Option<f64>,
    #[arg(long)]
    average_decay: Option<f64>,
    #[arg(long)]
    clip_norm: Option<f64>,
    #[arg(long)]
    erase: Option<f32>,
    #[arg(long)]
    decay_matrices_only: bool,
    #[arg(long)]
    attention_dropout: Option<f32>,
    #[arg(long)]
    stochastic_depth: Option<f32>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long)]
    limit: Option<usize>,
    #[arg(long)]
    validation: Option<usize>,
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    from: Option<PathBuf>,
    #[arg(long, default_value_t = 2.0)]
    warmup_epochs: f64,
    #[arg(long)]
    resume: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let source = DataSource::named(&arguments.data, arguments.data_dir)?;
    let mut model = ModelConfig::named(&arguments.model)?;
    let Architecture::Cct(cct) = &mut model.architecture else { unreachable!() };
    cct.attention_dropout = arguments.attention_dropout.unwrap_or(cct.attention_dropout);
    cct.stochastic_depth = arguments.stochastic_depth.unwrap_or(cct.stochastic_depth);
    let mut options = TrainOptions::new(model, source.clone(), arguments.out);
    options.optimizer = arguments.optimizer;
    options.muon_factor = arguments.muon_factor.unwrap_or(options.muon_factor);
    options.weight_decay = arguments.weight_decay.unwrap_or(options.weight_decay);
    options.average_decay = arguments.average_decay.unwrap_or(options.average_decay);
    options.clip_norm = arguments.clip_norm.unwrap_or(options.clip_norm);
    options.augment.erase = arguments.erase.unwrap_or(options.augment.erase);
    options.decay_all = !arguments.decay_matrices_only;
    options.epochs = arguments.epochs;
    options.learning_rate = arguments.learning_rate;
    options.seed = arguments.seed;
    options.limit = arguments.limit;
    options.from = arguments.from;
    options.warmup_epochs = arguments.warmup_epochs;
    options.resume = arguments.resume;
    if let Some(count) = arguments.validation {
        options.validation = ValidationSize::Count(count);
    }
    let summary = train(&options, arguments.backend)?;
    println!(
        "best: epoch {}, validation accuracy {:.2} %",
        summary.best.epoch,
        100.0 * summary.best.accuracy()
    );
    let size = summary.model.image_size;
    let channels = summary.model.channels;
    let test = source.load_for(Split::Test, size.height, size.width, channels)?;
    let evaluation = evaluate(&summary.checkpoint, &test, options.batch_size, arguments.backend)?;
    println!(
        "test: {} of {} correct, {:.2} %",
        evaluation.correct,
        test.len(),
        100.0 * evaluation.top1
    );
    Ok(())
}
