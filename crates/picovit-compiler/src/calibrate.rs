//! Ranges of every value over calibration images.

mod covariance;
mod histogram;
mod judge;
mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::executor::Executor;
use crate::graph::{Graph, NodeId, Op};
use crate::quantize::Rounding;
use crate::quantize::scale::Affine;

use histogram::Histogram;
pub use histogram::Method;
use kept::Kept;

/// What one channel of one value did over the calibration images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelStats {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Mean value.
    pub mean: f64,
}

impl ChannelStats {
    /// Largest magnitude.
    #[must_use]
    pub fn magnitude(&self) -> f32 {
        self.min.abs().max(self.max.abs())
    }

    /// Half way between the extremes.
    #[must_use]
    pub fn middle(&self) -> f32 {
        (self.min + self.max) / 2.0
    }
}

/// Statistics of every node's channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    nodes: Vec<Vec<ChannelStats>>,
    /// int8 range of every node, and how it was found.
    ranges: Vec<((f32, f32), Method)>,
    /// What the other methods found, where all were tried.
    others: Vec<Vec<((f32, f32), Method)>>,
    /// Of the inputs of layers, where they were asked for.
    covariances: BTreeMap<NodeId, Vec<f64>>,
    /// While ranges are tried.
    kept: Option<Arc<Kept>>,
    images: usize,
}

impl Calibration {
    /// Runs the float graph over the images (raw pixels, `[height][width][channels]`), on all cores.
    /// The result does not depend on the number of cores.
    #[must_use]
    pub fn run(graph: &Graph, images: &[&[u8]]) -> Self {
        Self::run_with(graph, images, || {})
    }

    /// As [`Self::run`], calling `done` after every image.
    #[must_use]
    pub fn run_with(graph: &Graph, images: &[&[u8]], done: impl Fn() + Sync) -> Self {
        let executor = Executor::new(graph);
        let each = images.par_iter().map(|pixels| {
            let values = executor.run_pixels(pixels);
            let stats = (0..graph.nodes.len())
                .map(|id| channel_stats(values.node(id), graph.nodes[id].shape.channels))
                .collect::<Vec<_>>();
            done();
            stats
        });
        // Collected in image order, so that the means' rounding does not depend on scheduling.
        let each: Vec<Vec<Vec<ChannelStats>>> = each.collect();
        let empty = ChannelStats { min: f32::INFINITY, max: f32::NEG_INFINITY, mean: 0.0 };
        let mut nodes: Vec<Vec<ChannelStats>> =
            graph.nodes.iter().map(|node| vec![empty; node.shape.channels]).collect();
        let count = images.len().max(1) as f64;
        for image in &each {
            for (total, stats) in nodes.iter_mut().flatten().zip(image.iter().flatten()) {
                total.min = total.min.min(stats.min);
                total.max = total.max.max(stats.max);
                total.mean += stats.mean / count;
            }
        }
        let mut calibration = Self {
            nodes,
            ranges: vec![],
            others: vec![vec![]; graph.nodes.len()],
            covariances: BTreeMap::new(),
            kept: None,
            images: images.len(),
        };
        let extremes = (0..graph.nodes.len()).map(|id| (calibration.extremes(id), Method::MinMax));
        calibration.ranges = extremes.collect();
        calibration
    }

    /// Finds the int8 range of every value by this method, over the same images as before: in a
    /// second run, since histograms need the extremes. Calls `done` after every image.
    #[must_use]
    pub fn refined(
        mut self,
        graph: &Graph,
        images: &[&[u8]],
        method: Method,
        done: impl Fn() + Sync,
    ) -> Self {
        let finite = (0..graph.nodes.len()).all(|id| {
            let (lo, hi) = self.extremes(id);
            lo.is_finite() && hi.is_finite()
        });
        if method == Method::MinMax || images.is_empty() || !finite {
            return self;
        }
        let executor = Executor::new(graph);
        let empty = || -> Vec<Histogram> {
            let ends = (0..graph.nodes.len()).map(|id| self.extremes(id));
            ends.map(|(lo, hi)| Histogram::new(lo, hi)).collect()
        };
        // Counts are integers: the order of images does not matter.
        let histograms = images
            .par_iter()
            .fold(empty, |mut histograms, pixels| {
                let values = executor.run_pixels(pixels);
                for (id, histogram) in histograms.iter_mut().enumerate() {
                    histogram.add(values.node(id));
                }
                done();
                histograms
            })
            .reduce(empty, |a, b| a.into_iter().zip(&b).map(|(a, b)| a.merge(b)).collect());
        // Where an activation follows, what counts is the error behind it.
        let activation = |id: usize| {
            let mut users = graph.nodes.iter().filter(|node| node.inputs.contains(&id));
            match (users.next().map(|node| &node.op), users.next()) {
                (Some(&Op::Table(activation)), None) => Some(activation),
                _ => None,
            }
        };
        let ranges = histograms.par_iter().enumerate().map(|(id, histogram)| {
            let activation = activation(id);
            let function = |x: f64| match activation {
                Some(activation) => f64::from(activation.apply(x as f32)),
                None => x,
            };
            let best = histogram.range(method, &function);
            let others: &[Method] = match method {
                Method::Auto => &[Method::MinMax, Method::Percentile, Method::Mse],
                _ => &[],
            };
            let mut different: Vec<((f32, f32), Method)> = Vec::new();
            for other in others.iter().map(|&method| histogram.range(method, &function)) {
                if other.0 != best.0 && different.iter().all(|known| known.0 != other.0) {
                    different.push(other);
                }
            }
            (best, different)
        });
        (self.ranges, self.others) = ranges.unzip();
        self
    }

    /// The same without covariances.
    fn without_covariances(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            ranges: self.ranges.clone(),
            others: vec![],
            covariances: BTreeMap::new(),
            kept: None,
            images: self.images,
        }
    }

    /// Learns how the inputs of every layer vary together, from the first of the same images: weights are
    /// rounded so that their errors compensate each other. Calls `done` after every image.
    #[must_use]
    pub fn with_covariances(
        mut self,
        graph: &Graph,
        images: &[&[u8]],
        done: impl Fn() + Sync,
    ) -> Self {
        self.covariances = covariance::of_layers(graph, images, done);
        self
    }

    /// Covariances `[inputs][inputs]` of a layer's inputs, if they were asked for.
    #[must_use]
    pub fn covariance(&self, layer: NodeId) -> Option<&[f64]> {
        self.covariances.get(&layer).map(Vec::as_slice)
    }

    /// What `make` gives for a layer with inputs of these scales, or gave before.
    pub(crate) fn kept_rounding(
        &self,
        layer: NodeId,
        inputs: &[Affine],
        make: impl FnOnce() -> Rounding,
    ) -> Arc<Rounding> {
        match &self.kept {
            Some(kept) => kept.get(layer, inputs, make),
            None => Arc::new(make()),
        }
    }

    /// How the int8 range of a node was found.
    #[must_use]
    pub fn method(&self, id: usize) -> Method {
        self.ranges[id].1
    }

    /// Statistics of a node, one entry a channel.
    #[must_use]
    pub fn node(&self, id: usize) -> &[ChannelStats] {
        &self.nodes[id]
    }

    /// Number of images seen.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }

    /// The range of a node for int8 values with one scale: its extremes, or less.
    #[must_use]
    pub fn range(&self, id: usize) -> (f32, f32) {
        self.ranges[id].0
    }

    /// Smallest and largest value of a node over all channels.
    #[must_use]
    pub fn extremes(&self, id: usize) -> (f32, f32) {
        self.nodes[id]
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), s| (lo.min(s.min), hi.max(s.max)))
    }

    /// Largest magnitude of a node.
    #[must_use]
    pub fn magnitude(&self, id: usize) -> f32 {
        let (lo, hi) = self.extremes(id);
        lo.abs().max(hi.abs())
    }
}

fn channel_stats(value: &[f32], channels: usize) -> Vec<ChannelStats> {
    let empty = ChannelStats { min: f32::INFINITY, max: f32::NEG_INFINITY, mean: 0.0 };
    let mut stats = vec![empty; channels];
    for token in value.chunks_exact(channels) {
        for (s, &v) in stats.iter_mut().zip(token) {
            s.min = s.min.min(v);
            s.max = s.max.max(v);
            s.mean += v as f64;
        }
    }
    let tokens = (value.len() / channels).max(1) as f64;
    stats.iter_mut().for_each(|s| s.mean /= tokens);
    stats
}
