//! `picovit bench`.

mod agreement;
#[cfg(feature = "bench-peers")]
mod files;
#[cfg(feature = "bench-peers")]
mod onnx;
#[cfg(feature = "bench-peers")]
mod onnxruntime;
mod peer;
#[cfg(feature = "bench-peers")]
mod tract;

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use miette::{IntoDiagnostic, Result, miette};
use picovit::kernels::Isa;
use picovit_compiler::{AlignedBytes, Packing};
use picovit_models::FlexNetwork;
use picovit_models::record::config_path;
use serde::Serialize;

use self::agreement::{Agreement, compare};
use self::peer::{Burn, Host, Peer};
use crate::output::{self, progress, table};
use crate::{artifact, data};

/// Inferences in front of every turn, which bring its code and weights back into the caches.
const WARM_UP: usize = 2;

/// An engine to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerName {
    /// ONNX Runtime on floats.
    Onnxruntime,
    /// ONNX Runtime on its own static int8 quantization.
    OnnxruntimeInt8,
    /// tract on floats.
    Tract,
    /// Burn's backend `flex` on floats.
    Burn,
}

/// Time an artifact on this machine against other engines on the same network, one thread each.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Artifact.
    model: PathBuf,
    /// Checkpoint it was quantized from.
    #[arg(long, value_name = "CHECKPOINT")]
    against: PathBuf,
    /// Engines to compare with [default: all that this build has].
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<PeerName>,
    /// Images that ONNX Runtime calibrates on and all logits are compared on: a folder, or a data
    /// set whose training images are taken [default: the data set the model was trained on].
    #[arg(long, value_name = "DIR|DATASET")]
    calibration: Option<String>,
    /// Number of these images.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Turns of every engine.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Inferences of a turn.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Python with the packages onnx and onnxruntime.
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
    /// Write the network that the peers run as ONNX.
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    isa: &'static str,
    macs: u64,
    images: usize,
    rounds: u32,
    runs: u32,
    engines: Vec<Figures>,
}

/// Figures of an engine; the artifact's come first, and ratios are multiples of its times.
#[derive(Debug, Serialize)]
struct Figures {
    engine: String,
    median_us: f64,
    least_us: f64,
    median_ratio: f64,
    least_ratio: f64,
    #[serde(flatten)]
    agreement: Agreement,
}

pub fn run(args: &Args) -> Result<()> {
    let said = config_path(&args.against);
    let outputs = [args.json.as_deref(), args.onnx.as_deref()];
    output::check(&outputs, &[&args.model, &args.against, &said])?;
    let peers = chosen(args)?;
    if cfg!(debug_assertions) {
        eprintln!("this build checks the engine's arithmetic, which costs it time: use --release");
    }
    // Burn computes in rayon's pool: this thread is all of it.
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .into_diagnostic()?;
    let (graph, config) = picovit_models::load_graph(&args.against).into_diagnostic()?;
    let bytes = artifact::read(&args.model)?;
    let model = artifact::parse(&args.model, &bytes)?;
    let shape = graph.image.shape;
    if (shape.height, shape.width, shape.channels)
        != (model.height(), model.width(), model.channels())
        || config.classes != model.classes()
    {
        return Err(miette!(
            help = "compare an artifact with the checkpoint it was quantized from",
            "{} takes other images or has other classes than {}",
            args.model.display(),
            args.against.display()
        ));
    }
    if model.packing() != Packing::NATIVE {
        eprintln!(
            "{} is packed for {}: `quantize --target x86` or `aarch64` makes one for this machine",
            args.model.display(),
            model.packing().name()
        );
    }
    let count = args.images as usize;
    let dir = args.data_dir.clone();
    let images =
        data::calibration(args.calibration.as_deref(), dir, &args.against, &config, count)?;
    if images.is_empty() {
        return Err(miette!("there is no calibration image; name a folder with --calibration"));
    }

    let isa = Isa::current().name();
    let host = Host {
        name: format!("picovit ({isa})"),
        model,
        images: images.clone(),
        arena: AlignedBytes::zeroed(model.arena_bytes()),
    };
    let mut engines: Vec<Box<dyn Peer + '_>> = vec![Box::new(host)];
    #[cfg(feature = "bench-peers")]
    let files = files::OnnxFiles::write(args, &graph, &images)?;
    for peer in peers {
        engines.push(match peer {
            PeerName::Burn => {
                let network = FlexNetwork::load(&args.against).into_diagnostic()?;
                Box::new(Burn { network, images: images.clone() })
            }
            #[cfg(feature = "bench-peers")]
            peer => files.start(peer, args)?,
            #[cfg(not(feature = "bench-peers"))]
            _ => unreachable!("`chosen` refuses it"),
        });
    }
    let agreements = compare(&graph, &images, &mut engines)?;
    let mut times = time(args, &mut engines)?;

    let best = summary(&mut times[0]);
    let figures =
        engines.iter().zip(&mut times).zip(agreements).map(|((engine, times), agreement)| {
            let (median, least) = summary(times);
            Figures {
                engine: engine.name(),
                median_us: median * 1e6,
                least_us: least * 1e6,
                median_ratio: median / best.0,
                least_ratio: least / best.1,
                agreement,
            }
        });
    let report = Report {
        model: graph.name.clone(),
        isa,
        macs: graph.macs(),
        images: images.len(),
        rounds: args.rounds,
        runs: args.runs,
        engines: figures.collect(),
    };
    output::report(args.json.as_deref(), &report, || print(&report))
}

/// The peers asked for.
fn chosen(args: &Args) -> Result<Vec<PeerName>> {
    let available = |peer: &PeerName| cfg!(feature = "bench-peers") || *peer == PeerName::Burn;
    let help = "cargo run --release -p picovit-tools --features bench-peers -- bench ...";
    let needs_feature = args.onnx.is_some() || !args.peers.iter().all(available);
    if needs_feature && !cfg!(feature = "bench-peers") {
        return Err(miette!(help = help, "this build has neither ONNX nor the peers that read it"));
    }
    if args.peers.is_empty() {
        let (here, missing): (Vec<_>, Vec<_>) =
            PeerName::value_variants().iter().copied().partition(available);
        if !missing.is_empty() {
            eprintln!("without ONNX Runtime and tract, which this build does not have; use {help}");
        }
        return Ok(here);
    }
    Ok(args.peers.clone())
}

/// Seconds of all inferences of every engine. They take turns, so that what else the machine does
/// meets all of them.
fn time(args: &Args, engines: &mut [Box<dyn Peer + '_>]) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); engines.len()];
    let bar = progress(args.rounds as usize, "rounds");
    for _ in 0..args.rounds {
        for (engine, times) in engines.iter_mut().zip(&mut times) {
            let turn = engine.time(WARM_UP + args.runs as usize)?;
            times.extend(turn[WARM_UP..].iter().map(std::time::Duration::as_secs_f64));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(times)
}

/// Median and least.
fn summary(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

fn print(report: &Report) {
    let mut table = table([
        "engine, one thread",
        "median us",
        "least us",
        "x picovit",
        "x its least",
        "max logit error",
        "SQNR dB",
        "same class %",
    ]);
    for figures in &report.engines {
        let agreement = figures.agreement;
        table.add_row([
            figures.engine.clone(),
            format!("{:.0}", figures.median_us),
            format!("{:.0}", figures.least_us),
            format!("{:.2}", figures.median_ratio),
            format!("{:.2}", figures.least_ratio),
            format!("{:.1e}", agreement.max_logit_error),
            format!("{:.1}", agreement.logit_sqnr_db),
            format!("{:.1}", agreement.same_class_percent),
        ]);
    }
    println!("{table}");
    println!(
        "{} ({} MACs), {} rounds of {} inferences each, logits of {} images",
        report.model,
        output::grouped(report.macs),
        report.rounds,
        report.runs,
        report.images
    );
}
