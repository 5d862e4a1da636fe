//! How the inputs of layers vary together, for the rounding of their weights.

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use ndarray::linalg::general_mat_mul;
use rayon::prelude::*;

use crate::executor::Executor;
use crate::graph::{Graph, NodeId};

/// Images that covariances are taken over, at most: every image has many tokens or pixels.
const IMAGES: usize = 128;
/// Images whose products are summed up at a time.
const BATCH: usize = 8;
/// Layers of more inputs are left out: their matrices would take too long.
const MAX_INPUTS: usize = 2048;

/// Sums over the inputs of one layer.
#[derive(Clone)]
struct Sums {
    inputs: usize,
    rows: f64,
    sums: Vec<f64>,
    products: Vec<f64>,
}

impl Sums {
    fn new(inputs: usize) -> Self {
        Self { inputs, rows: 0.0, sums: vec![0.0; inputs], products: vec![0.0; inputs * inputs] }
    }

    /// Adds rows `[tokens][inputs]`.
    fn add(&mut self, rows: &[f32]) {
        let inputs = self.inputs;
        let shape = (rows.len() / inputs, inputs);
        let matrix = ArrayView2::from_shape(shape, rows).expect("whole rows");
        let mut products = ndarray::Array2::<f32>::zeros((inputs, inputs));
        general_mat_mul(1.0, &matrix.t(), &matrix, 0.0, &mut products);
        for (sum, &product) in self.products.iter_mut().zip(&products) {
            *sum += f64::from(product);
        }
        for row in rows.chunks_exact(inputs) {
            self.sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
        }
        self.rows += shape.0 as f64;
    }

    fn merge(&mut self, other: &Self) {
        let all = |into: &mut [f64], from: &[f64]| {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        };
        all(&mut self.sums, &other.sums);
        all(&mut self.products, &other.products);
        self.rows += other.rows;
    }

    fn covariance(mut self) -> Vec<f64> {
        let mean: Vec<f64> = self.sums.iter().map(|sum| sum / self.rows).collect();
        for (row, a) in self.products.chunks_exact_mut(self.inputs).zip(&mean) {
            for (product, b) in row.iter_mut().zip(&mean) {
                *product = *product / self.rows - a * b;
            }
        }
        self.products
    }
}

/// Covariances `[inputs][inputs]` of every layer that has a matrix. They do not depend on the number of
/// cores.
pub(super) fn of_layers(
    graph: &Graph,
    images: &[&[u8]],
    done: impl Fn() + Sync,
) -> BTreeMap<NodeId, Vec<f64>> {
    let executor = Executor::new(graph);
    let images = &images[..images.len().min(IMAGES)];
    let layers: Vec<(NodeId, usize)> = (0..graph.nodes.len())
        .filter_map(|id| Some((id, executor.layer_inputs(id)?)))
        .filter(|&(_, inputs)| inputs <= MAX_INPUTS)
        .collect();
    let batches = images.par_chunks(BATCH).map(|images| {
        let mut sums: Vec<Sums> = layers.iter().map(|&(_, inputs)| Sums::new(inputs)).collect();
        for pixels in images {
            let values = executor.run_pixels(pixels);
            for (&(id, _), sums) in layers.iter().zip(&mut sums) {
                sums.add(&executor.layer_rows(id, &values));
            }
            done();
        }
        sums
    });
    let mut batches = batches.collect::<Vec<_>>().into_iter();
    let Some(mut total) = batches.next() else { return BTreeMap::new() };
    for batch in batches {
        total.iter_mut().zip(&batch).for_each(|(total, batch)| total.merge(batch));
    }
    let covariances = total.into_iter().map(Sums::covariance);
    layers.iter().map(|&(id, _)| id).zip(covariances).collect()
}
