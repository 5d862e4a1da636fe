//! Ranges by what reaches the logits.
//!
//! The squared error of a tensor is no perfect judge: the errors of values that are cut off point one
//! way and add up over the tokens, where those of rounding cancel.

use picovit::{Model, NoProbe};
use rayon::prelude::*;

use super::Calibration;
use crate::artifact::AlignedBytes;
use crate::drift::Runner;
use crate::error::CompileError;
use crate::executor::Executor;
use crate::graph::Graph;
use crate::quantize::Format;
use crate::{Packing, compile_for};

/// Standard errors that a range has to bring the logits closer by: a few images that happen to gain are
/// no reason.
const CERTAIN: f64 = 2.0;

impl Calibration {
    /// Gives values the range that another method found, one value after the other, where that brings the
    /// logits closer to the float model's over these images. Only ranges by [`Method::Auto`](super::Method)
    /// know others. To be called last, behind [`Self::with_covariances`]. Calls `done` after every value.
    #[must_use]
    pub fn judged(mut self, graph: &Graph, images: &[&[u8]], done: impl Fn()) -> Self {
        if self.others.iter().all(Vec::is_empty) {
            return self;
        }
        let judge = Judge::new(graph, images);
        let rounded = judge.errors(&self.without_covariances());
        // What cannot be quantized is explained where it is to be written.
        let (Ok(mut rounded), Ok(mut errors)) = (rounded, judge.errors(&self)) else { return self };
        for id in 0..graph.nodes.len() {
            for other in self.others[id].clone() {
                let before = std::mem::replace(&mut self.ranges[id], other);
                match judge.compare(&self, &rounded, &errors) {
                    Some(closer) => (rounded, errors) = closer,
                    None => self.ranges[id] = before,
                }
            }
            done();
        }
        self
    }
}

/// Squared errors of the logits, image by image.
type Errors = Vec<f64>;

/// The float model's answers.
struct Judge<'a> {
    graph: &'a Graph,
    images: &'a [&'a [u8]],
    logits: Vec<Vec<f32>>,
}

impl<'a> Judge<'a> {
    fn new(graph: &'a Graph, images: &'a [&'a [u8]]) -> Self {
        let executor = Executor::new(graph);
        let logits = images.par_iter().map(|pixels| executor.run_pixels(pixels).logits().to_vec());
        Self { graph, images, logits: logits.collect() }
    }

    /// Errors with weights rounded one by one and as they will be, if both are smaller. The first take a
    /// tenth of the time, and most ranges fail there.
    fn compare(
        &self,
        calibration: &Calibration,
        rounded: &Errors,
        errors: &Errors,
    ) -> Option<(Errors, Errors)> {
        let found = self.errors(&calibration.without_covariances()).ok()?;
        if gain(rounded, &found) == 0.0 {
            return None;
        }
        let closer = self.errors(calibration).ok()?;
        (gain(errors, &closer) > CERTAIN).then_some((found, closer))
    }

    fn errors(&self, calibration: &Calibration) -> Result<Errors, CompileError> {
        let compiled = compile_for(self.graph, calibration, None, &Format::Int8, Packing::Wide)?;
        let bytes = AlignedBytes::new(&compiled.packed.bytes);
        let model = Model::parse(&bytes).expect("the compiler parsed it");
        let scale = f64::from(model.header().logit_scale);
        let errors = self.images.par_iter().zip(&self.logits).map_init(
            || Runner::new(&model),
            |runner, (pixels, real)| {
                let found = runner.logits(pixels, &mut NoProbe);
                let errors =
                    real.iter().zip(found).map(|(&r, q)| f64::from(r) - scale * f64::from(q));
                errors.map(|error| error * error).sum()
            },
        );
        // In the order of the images, so that rounding does not depend on scheduling.
        Ok(errors.collect())
    }
}

/// By how many standard errors the second errors are smaller; zero where they are not.
fn gain(before: &[f64], after: &[f64]) -> f64 {
    if before.len() < 2 {
        return 0.0;
    }
    let count = before.len() as f64;
    let gains = || before.iter().zip(after).map(|(before, after)| before - after);
    let mean = gains().sum::<f64>() / count;
    let variance = gains().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (count - 1.0);
    if mean > 0.0 { mean / (variance / count).sqrt().max(f64::MIN_POSITIVE) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::gain;

    #[test]
    fn a_gain_is_measured_by_how_sure_it_is() {
        let before = [4.0, 5.0, 6.0, 5.0];
        assert_eq!(gain(&before, &before), 0.0);
        assert_eq!(gain(&before, &[5.0, 6.0, 7.0, 6.0]), 0.0);
        // Means of 1, standard errors of 0.408 and 1.225.
        let sure = gain(&before, &[3.0, 5.0, 4.0, 4.0]);
        let unsure = gain(&before, &[3.0, 7.0, 2.0, 4.0]);
        assert!((sure - 2.449).abs() < 1e-3, "{sure}");
        assert!((unsure - 0.816).abs() < 1e-3, "{unsure}");
        assert!(gain(&before, &[3.0, 4.0, 5.0, 4.0]) > 1e6);
        assert_eq!(gain(&[2.0], &[1.0]), 0.0);
    }
}
