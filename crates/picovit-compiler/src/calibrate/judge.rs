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
    /// logits of an artifact in this format closer to the float model's over these images. Fewer than 32
    /// images are too few to tell, only ranges by [`Method::Auto`](super::Method) know others, and
    /// [`Format::F16`] has none. To be called last, behind [`Self::with_covariances`]. Calls `done` after
    /// every value that is judged.
    #[must_use]
    pub fn judged(
        mut self,
        graph: &Graph,
        images: &[&[u8]],
        format: &Format,
        done: impl Fn(),
    ) -> Self {
        let has_others = self.others.iter().any(|others| !others.is_empty());
        if images.len() < LEAST_IMAGES || !has_others || *format == Format::F16 {
            return self;
        }
        let judge = Judge::new(graph, images, format);
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
    format: &'a Format,
    logits: Vec<Vec<f32>>,
}

impl<'a> Judge<'a> {
    fn new(graph: &'a Graph, images: &'a [&'a [u8]], format: &'a Format) -> Self {
        let executor = Executor::new(graph);
        let logits = images.par_iter().map(|pixels| executor.run_pixels(pixels).logits().to_vec());
        Self { graph, images, format, logits: logits.collect() }
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
        let compiled = compile_for(self.graph, calibration, None, self.format, Packing::Wide)?;
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
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::calibrate::Method;
    use crate::networks::{FAMILIES, PIXELS, network};

    /// Smooth pictures with a few bright spots: what the methods say differs.
    fn images() -> Vec<Vec<u8>> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let image = |_| {
            let wave: f32 = random.random_range(-0.5..0.5);
            let mut pixels: Vec<u8> =
                (0..PIXELS).map(|i| ((i as f32 * wave).sin() * 30.0 + 100.0) as u8).collect();
            pixels[random.random_range(0..PIXELS)] = 255;
            pixels
        };
        (0..40).map(image).collect()
    }

    /// Ranges over the images, every other way to find them tried.
    fn calibrated(graph: &Graph, images: &[&[u8]]) -> Calibration {
        Calibration::run(graph, images)
            .refined(graph, images, Method::Auto, || {})
            .with_covariances(graph, images, || {})
    }

    #[test]
    fn a_range_is_changed_where_logits_get_closer() {
        let images = images();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        for family in FAMILIES {
            let graph = network(family, 5);
            let mut plain = calibrated(&graph, &images);
            // Some that are worth a change.
            for (range, others) in plain.ranges.iter_mut().zip(&mut plain.others).step_by(3) {
                others.push(*range);
                range.0 = (range.0.0 / 2.0, range.0.1 / 2.0);
            }
            let names = crate::sensitivity::layers(&graph).unwrap();
            let last = names.into_iter().rev().take(2).flatten().collect();
            for format in [Format::Int8, Format::Mixed(last)] {
                let judged = plain.clone().judged(&graph, &images, &format, || {});
                assert_ne!(judged, plain, "{family:?}, {format:?}");
                let judge = Judge::new(&graph, &images, &format);
                let [before, after] = [&plain, &judged]
                    .map(|calibration| judge.look(calibration).unwrap().errors.iter().sum::<f64>());
                assert!(after < before, "{family:?}, {format:?}: {before}, {after}");
            }
            let floats = plain.clone().judged(&graph, &images, &Format::F16, || {});
            assert_eq!(floats, plain);
            let few = plain.clone().judged(&graph, &images[..31], &Format::Int8, || {});
            assert_eq!(few, plain);
        }
    }

    #[test]
    fn roundings_that_are_kept_are_those_that_would_be_made() {
        let images = images();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        for family in FAMILIES {
            let graph = network(family, 5);
            let judge = Judge::new(&graph, &images, &Format::Int8);
            let mut fresh = calibrated(&graph, &images);
            let mut keeping = Calibration { kept: Some(Arc::default()), ..fresh.clone() };
            for id in 0..graph.nodes.len() {
                for calibration in [&mut fresh, &mut keeping] {
                    let (lo, hi) = &mut calibration.ranges[id].0;
                    (*lo, *hi) = (*lo * 50.0, *hi * 50.0);
                }
                let [fresh, kept] = [&fresh, &keeping].map(|of| judge.compile(of).unwrap());
                assert!(fresh[..] == kept[..], "{family:?}: {}", graph.nodes[id].name);
            }
        }
    }

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
