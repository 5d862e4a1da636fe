//! Trains a network from the command line; `picovit train` does more.

use std::path::PathBuf;

use clap::Parser;
use picovit_models::ModelConfig;
use picovit_train::data::{DataSource, Split};
use picovit_train::{BackendChoice, Recipe, TrainOptions, ValidationSize, evaluate, train};

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
    #[arg(long, default_value_t = 1)]
    devices: usize,
    /// Name or file of a recipe.
    #[arg(long)]
    recipe: Option<String>,
    #[arg(long)]
    epochs: Option<usize>,
    #[arg(long)]
    learning_rate: Option<f64>,
    #[arg(long)]
    warmup_epochs: Option<f64>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long)]
    limit: Option<usize>,
    #[arg(long)]
    validation: Option<usize>,
    /// Edge of the images.
    #[arg(long)]
    image_size: Option<usize>,
    #[arg(long)]
    average_decay: Option<f64>,
    #[arg(long)]
    out: PathBuf,
    /// Compute matrix products on bf16 values.
    #[arg(long)]
    mixed_precision: bool,
    #[arg(long)]
    from: Option<PathBuf>,
    #[arg(long)]
    resume: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let source = DataSource::named(&arguments.data, arguments.data_dir)?;
    let mut model = ModelConfig::named(&arguments.model)?;
    if let Some(edge) = arguments.image_size {
        model = model.with_image_size(edge, edge);
    }
    let mut options = TrainOptions::new(model, source.clone(), arguments.out);
    if let Some(recipe) = &arguments.recipe {
        Recipe::load(recipe)?.apply(&mut options);
    }
    options.epochs = arguments.epochs.unwrap_or(options.epochs);
    options.learning_rate = arguments.learning_rate.unwrap_or(options.learning_rate);
    options.warmup_epochs = arguments.warmup_epochs.unwrap_or(options.warmup_epochs);
    options.average_decay = arguments.average_decay.unwrap_or(options.average_decay);
    options.mixed_precision |= arguments.mixed_precision;
    options.seed = arguments.seed;
    options.limit = arguments.limit;
    options.from = arguments.from;
    options.resume = arguments.resume;
    options.devices = arguments.devices;
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
