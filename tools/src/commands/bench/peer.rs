//! What takes part in a comparison.

use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result};
use picovit::{Engine, Model, NoProbe};
use picovit_compiler::AlignedBytes;
use picovit_compiler::drift::Runner;
use picovit_models::FlexNetwork;

/// An engine with a network and its images, on one thread.
pub trait Peer {
    /// Engine, version and number format.
    fn name(&self) -> String;

    /// Logits of every image.
    fn logits(&mut self) -> Result<Vec<Vec<f32>>>;

    /// Times of so many inferences of the first image.
    fn time(&mut self, runs: usize) -> Result<Vec<Duration>>;
}

/// Times of so many calls.
pub fn timed(runs: usize, mut call: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    let one = |_| {
        let start = Instant::now();
        call()?;
        Ok(start.elapsed())
    };
    (0..runs).map(one).collect()
}

/// This project's engine.
pub struct Host<'m> {
    pub name: String,
    pub model: Model<'m>,
    pub images: Vec<Vec<u8>>,
    pub arena: AlignedBytes,
}

impl Peer for Host<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn logits(&mut self) -> Result<Vec<Vec<f32>>> {
        let mut runner = Runner::new(&self.model);
        let scale = self.model.header().logit_scale;
        let images = self.images.iter().map(|image| runner.logits(image, &mut NoProbe));
        Ok(images.map(|logits| logits.iter().map(|&v| f32::from(v) * scale).collect()).collect())
    }

    fn time(&mut self, runs: usize) -> Result<Vec<Duration>> {
        let mut engine = Engine::new(&self.model, &mut self.arena).into_diagnostic()?;
        let image = &self.images[0];
        timed(runs, || {
            let input = engine.input().iter_mut().zip(image);
            input.for_each(|(q, &pixel)| *q = (pixel ^ 0x80) as i8);
            std::hint::black_box(engine.run());
            Ok(())
        })
    }
}

/// Burn's backend `flex`.
pub struct Burn {
    pub network: FlexNetwork,
    pub images: Vec<Vec<u8>>,
}

impl Peer for Burn {
    fn name(&self) -> String {
        "Burn flex float".into()
    }

    fn logits(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(self.images.iter().map(|image| self.network.logits(image)).collect())
    }

    fn time(&mut self, runs: usize) -> Result<Vec<Duration>> {
        timed(runs, || {
            std::hint::black_box(self.network.logits(&self.images[0]));
            Ok(())
        })
    }
}
