//! Calibration, and which ranges an artifact gets.

use miette::Result;
use picovit_compiler::calibrate::Method;
use picovit_compiler::graph::Graph;
use picovit_compiler::{Calibration, Format};
use picovit_models::ModelConfig;

use super::args::{Args, Ranges};
use crate::data;
use crate::output::{self, progress};

/// The calibration images and the ranges over them.
pub(super) fn calibrate(
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
pub(super) fn judge(
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
pub(super) fn print_changed(graph: &Graph, before: &Calibration, after: &Calibration) {
    let nodes = graph.nodes.iter().enumerate();
    let changed = nodes.filter(|&(id, _)| before.range(id) != after.range(id));
    let changed: Vec<&str> = changed.map(|(_, node)| node.name.as_str()).collect();
    if !changed.is_empty() {
        output::line(format_args!("other ranges, for closer logits: {}", changed.join(", ")));
    }
}
