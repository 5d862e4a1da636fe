//! Rounding of weights.
//!
//! Rounded one by one, weights err independently, and the errors of a layer's outputs add up. Rounded
//! one after the other, each can make up for what the ones before it did, as far as their inputs vary
//! together: the nearest plane algorithm (Babai, On Lovasz' lattice reduction and the nearest lattice
//! point problem, 1986), which is what GPTQ computes (Frantar et al., 2022; the equivalence: Chen et
//! al., The Geometry of LLM Quantization, 2025).

use super::scale::Affine;

/// Variance added to that of each input, in steps: covariances of few images are uncertain. A part of
/// what rounding an input to int8 adds, which is 1/12; the shipped models are indifferent to it from here
/// to there.
const INPUT_NOISE: f64 = 0.02;

/// How to round the rows of a matrix.
#[derive(Debug)]
pub(crate) struct Rounding {
    inputs: usize,
    /// The inputs in the order in which they are rounded, backwards.
    order: Vec<usize>,
    /// Upper triangular, rows divided by their diagonal; empty where each weight is rounded by itself.
    factor: Vec<f64>,
}

impl Rounding {
    /// Each weight to the nearest.
    pub(crate) fn nearest(inputs: usize) -> Self {
        Self { inputs, order: (0..inputs).collect(), factor: vec![] }
    }

    /// For inputs of these scales whose real values have this covariance, `[inputs][inputs]`.
    pub(super) fn compensating(covariance: &[f64], input: &[Affine]) -> Self {
        let inputs = input.len();
        let step = |i: usize| input[i].scale;
        let variance = |i: usize| covariance[i * inputs + i] / (step(i) * step(i));
        // The most varying last: it is rounded first.
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by(|&a, &b| variance(a).total_cmp(&variance(b)));
        let mut matrix = Vec::with_capacity(inputs * inputs);
        for (place, &i) in order.iter().enumerate() {
            matrix.extend(order.iter().map(|&j| covariance[i * inputs + j] / (step(i) * step(j))));
            matrix[place * inputs + place] += INPUT_NOISE;
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

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Inputs that vary together, `[samples][inputs]`, and their covariance.
    fn samples(inputs: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut value = || random.random_range(-1.0f64..1.0);
        let mixing: Vec<f64> = (0..inputs * 3).map(|_| value()).collect();
        let samples: Vec<Vec<f64>> = (0..400)
            .map(|_| {
                let hidden: [f64; 3] = std::array::from_fn(|_| 40.0 * value());
                let mixed = mixing
                    .chunks_exact(3)
                    .map(|row| row.iter().zip(hidden).map(|(m, h)| m * h).sum::<f64>() + value());
                mixed.collect()
            })
            .collect();
        let mean = |f: &dyn Fn(&[f64]) -> f64| samples.iter().map(|x| f(x)).sum::<f64>() / 400.0;
        let means: Vec<f64> = (0..inputs).map(|i| mean(&|x| x[i])).collect();
        let pairs = (0..inputs).flat_map(|i| (0..inputs).map(move |j| (i, j)));
        let covariance =
            pairs.map(|(i, j)| mean(&|x| (x[i] - means[i]) * (x[j] - means[j]))).collect();
        (samples, covariance)
    }

    /// Variance of the error of a layer's output.
    fn error(samples: &[Vec<f64>], exact: &[f64], rounded: &[i8]) -> f64 {
        let errors = samples.iter().map(|x| {
            let weights = exact.iter().zip(rounded).map(|(&e, &r)| e - f64::from(r));
            weights.zip(x).map(|(weight, x)| weight * x).sum::<f64>()
        });
        let errors: Vec<f64> = errors.collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / errors.len() as f64
    }

    #[test]
    fn errors_of_inputs_that_vary_together_compensate_each_other() {
        let inputs = 24;
        let (samples, covariance) = samples(inputs);
        // Scales of their own, as behind a layer norm.
        let affine: Vec<Affine> =
            (0..inputs).map(|i| Affine::symmetric(0.5 + 0.1 * i as f64)).collect();
        let steps: Vec<Vec<f64>> = samples
            .iter()
            .map(|x| x.iter().zip(&affine).map(|(x, a)| x / a.scale).collect())
            .collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
        let [mut one_by_one, mut together] = [0.0; 2];
        for _ in 0..20 {
            let exact: Vec<f64> = (0..inputs).map(|_| random.random_range(-127.0..127.0)).collect();
            let nearest = Rounding::nearest(inputs).round(&exact);
            let compensating = Rounding::compensating(&covariance, &affine).round(&exact);
            assert!(exact.iter().zip(&nearest).all(|(e, &r)| (e - f64::from(r)).abs() <= 0.5));
            one_by_one += error(&steps, &exact, &nearest);
            together += error(&steps, &exact, &compensating);
        }
        assert!(together < 0.2 * one_by_one, "{together} {one_by_one}");
    }

    #[test]
    fn independent_inputs_are_rounded_to_the_nearest() {
        let covariance = [4.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        let rounding = Rounding::compensating(&covariance, &[Affine::symmetric(1.0); 3]);
        assert_eq!(rounding.round(&[0.6, -3.4, 140.0]), [1, -3, 127]);
    }

    #[test]
    fn what_is_no_covariance_does_no_harm() {
        let covariance = [f64::NAN, 0.0, 0.0, 1.0];
        let rounding = Rounding::compensating(&covariance, &[Affine::symmetric(1.0); 2]);
        assert_eq!(rounding.round(&[0.6, -3.4]), [1, -3]);
    }
}
