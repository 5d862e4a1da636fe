//! Rounding of weights.
//!
//! Rounded one by one, weights err independently, and the errors of a layer's outputs add up. Rounded
//! one after the other, each can make up for what the ones before it did, as far as their inputs vary
//! together: the nearest plane algorithm (Babai, On Lovasz' lattice reduction and the nearest lattice
//! point problem, 1986), which is what GPTQ computes (Frantar et al., 2022; the equivalence: Chen et
//! al., The Geometry of LLM Quantization, 2025).

use super::scale::Affine;

/// Variance of what rounding an input to int8 adds, in steps.
const INPUT_NOISE: f64 = 1.0 / 12.0;
/// Share of the inputs' mean variance that is added to each: covariances of few images are uncertain.
const DAMPING: f64 = 0.01;

/// How to round the rows of a matrix.
pub(super) struct Rounding {
    inputs: usize,
    /// The inputs in the order in which they are rounded, backwards.
    order: Vec<usize>,
    /// Upper triangular, rows divided by their diagonal; empty where each weight is rounded by itself.
    factor: Vec<f64>,
}

impl Rounding {
    /// Each weight to the nearest.
    pub(super) fn nearest(inputs: usize) -> Self {
        Self { inputs, order: (0..inputs).collect(), factor: vec![] }
    }

    /// For inputs of these scales whose real values have this covariance, `[inputs][inputs]`.
    pub(super) fn compensating(covariance: &[f64], input: &[Affine]) -> Self {
        let inputs = input.len();
        let step = |i: usize| input[i].scale;
        let variance = |i: usize| covariance[i * inputs + i] / (step(i) * step(i));
        let mean = (0..inputs).map(variance).sum::<f64>() / inputs as f64;
        // The most varying last: it is rounded first.
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by(|&a, &b| variance(a).total_cmp(&variance(b)));
        let mut matrix = Vec::with_capacity(inputs * inputs);
        for (place, &i) in order.iter().enumerate() {
            matrix.extend(order.iter().map(|&j| covariance[i * inputs + j] / (step(i) * step(j))));
            matrix[place * inputs + place] += INPUT_NOISE + DAMPING * mean;
        }
        match triangular(&mut matrix, inputs) {
            true => Self { inputs, order, factor: matrix },
            false => Self::nearest(inputs),
        }
    }

    /// A row in steps, rounded.
    pub(super) fn round(&self, row: &[f64]) -> Vec<i8> {
        let mut rounded = vec![0i8; self.inputs];
        let mut errors = vec![0.0; self.inputs];
        for place in (0..self.inputs).rev() {
            let input = self.order[place];
            let mut target = row[input];
            if !self.factor.is_empty() {
                let later = place * self.inputs + place + 1..(place + 1) * self.inputs;
                let later = self.factor[later].iter().zip(&errors[place + 1..]);
                target += later.map(|(f, e)| f * e).sum::<f64>();
            }
            let value = target.round().clamp(-127.0, 127.0);
            errors[place] = row[input] - value;
            rounded[input] = value as i8;
        }
        rounded
    }
}

/// The upper triangular `R` with `R^T R` a symmetric matrix, in its place, each row divided by its
/// diagonal; whether the matrix is positive definite.
fn triangular(matrix: &mut [f64], size: usize) -> bool {
    for i in 0..size {
        let (before, rest) = matrix.split_at_mut(i * size);
        let row = &mut rest[..size];
        for k in before.chunks_exact(size) {
            // The rows above are divided by their diagonals, which take the place of what is below.
            let (factor, square) = (k[i], k[0]);
            let factor = factor * square;
            row[i..].iter_mut().zip(&k[i..]).for_each(|(v, &k)| *v -= factor * k);
        }
        let square = row[i];
        if !(square > 0.0 && square.is_finite()) {
            return false;
        }
        row[i..].iter_mut().for_each(|v| *v /= square);
        // Below the diagonal nothing is needed: the square of the diagonal is kept in the first column.
        row[0] = square;
    }
    true
}
