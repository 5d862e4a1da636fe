//! `picovit predict`.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use miette::Result;
use picovit::postprocess::{probabilities, top_k};
use picovit_compiler::drift::Runner;
use serde::Serialize;

use crate::output::{self, table};
use crate::{artifact, data};

/// Classify images.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Artifact.
    model: PathBuf,
    /// Image files.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Write the predictions as JSON: logits, and the three likeliest classes with probabilities of 0 to 1.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Prediction {
    image: PathBuf,
    logits: Vec<i16>,
    top: Vec<Class>,
}

#[derive(Debug, Serialize)]
struct Class {
    class: u16,
    label: String,
    /// 0 to 1.
    probability: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let inputs: Vec<&Path> =
        [&args.model].into_iter().chain(&args.images).map(|path| path.as_path()).collect();
    output::check(&[args.json.as_deref()], &inputs)?;
    let bytes = artifact::read(&args.model)?;
    let model = artifact::parse(&args.model, &bytes)?;
    let mut runner = Runner::new(&model);
    let mut predictions = Vec::new();
    let mut table = table(["image", "class", "%"]);
    for path in &args.images {
        let pixels = data::image(path, (model.height(), model.width(), model.channels()))?;
        let logits = runner.logits(&pixels, &mut picovit::NoProbe);
        let mut shares = vec![0; logits.len()];
        probabilities(&model, &logits, &mut shares);
        let best = top_k::<3>(&shares);
        let top: Vec<Class> = best
            .iter()
            .map(|p| Class {
                class: p.class,
                label: model
                    .label(usize::from(p.class))
                    .map_or_else(|| format!("class {}", p.class), Into::into),
                probability: f64::from(p.probability) / 65535.0,
            })
            .collect();
        for (rank, class) in top.iter().enumerate() {
            let name = if rank == 0 { path.display().to_string() } else { String::new() };
            table.add_row([name, class.label.clone(), format!("{:.1}", 100.0 * class.probability)]);
        }
        predictions.push(Prediction { image: path.clone(), logits, top });
    }
    output::report(args.json.as_deref(), &predictions, || println!("{table}"))
}
