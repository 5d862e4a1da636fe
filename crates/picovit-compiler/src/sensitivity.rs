//! Which operations cause the drift: each is kept on floats in turn, and what that saves is its
//! contribution.

use std::collections::BTreeSet;

use picovit::Model;
use serde::Serialize;

use crate::artifact::AlignedBytes;
use crate::calibrate::Calibration;
use crate::drift;
use crate::error::CompileError;
use crate::fuse::{Concat, FusedOp, fuse};
use crate::graph::Graph;
use crate::quantize::{Format, op_name};
use crate::{Compiled, compile_as};

/// What one operation, or some that must agree, contributes to the error of the logits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// Names of the operations that are kept on floats together.
    pub layers: Vec<String>,
    /// Share of the logits' noise power that goes away with them on floats, in percent. Negative
    /// where their errors happened to cancel others.
    pub noise_share: f64,
    /// Logit SQNR with them on floats, in dB.
    pub logit_sqnr_db: f64,
}

/// The operations of a graph in order, those together that must compute with the same numbers.
///
/// # Errors
/// If the engine has no operation for a node.
pub fn layers(graph: &Graph) -> Result<Vec<Vec<String>>, CompileError> {
    let fused = fuse(graph)?;
    let mut groups: Vec<Vec<String>> = Vec::new();
    for op in &fused {
        let name = op_name(graph, op);
        // A concatenation joins what it takes.
        let joined = match *op {
            FusedOp::Conv { concat: Some(Concat { saved, .. }), .. } => {
                let given = fused.iter().find(|op| op.output() == saved);
                let given = given.map(|op| op_name(graph, op));
                groups.iter().position(|group| given.iter().any(|name| group.contains(name)))
            }
            _ => None,
        };
        match joined {
            Some(group) => groups[group].push(name),
            None => groups.push(vec![name]),
        }
    }
    Ok(groups)
}

/// Logit SQNR of an artifact on some images, in dB.
#[must_use]
pub fn logit_sqnr_db(graph: &Graph, compiled: &Compiled, images: &[&[u8]]) -> f64 {
    let bytes = AlignedBytes::new(&compiled.packed.bytes);
    let model = Model::parse(&bytes).expect("the compiler parsed it");
    let labelled: Vec<(&[u8], usize)> = images.iter().map(|&image| (image, 0)).collect();
    drift::evaluate(graph, &model, &labelled, || {}).logit_sqnr_db
}

/// Measures every operation, worst first. `done` is called after each.
///
/// # Errors
/// If the graph cannot be quantized.
pub fn measure(
    graph: &Graph,
    calibration: &Calibration,
    images: &[&[u8]],
    done: impl Fn(),
) -> Result<Vec<Sensitivity>, CompileError> {
    let noise = |db: f64| 10f64.powf(-db / 10.0);
    let sqnr = |format: &Format| -> Result<f64, CompileError> {
        Ok(logit_sqnr_db(graph, &compile_as(graph, calibration, None, format)?, images))
    };
    let all = noise(sqnr(&Format::Int8)?);
    let mut found = Vec::new();
    for layers in layers(graph)? {
        let db = sqnr(&Format::Mixed(layers.iter().cloned().collect()))?;
        let noise_share = 100.0 * (all - noise(db)) / all;
        found.push(Sensitivity { layers, noise_share, logit_sqnr_db: db });
        done();
    }
    found.sort_by(|a, b| b.noise_share.total_cmp(&a.noise_share));
    Ok(found)
}

/// The format that keeps the `count` worst on floats.
#[must_use]
pub fn keep_worst(sensitivity: &[Sensitivity], count: usize) -> Format {
    let worst = sensitivity.iter().take(count).flat_map(|found| found.layers.iter().cloned());
    Format::Mixed(worst.collect::<BTreeSet<_>>())
}
