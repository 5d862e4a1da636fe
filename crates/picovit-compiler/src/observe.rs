//! What the engine computes, value by value, as real numbers: what quantization-aware training
//! puts in the place of the float model's values.

use std::collections::HashMap;

use picovit::{Model, Probe, Site};
use rayon::prelude::*;

use crate::drift::Runner;
use crate::graph::{Graph, Shape};
use crate::quantize::SiteInfo;

/// A value of the engine over some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Name of the site, or of the graph's node where several sites make up one node (queries, keys
    /// and values).
    pub name: String,
    /// Extent for one image.
    pub shape: Shape,
    /// Real values, `[image][token][channel]`.
    pub values: Vec<f32>,
    /// Indices of those that the integer range has cut off or may have: they lie at an end of it
    /// that is not meant to be reached. In no order, and perhaps repeated.
    pub saturated: Vec<usize>,
}

/// Runs an artifact on raw pixels, on all cores, and collects the values of all sites.
///
/// The result does not depend on the number of cores. Values that the engine never computes,
/// because nothing depends on them, are 0.
///
/// # Panics
/// If an image has another size than the model, or the sites are those of another artifact.
#[must_use]
pub fn observe(
    graph: &Graph,
    model: &Model<'_>,
    sites: &[SiteInfo],
    images: &[&[u8]],
) -> Vec<Observed> {
    let mut observed: Vec<Observed> = vec![];
    let mut index = HashMap::new();
    for site in sites {
        let node = &graph.nodes[site.node];
        let whole = site.channels.len() == node.shape.channels;
        let name = if whole { &site.name } else { &node.name };
        let place = observed.iter().position(|value| value.name == *name).unwrap_or_else(|| {
            let values = vec![0.0; images.len() * node.shape.len()];
            let (name, shape) = (name.clone(), node.shape);
            observed.push(Observed { name, shape, values, saturated: vec![] });
            observed.len() - 1
        });
        index.insert((site.op, site.site), (place, site));
    }
    // Each image gets its part of every value.
    let mut parts: Vec<Vec<Part<'_>>> = images.iter().map(|_| vec![]).collect();
    for value in &mut observed {
        let width = value.shape.channels;
        let chunks = value.values.chunks_exact_mut(value.shape.len());
        for (parts, values) in parts.iter_mut().zip(chunks) {
            parts.push(Part { width, values, saturated: vec![] });
        }
    }
    let saturated: Vec<Vec<Vec<usize>>> = parts
        .into_par_iter()
        .zip(images)
        .map_init(
            || Runner::new(model),
            |runner, (parts, pixels)| {
                let mut collector = Collector { index: &index, parts };
                runner.logits(pixels, &mut collector);
                collector.parts.into_iter().map(|part| part.saturated).collect()
            },
        )
        .collect();
    for (image, saturated) in saturated.into_iter().enumerate() {
        for (value, saturated) in observed.iter_mut().zip(saturated) {
            let first = image * value.shape.len();
            value.saturated.extend(saturated.into_iter().map(|i| first + i));
        }
    }
    observed
}

/// One image's part of a value.
struct Part<'v> {
    /// Channels of the value.
    width: usize,
    values: &'v mut [f32],
    saturated: Vec<usize>,
}

/// Stores what the engine reports.
struct Collector<'a, 'v> {
    index: &'a HashMap<(usize, Site), (usize, &'a SiteInfo)>,
    parts: Vec<Part<'v>>,
}

impl Collector<'_, '_> {
    fn take(
        &mut self,
        key: (usize, Site),
        row: usize,
        column: usize,
        data: impl Iterator<Item = i32>,
    ) {
        let Some(&(place, site)) = self.index.get(&key) else { return };
        let part = &mut self.parts[place];
        let channels = site.channels.len();
        for (i, q) in (row * channels + column..).zip(data) {
            let (token, channel) = (i / channels, i % channels);
            let i = token * part.width + site.column + channel;
            part.values[i] = site.channels[channel].real(q) as f32;
            if site.is_saturated(q) {
                part.saturated.push(i);
            }
        }
    }
}

impl Probe for Collector<'_, '_> {
    fn i8(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i8]) {
        self.take((op, site), row, column, data.iter().map(|&q| q.into()));
    }

    fn i16(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i16]) {
        self.take((op, site), row, column, data.iter().map(|&q| q.into()));
    }

    fn f32(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[f32]) {
        let Some(&(place, site)) = self.index.get(&(op, site)) else { return };
        let part = &mut self.parts[place];
        let channels = site.channels.len();
        for (i, &value) in (row * channels + column..).zip(data) {
            part.values[i / channels * part.width + site.column + i % channels] = value;
        }
    }
}
