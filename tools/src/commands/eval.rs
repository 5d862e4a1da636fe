//! `picovit eval`.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result, miette};
use picovit_compiler::drift::{self, Evaluation};
use picovit_models::record::config_path;
use picovit_train::data::Split;
use serde::Serialize;

use crate::output::{self, progress, table};
use crate::{artifact, data};

/// Measure an artifact.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Artifact.
    model: PathBuf,
    /// Checkpoint to compare with.
    #[arg(long, value_name = "CHECKPOINT")]
    against: Option<PathBuf>,
    /// Test set: a name or a folder of images [default: the one the model was trained on].
    #[arg(long)]
    dataset: Option<String>,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Use the first N test images only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Figures {
    Against(Evaluation),
    Alone { images: usize, top1_quantized: f64 },
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    artifact_bytes: usize,
    arena_bytes: usize,
    macs: u64,
    #[serde(flatten)]
    figures: Figures,
}

pub fn run(args: &Args) -> Result<()> {
    let against = args.against.iter().flat_map(|path| [path.clone(), config_path(path)]);
    let inputs: Vec<PathBuf> = against.chain([args.model.clone()]).collect();
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    output::check(&[args.json.as_deref()], &inputs)?;
    let bytes = artifact::read(&args.model)?;
    let model = artifact::parse(&args.model, &bytes)?;
    let info = artifact::info(&model);
    let recorded = info.as_ref().and_then(|info| info.dataset.as_deref());
    let name = data::Name::of(args.dataset.as_deref(), recorded, &args.model, "--dataset")?;
    let size = (model.height(), model.width(), model.channels());
    let test = data::load(&name, args.data_dir.clone(), Split::Test, size)?;
    let labels: Vec<String> =
        (0..model.classes()).map_while(|i| model.label(i)).map(Into::into).collect();
    data::check_classes(&test, model.classes(), &labels, &args.model)?;
    let images = data::labelled(&test, args.images.map_or(usize::MAX, |count| count as usize));
    let bar = progress(images.len(), "evaluating");
    let figures = if let Some(checkpoint) = &args.against {
        let (graph, _) = picovit_models::load_graph(checkpoint).into_diagnostic()?;
        let shape = graph.image.shape;
        let classes = graph.nodes.last().map_or(0, |node| node.shape.channels);
        if (shape.height, shape.width, shape.channels) != size || classes != model.classes() {
            return Err(miette!(
                help = "compare an artifact with the checkpoint it was quantized from",
                "{} takes {}x{}x{} images and has {classes} classes, {} takes {}x{}x{} and has {}",
                checkpoint.display(),
                shape.height,
                shape.width,
                shape.channels,
                args.model.display(),
                size.0,
                size.1,
                size.2,
                model.classes()
            ));
        }
        Figures::Against(drift::evaluate(&graph, &model, &images, || bar.inc(1)))
    } else {
        let top1_quantized = drift::accuracy(&model, &images, || bar.inc(1));
        Figures::Alone { images: images.len(), top1_quantized }
    };
    bar.finish_and_clear();
    let report = Report {
        model: info.map_or_else(|| args.model.display().to_string(), |info| info.model),
        artifact_bytes: model.artifact_bytes(),
        arena_bytes: model.arena_bytes(),
        macs: model.header().macs,
        figures,
    };
    output::report(args.json.as_deref(), &report, || match &report.figures {
        Figures::Against(evaluation) => super::quantize::print_evaluation(evaluation),
        Figures::Alone { images, top1_quantized } => {
            let mut table = table(["on the test set", ""]);
            table.add_row(["images".into(), images.to_string()]);
            table.add_row(["top-1 quantized".into(), format!("{top1_quantized:.2} %")]);
            println!("{table}");
        }
    })
}
