//! `picovit quantize`.

mod args;
mod ranges;
mod report;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use picovit::Model;
use picovit_compiler::drift;
use picovit_compiler::graph::Graph;
use picovit_compiler::sensitivity::{self, Sensitivity};
use picovit_compiler::{AlignedBytes, Calibration, CompileError, Format, compile_within};
use picovit_models::ModelConfig;
use picovit_models::record::config_path;
use picovit_train::data::{Dataset, Split};

use crate::data;
use crate::output::{self, grouped, progress, table};

pub use args::Args;
use args::NumberFormat;
use ranges::{calibrate, judge, print_changed};
pub use report::print_evaluation;
use report::{Report, print_layers};

/// Images the per-layer drift is measured on.
const LAYER_IMAGES: usize = 256;

pub fn run(args: &Args) -> Result<()> {
    let said = config_path(&args.checkpoint);
    output::check(&[Some(&args.out), args.json.as_deref()], &[&args.checkpoint, &said])?;
    let (graph, config) = picovit_models::load_graph(&args.checkpoint).into_diagnostic()?;
    let shape = graph.image.shape;
    let size = (shape.height, shape.width, shape.channels);
    let cannot = || format!("cannot quantize {}", args.checkpoint.display());
    // What is missing is said before the work.
    let test = test_set(args, &config, size)?;
    let (images, calibration) = calibrate(args, &graph, &config)?;
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let samples = &slices[..slices.len().min(LAYER_IMAGES)];
    let wants_worst = args.keep_f16.as_ref().is_some_and(|kept| kept.parse::<usize>().is_ok());
    // Each format has the ranges that suit it.
    let ranges = |format: &Format| judge(&graph, calibration.clone(), &slices, format);
    let int8 = (args.sensitivity || wants_worst).then(|| ranges(&Format::Int8));
    let sensitivity = int8.as_ref().map(|int8| measure(&graph, int8, samples)).transpose();
    let sensitivity = sensitivity.wrap_err_with(cannot)?;
    let format = format(args, sensitivity.as_deref().unwrap_or_default());
    let judged = int8.filter(|_| format == Format::Int8).unwrap_or_else(|| ranges(&format));
    print_changed(&graph, &calibration, &judged);
    let mut layout = args.target.layout();
    layout.winograd &= !args.no_winograd;
    let dataset = config.dataset.as_deref();
    let budget = args.arena_budget.unwrap_or(usize::MAX);
    let compiled = compile_within(&graph, &judged, dataset, &format, layout, budget)
        .map_err(|error| explain(error, args))
        .wrap_err_with(cannot)?;
    let packed = &compiled.packed;
    let economies: Vec<String> = compiled.economies.iter().map(ToString::to_string).collect();
    if let Some(least) = args.min_sqnr_db {
        let reached = sensitivity::logit_sqnr_db(&graph, &compiled, &slices);
        if reached < least {
            return Err(miette!(
                help = "keep more layers in f16 (--keep-f16), or lower --min-sqnr-db",
                "the logit SQNR is {reached:.1} dB, --min-sqnr-db asks for {least}; nothing written"
            ));
        }
    }
    output::write(&args.out, &packed.bytes)?;
    output::line(format_args!(
        "wrote {}: {} bytes, arena {} bytes (lower bound {}), {} MACs",
        args.out.display(),
        grouped(packed.bytes.len() as u64),
        grouped(packed.plan.arena_bytes as u64),
        grouped(packed.plan.lower_bound as u64),
        grouped(graph.macs())
    ));
    for economy in &economies {
        output::line(format_args!("to fit the arena: {economy}"));
    }
    let Some(test) = test else { return Ok(()) };
    let images = data::labelled(&test, args.eval_images.map_or(usize::MAX, |count| count as usize));
    let bytes = AlignedBytes::new(&packed.bytes);
    let model = Model::parse(&bytes).into_diagnostic()?;
    let bar = progress(images.len(), "evaluating both models");
    let evaluation = drift::evaluate(&graph, &model, &images, || bar.inc(1));
    bar.finish_and_clear();
    let first: Vec<&[u8]> = images.iter().take(LAYER_IMAGES).map(|(image, _)| *image).collect();
    let layers = drift::layers(&graph, &model, &compiled.sites, &first, || {});

    let report = Report {
        model: &graph.name,
        format: format.name(),
        target: model.packing().name(),
        artifact_bytes: packed.bytes.len(),
        weight_bytes: packed.weight_bytes,
        arena_bytes: packed.plan.arena_bytes,
        arena_lower_bound: packed.plan.lower_bound,
        economies,
        macs: graph.macs(),
        evaluation: &evaluation,
        layers: &layers,
        kept_f16: match &format {
            Format::Mixed(kept) => Some(kept.iter().map(String::as_str).collect()),
            _ => None,
        },
        sensitivity: sensitivity.as_deref(),
    };
    output::report(args.json.as_deref(), &report, || {
        print_layers(&layers);
        print_evaluation(&evaluation);
    })
}

/// The test set, unless there is to be no evaluation.
fn test_set(
    args: &Args,
    config: &ModelConfig,
    size: (usize, usize, usize),
) -> Result<Option<Dataset>> {
    if args.no_eval {
        return Ok(None);
    }
    let (given, said) = (args.dataset.as_deref(), config_path(&args.checkpoint));
    let remedy = "--dataset, or pass --no-eval";
    let name = data::Name::of(given, config.dataset.as_deref(), &said, remedy)?;
    let test = data::load(&name, args.data_dir.clone(), Split::Test, size)?;
    data::check_classes(&test, config.classes, &config.labels, &args.checkpoint)?;
    Ok(Some(test))
}

/// A compilation's error, with what may help.
fn explain(error: CompileError, args: &Args) -> miette::Report {
    let CompileError::ArenaBudget { smallest, .. } = &error else {
        return miette::Report::from_err(error);
    };
    let smaller = match (&args.keep_f16, args.format) {
        (None, NumberFormat::Int8) => "a model with fewer channels or for smaller images",
        (None, NumberFormat::F16) => "int8, whose values are a quarter as large",
        (Some(_), _) => "fewer layers in f16",
    };
    let help = format!("allow --arena-budget {smallest}, or take {smaller}; nothing was written");
    miette!(help = help, "{error}")
}

/// Contribution of every layer to the drift.
fn measure(graph: &Graph, calibration: &Calibration, images: &[&[u8]]) -> Result<Vec<Sensitivity>> {
    let count = sensitivity::layers(graph).into_diagnostic()?.len();
    let bar = progress(count, "measuring every layer");
    let found = sensitivity::measure(graph, calibration, images, || bar.inc(1));
    bar.finish_and_clear();
    let found = found.into_diagnostic()?;
    let mut table = table(["layer", "share of the noise %", "logit SQNR in f16 dB"]);
    for layer in &found {
        table.add_row([
            layer.layers.join(", "),
            format!("{:.1}", layer.noise_share),
            format!("{:.2}", layer.logit_sqnr_db),
        ]);
    }
    output::line(table);
    Ok(found)
}

/// The number format that the options ask for.
fn format(args: &Args, sensitivity: &[Sensitivity]) -> Format {
    match (&args.keep_f16, args.format) {
        (Some(kept), _) => match kept.parse::<usize>() {
            Ok(count) => sensitivity::keep_worst(sensitivity, count),
            Err(_) => Format::Mixed(kept.split(',').map(|name| name.trim().to_owned()).collect()),
        },
        (None, NumberFormat::Int8) => Format::Int8,
        (None, NumberFormat::F16) => Format::F16,
    }
}
