//! How the inputs of layers vary together, for the rounding of their weights.

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use ndarray::linalg::general_mat_mul;
use rayon::prelude::*;

use crate::executor::Executor;
use crate::graph::{Graph, NodeId};

/// Images that covariances are taken over, at most: every image has many tokens or pixels.
const IMAGES: usize = 128;
/// Images whose moments are merged at a time.
const BATCH: usize = 8;
/// Layers of more inputs are left out: their matrices would take too long.
const MAX_INPUTS: usize = 2048;

/// Moments of the inputs of one layer, about their mean: an input that hardly moves, far from zero, would
/// otherwise be lost in the rounding of its square.
#[derive(Clone)]
struct Moments {
    rows: f64,
    mean: Vec<f64>,
    /// Sums of the products of what inputs are apart from their means, `[inputs][inputs]`.
    products: Vec<f64>,
}

impl Moments {
    fn new(inputs: usize) -> Self {
        Self { rows: 0.0, mean: vec![0.0; inputs], products: vec![0.0; inputs * inputs] }
    }

    /// Of rows `[tokens][inputs]`.
    fn of(mut rows: Vec<f32>, inputs: usize) -> Self {
        let tokens = rows.len() / inputs;
        let mut mean = vec![0.0; inputs];
        for row in rows.chunks_exact(inputs) {
            mean.iter_mut().zip(row).for_each(|(mean, &v)| *mean += f64::from(v));
        }
        mean.iter_mut().for_each(|mean| *mean /= tokens.max(1) as f64);
        for row in rows.chunks_exact_mut(inputs) {
            row.iter_mut().zip(&mean).for_each(|(v, mean)| *v = (f64::from(*v) - mean) as f32);
        }
        let matrix = ArrayView2::from_shape((tokens, inputs), &rows).expect("whole rows");
        let mut products = ndarray::Array2::<f32>::zeros((inputs, inputs));
        general_mat_mul(1.0, &matrix.t(), &matrix, 0.0, &mut products);
        let products = products.iter().copied().map(f64::from).collect();
        Self { rows: tokens as f64, mean, products }
    }

    /// Takes in the moments of other rows (Chan, Golub and LeVeque, Updating Formulae and a Pairwise
    /// Algorithm for Computing Sample Variances, 1979).
    fn merge(&mut self, other: &Self) {
        let rows = self.rows + other.rows;
        if rows == 0.0 {
            return;
        }
        let apart: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        let part = other.rows / rows;
        let weight = self.rows * part;
        let inputs = self.mean.len();
        let both = self.products.chunks_exact_mut(inputs).zip(other.products.chunks_exact(inputs));
        for ((into, from), a) in both.zip(&apart) {
            let row = into.iter_mut().zip(from).zip(&apart);
            row.for_each(|((into, from), b)| *into += from + weight * a * b);
        }
        self.mean.iter_mut().zip(&apart).for_each(|(mean, apart)| *mean += part * apart);
        self.rows = rows;
    }

    fn covariance(mut self) -> Vec<f64> {
        self.products.iter_mut().for_each(|product| *product /= self.rows);
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
        let mut moments: Vec<Moments> =
            layers.iter().map(|&(_, inputs)| Moments::new(inputs)).collect();
        for pixels in images {
            let values = executor.run_pixels(pixels);
            for (&(id, inputs), moments) in layers.iter().zip(&mut moments) {
                moments.merge(&Moments::of(executor.layer_rows(id, &values).into_owned(), inputs));
            }
            done();
        }
        moments
    });
    let mut batches = batches.collect::<Vec<_>>().into_iter();
    let Some(mut total) = batches.next() else { return BTreeMap::new() };
    for batch in batches {
        total.iter_mut().zip(&batch).for_each(|(total, batch)| total.merge(batch));
    }
    let covariances = total.into_iter().map(Moments::covariance);
    layers.iter().map(|&(id, _)| id).zip(covariances).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_far_from_zero_that_hardly_move_have_their_variance() {
        let rows: Vec<f32> = (0..60)
            .flat_map(|i| [1000.0, 1000.0 + (i % 5) as f32 / 1024.0, (i % 3) as f32 - 1.0])
            .collect();
        let mut moments = Moments::new(3);
        // Uneven parts.
        for part in [&rows[..21], &rows[21..21], &rows[21..]] {
            moments.merge(&Moments::of(part.to_vec(), 3));
        }
        let found = moments.covariance();
        let expected = [0.0, 0.0, 0.0, 0.0, 2.0 / 1048576.0, 0.0, 0.0, 0.0, 2.0 / 3.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected + 1e-10, "{found} {expected}");
        }
        // Steps of an input that stands still may be very short.
        assert!(found[0] < 1e-16, "{}", found[0]);
    }
}
