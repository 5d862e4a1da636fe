//! Whether the engines compared run the same network.

use miette::{Result, miette};
use picovit_compiler::Executor;
use picovit_compiler::graph::Graph;
use serde::Serialize;

use super::peer::Peer;

/// Largest difference of a float engine's logits from the float model's, for logits of about 1.
const TOLERANCE: f32 = 1e-4;

/// Logits against the float model's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Agreement {
    pub max_logit_error: f32,
    pub logit_sqnr_db: f64,
    pub same_class_percent: f64,
}

/// Every engine's logits against the float model's.
pub fn compare(
    graph: &Graph,
    images: &[Vec<u8>],
    engines: &mut [Box<dyn Peer + '_>],
) -> Result<Vec<Agreement>> {
    let executor = Executor::new(graph);
    let expected: Vec<Vec<f32>> =
        images.iter().map(|image| executor.run_pixels(image).logits().to_vec()).collect();
    let largest = expected.iter().flatten().fold(1.0f32, |largest, v| largest.max(v.abs()));
    let of = |engine: &mut Box<dyn Peer + '_>| {
        let agreement = Agreement::of(&expected, &engine.logits()?);
        let name = engine.name();
        // NaN is no agreement either.
        let same = agreement.max_logit_error <= TOLERANCE * largest;
        if name.contains("float") && !same {
            return Err(miette!(
                "the logits of {name} differ from the float model's by up to {}: it does not run the \
                 same network, please report this",
                agreement.max_logit_error
            ));
        }
        Ok(agreement)
    };
    engines.iter_mut().map(of).collect()
}

impl Agreement {
    pub fn of(expected: &[Vec<f32>], logits: &[Vec<f32>]) -> Self {
        assert_eq!(expected.len(), logits.len(), "logits of every image");
        let (mut error, mut signal, mut noise, mut same) = (0.0f32, 0.0f64, 0.0f64, 0);
        for (expected, logits) in expected.iter().zip(logits) {
            assert_eq!(expected.len(), logits.len(), "a logit for every class");
            for (&a, &b) in expected.iter().zip(logits) {
                let difference = (a - b).abs();
                error = if difference > error || difference.is_nan() { difference } else { error };
                signal += f64::from(a).powi(2);
                noise += f64::from(difference).powi(2);
            }
            same += usize::from(class(expected) == class(logits));
        }
        Self {
            max_logit_error: error,
            logit_sqnr_db: 10.0 * (signal.max(1e-30) / noise.max(1e-30)).log10(),
            same_class_percent: 100.0 * same as f64 / expected.len() as f64,
        }
    }
}

/// The first of the largest.
fn class(logits: &[f32]) -> usize {
    let larger = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_seen() {
        let expected = [vec![1.0, 2.0], vec![3.0, -4.0]];
        let same = Agreement::of(&expected, &expected);
        assert_eq!((same.max_logit_error, same.same_class_percent), (0.0, 100.0));

        let other = Agreement::of(&expected, &[vec![2.5, 2.0], vec![3.0, -4.0]]);
        assert_eq!((other.max_logit_error, other.same_class_percent), (1.5, 50.0));
        let decibels = 10.0 * (30.0f64 / 2.25).log10();
        assert!((other.logit_sqnr_db - decibels).abs() < 1e-9, "{}", other.logit_sqnr_db);

        let broken = Agreement::of(&expected, &[vec![1.0, f32::NAN], vec![3.0, -4.0]]);
        assert!(broken.max_logit_error.is_nan());
    }
}
