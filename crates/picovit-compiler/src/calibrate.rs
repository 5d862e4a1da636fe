//! Ranges of every value over calibration images.

use rayon::prelude::*;

use crate::executor::Executor;
use crate::graph::Graph;

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
        Self { nodes, images: images.len() }
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

    /// Smallest and largest value of a node over all channels.
    #[must_use]
    pub fn range(&self, id: usize) -> (f32, f32) {
        self.nodes[id]
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), s| (lo.min(s.min), hi.max(s.max)))
    }

    /// Largest magnitude of a node.
    #[must_use]
    pub fn magnitude(&self, id: usize) -> f32 {
        let (lo, hi) = self.range(id);
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
