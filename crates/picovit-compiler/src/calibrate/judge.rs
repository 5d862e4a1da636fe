//! Ranges by what reaches the logits.
//!
//! The squared error of a tensor is no perfect judge: the errors of values that are cut off point one
//! way and add up over the tokens, where those of rounding cancel.

use std::sync::Arc;

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
/// Images that it takes to tell: with few of them, two standard errors are soon exceeded by chance.
const LEAST_IMAGES: usize = 32;
/// Images of a first glance, which tells what is not worth a closer look.
const GLANCE: usize = 128;

impl Calibration {
    /// Gives values the range that another method found, one value after the other, where that brings the
    /// logits of an artifact that is int8 throughout closer to the float model's over these images. Fewer
    /// than 32 images are too few to tell, and only ranges by [`Method::Auto`](super::Method) know others.
    /// To be called last, behind [`Self::with_covariances`]. Calls `done` after every value that is judged.
    #[must_use]
    pub fn judged(mut self, graph: &Graph, images: &[&[u8]], done: impl Fn()) -> Self {
        if images.len() < LEAST_IMAGES || self.others.iter().all(Vec::is_empty) {
            return self;
        }
        let judge = Judge::new(graph, images);
        self.kept = Some(Arc::default());
        // What cannot be quantized is explained where it is to be written.
        if let (Ok(mut glance), Ok(mut look)) = (judge.glance(&self), judge.look(&self)) {
            for id in 0..graph.nodes.len() {
                for other in self.others[id].clone() {
                    let before = std::mem::replace(&mut self.ranges[id], other);
                    match judge.compare(&self, &glance, &look) {
                        Some(closer) => (glance, look) = closer,
                        None => self.ranges[id] = before,
                    }
                }
                done();
            }
        }
        self.kept = None;
        self
    }
}

/// An artifact, and the squared errors of its logits, image by image.
struct Judged {
    bytes: AlignedBytes,
    errors: Vec<f64>,
}

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

    /// The artifacts of a glance and of a look, if logits are closer in both.
    fn compare(
        &self,
        calibration: &Calibration,
        glance: &Judged,
        look: &Judged,
    ) -> Option<(Judged, Judged)> {
        let bytes = self.compile(&calibration.without_covariances()).ok()?;
        // Not every value has a range in the artifact.
        if bytes[..] == glance.bytes[..] {
            return None;
        }
        let glanced = self.judge(bytes, GLANCE);
        if gain(&glance.errors, &glanced.errors) == 0.0 {
            return None;
        }
        let looked = self.look(calibration).ok()?;
        (gain(&look.errors, &looked.errors) > CERTAIN).then_some((glanced, looked))
    }

    /// Weights rounded one by one, which is quick, and fewer images.
    fn glance(&self, calibration: &Calibration) -> Result<Judged, CompileError> {
        Ok(self.judge(self.compile(&calibration.without_covariances())?, GLANCE))
    }

    /// The artifact as it will be, and all images.
    fn look(&self, calibration: &Calibration) -> Result<Judged, CompileError> {
        Ok(self.judge(self.compile(calibration)?, usize::MAX))
    }

    fn compile(&self, calibration: &Calibration) -> Result<AlignedBytes, CompileError> {
        let compiled = compile_for(self.graph, calibration, None, &Format::Int8, Packing::Wide)?;
        Ok(AlignedBytes::new(&compiled.packed.bytes))
    }

    fn judge(&self, bytes: AlignedBytes, images: usize) -> Judged {
        let model = Model::parse(&bytes).expect("the compiler parsed it");
        let scale = f64::from(model.header().logit_scale);
        let images = &self.images[..self.images.len().min(images)];
        let errors = images.par_iter().zip(&self.logits).map_init(
            || Runner::new(&model),
            |runner, (pixels, real)| {
                let found = runner.logits(pixels, &mut NoProbe);
                let pairs = real.iter().zip(found);
                let errors = pairs.map(|(&r, q)| f64::from(r) - scale * f64::from(q));
                errors.map(|error| error * error).sum()
            },
        );
        // In the order of the images, so that rounding does not depend on scheduling.
        let errors = errors.collect();
        Judged { bytes, errors }
    }
}

/// By how many standard errors the second errors are smaller; zero where they are not.
fn gain(before: &[f64], after: &[f64]) -> f64 {
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
    }
}
