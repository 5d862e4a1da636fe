//! `picovit quantize`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use picovit::Model;
use picovit_compiler::calibrate::Method;
use picovit_compiler::drift::{self, Evaluation, LayerDrift};
use picovit_compiler::graph::Graph;
use picovit_compiler::sensitivity::{self, Sensitivity};
use picovit_compiler::{
    AlignedBytes, Calibration, CompileError, Format, Layout, Packing, compile_within,
};
use picovit_models::ModelConfig;
use picovit_models::record::config_path;
use picovit_train::data::{Dataset, Split};
use serde::Serialize;

use crate::data;
use crate::output::{self, grouped, progress, table};

/// Images the per-layer drift is measured on.
const LAYER_IMAGES: usize = 256;

/// Instruction set the weights are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Row-major, for processors without an instruction set named here.
    Portable,
    /// Cortex-M4 and M4F.
    CortexM4,
    /// Cortex-M7.
    CortexM7,
    /// Cortex-M33 with DSP.
    CortexM33,
    /// Cortex-M55 with Helium.
    CortexM55,
    /// Raspberry Pi 5 and other 64-bit Arm with dot products.
    Aarch64,
    /// Raspberry Pi 3, 4 and Zero 2 W, and other 64-bit Arm without (Cortex-A53, A72).
    #[value(alias = "cortex-a72")]
    CortexA53,
    /// x86-64.
    X86,
    /// WebAssembly with vectors (`simd128`).
    Wasm,
}

impl Target {
    /// How its kernels take weights.
    fn layout(self) -> Layout {
        match self {
            // NEON takes rows as they are.
            Self::Portable | Self::Aarch64 => Packing::Portable.into(),
            Self::CortexA53 => Layout { packing: Packing::Portable, winograd: true },
            Self::X86 | Self::Wasm => Packing::Wide.into(),
            Self::CortexM4 | Self::CortexM7 | Self::CortexM33 => Packing::CortexM.into(),
            Self::CortexM55 => Packing::Helium.into(),
        }
    }
}

/// Number format of a whole artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NumberFormat {
    /// 8-bit integers.
    Int8,
    /// 16-bit floating-point weights, 32-bit arithmetic.
    F16,
}

/// How ranges follow from the values seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ranges {
    /// The best of the others, tensor by tensor, in its own error or in that of the logits.
    Auto,
    /// From the smallest to the largest value.
    MinMax,
    /// Without the outermost values.
    Percentile,
    /// Least mean squared error.
    Mse,
}

/// Quantize a checkpoint.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Checkpoint, with its configuration beside it (best.mpk, best.json).
    checkpoint: PathBuf,
    /// Artifact to write.
    #[arg(long, default_value = "model.pvit")]
    out: PathBuf,
    /// Number format: int8 weights and activations, or f16 weights and f32 arithmetic.
    #[arg(long, value_enum, default_value = "int8")]
    format: NumberFormat,
    /// Measure what every layer contributes to the drift.
    #[arg(long, conflicts_with = "format")]
    sensitivity: bool,
    /// Keep layers of an int8 artifact in f16: this many of the worst, or these, by name and
    /// separated by commas.
    #[arg(long, value_name = "N|LAYERS", conflicts_with = "format")]
    keep_f16: Option<String>,
    /// Write the artifact only if the logit SQNR over the calibration images is at least this.
    #[arg(long, value_name = "DB", value_parser = decibels)]
    min_sqnr_db: Option<f64>,
    /// Processor that the weights are packed for. Artifacts run on all, but fast on theirs.
    #[arg(long, value_enum, default_value = "cortex-m4")]
    target: Target,
    /// Compute 3x3 convolutions as they are, not by Winograd's algorithm: their weights take 3.6 times
    /// less flash, on Cortex-M55, Cortex-A53, x86 and wasm 8 times, and the processor up to twice the instructions for them.
    #[arg(long)]
    no_winograd: bool,
    /// Bytes that the arena may have at most, as in 33000, 32K or 1M. Speed is given up where it takes
    /// that, never accuracy; where nothing helps, the error says what the smallest arena is.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    arena_budget: Option<usize>,
    /// Calibration images: a folder of images, or a data set whose training images are taken
    /// [default: the data set the model was trained on].
    #[arg(long, value_name = "DIR|DATASET")]
    calibration: Option<String>,
    /// Number of calibration images.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// How ranges follow from the calibration images; `auto` takes, tensor by tensor, what errs least, or
    /// what brings the logits closer.
    #[arg(long, value_enum, default_value = "auto")]
    ranges: Ranges,
    /// Test set [default: the data set the model was trained on].
    #[arg(long)]
    dataset: Option<String>,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Evaluate on the first N test images only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    eval_images: Option<u32>,
    /// Write the artifact without evaluating it.
    #[arg(long, conflicts_with = "json")]
    no_eval: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    format: &'a str,
    target: &'a str,
    artifact_bytes: usize,
    weight_bytes: usize,
    arena_bytes: usize,
    arena_lower_bound: usize,
    /// What was given up for `--arena-budget`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    economies: Vec<String>,
    macs: u64,
    #[serde(flatten)]
    evaluation: Evaluation,
    layers: &'a [LayerDrift],
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_f16: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivity: Option<&'a [Sensitivity]>,
}

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
    println!(
        "wrote {}: {} bytes, arena {} bytes (lower bound {}), {} MACs",
        args.out.display(),
        grouped(packed.bytes.len() as u64),
        grouped(packed.plan.arena_bytes as u64),
        grouped(packed.plan.lower_bound as u64),
        grouped(graph.macs())
    );
    for economy in &economies {
        println!("to fit the arena: {economy}");
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

    print_layers(&layers);
    print_evaluation(&evaluation);
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
        evaluation,
        layers: &layers,
        kept_f16: match &format {
            Format::Mixed(kept) => Some(kept.iter().map(String::as_str).collect()),
            _ => None,
        },
        sensitivity: sensitivity.as_deref(),
    };
    output::json(args.json.as_deref(), &report)
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

/// Decibels on the command line.
fn decibels(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "not a number of decibels; write 40 or 38.5".to_owned())
}

/// A number of bytes on the command line.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['M', 'm']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let count: Option<usize> = digits.parse().ok();
    count
        .and_then(|count| count.checked_mul(factor))
        .ok_or_else(|| "not a number of bytes; write 33000, 32K (32 * 1024 bytes) or 1M".to_owned())
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
    println!("{table}");
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

/// The calibration images and the ranges over them.
fn calibrate(
    args: &Args,
    graph: &Graph,
    config: &ModelConfig,
) -> Result<(Vec<Vec<u8>>, Calibration)> {
    let count = args.images as usize;
    let dir = args.data_dir.clone();
    let images =
        data::calibration(args.calibration.as_deref(), dir, &args.checkpoint, config, count)?;
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let bar = progress(3 * slices.len(), "calibrating");
    let method = match args.ranges {
        Ranges::Auto => Method::Auto,
        Ranges::MinMax => Method::MinMax,
        Ranges::Percentile => Method::Percentile,
        Ranges::Mse => Method::Mse,
    };
    let calibration = Calibration::run_with(graph, &slices, || bar.inc(1));
    let calibration = calibration.refined(graph, &slices, method, || bar.inc(1));
    let calibration = calibration.with_covariances(graph, &slices, || bar.inc(1));
    bar.finish_and_clear();
    Ok((images, calibration))
}

/// The ranges that bring the logits of an artifact in this format closer.
fn judge(
    graph: &Graph,
    calibration: Calibration,
    images: &[&[u8]],
    format: &Format,
) -> Calibration {
    let bar = progress(graph.nodes.len(), "comparing ranges");
    let judged = calibration.judged(graph, images, format, || bar.inc(1));
    bar.finish_and_clear();
    judged
}

/// Names the values whose ranges are others now.
fn print_changed(graph: &Graph, before: &Calibration, after: &Calibration) {
    let nodes = graph.nodes.iter().enumerate();
    let changed = nodes.filter(|&(id, _)| before.range(id) != after.range(id));
    let changed: Vec<&str> = changed.map(|(_, node)| node.name.as_str()).collect();
    if !changed.is_empty() {
        println!("other ranges, for closer logits: {}", changed.join(", "));
    }
}

fn print_layers(layers: &[LayerDrift]) {
    let mut table = table(["layer", "SQNR dB", "saturated %"]);
    for layer in layers {
        table.add_row([
            layer.name.clone(),
            format!("{:.1}", layer.sqnr_db),
            format!("{:.3}", layer.saturation),
        ]);
    }
    println!("{table}");
}

/// Prints the comparison of both models.
pub fn print_evaluation(e: &Evaluation) {
    let mut table = table(["on the test set", ""]);
    table.add_row(["images".into(), e.images.to_string()]);
    table.add_row(["top-1 float".into(), format!("{:.2} %", e.top1_float)]);
    table.add_row(["top-1 quantized".into(), format!("{:.2} %", e.top1_quantized)]);
    table.add_row(["drop".into(), format!("{:+.2} points", e.top1_drop)]);
    table.add_row(["agreement".into(), format!("{:.2} %", e.agreement)]);
    table.add_row(["logit SQNR".into(), format!("{:.1} dB", e.logit_sqnr_db)]);
    println!("{table}");
}
