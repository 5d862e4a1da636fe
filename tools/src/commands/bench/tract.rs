//! tract, on the ONNX model.

use std::sync::Arc;
use std::time::Duration;

use miette::{Result, miette};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::peer::{Peer, timed};

pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    images: Vec<TValue>,
}

impl Tract {
    /// Optimizes a model; `images` are normalised, `[channels][height][width]`.
    pub fn new(proto: &ModelProto, images: &[Vec<f32>], shape: [usize; 4]) -> Result<Self> {
        let load = || {
            let plan = onnx().model_for_proto_model(proto)?.into_optimized()?;
            let plan = plan.into_runnable()?;
            let images = images.iter().map(|image| Tensor::from_shape(&shape, image));
            let images = images.map(|image| image.map(Into::into)).collect::<TractResult<_>>()?;
            TractResult::Ok(Self { plan, images })
        };
        load().map_err(|error| miette!("tract cannot load the network: {error:#}"))
    }

    /// Logits of an image.
    fn run(&self, image: usize) -> Result<Vec<f32>> {
        let run = || {
            let logits = self.plan.run(tvec![self.images[image].clone()])?;
            Ok(logits[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        run().map_err(|error: TractError| miette!("tract cannot run the network: {error:#}"))
    }
}

impl Peer for Tract {
    fn name(&self) -> String {
        "tract float".into()
    }

    fn logits(&mut self) -> Result<Vec<Vec<f32>>> {
        (0..self.images.len()).map(|image| self.run(image)).collect()
    }

    fn time(&mut self, runs: usize) -> Result<Vec<Duration>> {
        timed(runs, || self.run(0).map(drop))
    }
}
