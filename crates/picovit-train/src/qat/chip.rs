//! The int8 artifact of a network.

use picovit::Model;
use picovit_compiler::calibrate::Method;
use picovit_compiler::graph::Graph;
use picovit_compiler::observe::{Observed, observe};
use picovit_compiler::quantize::SiteInfo;
use picovit_compiler::{AlignedBytes, Calibration, CompileError, compile, drift};
use serde::{Deserialize, Serialize};

/// How an int8 artifact does on the validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Int8Metrics {
    /// Share of correct answers.
    pub accuracy: f64,
    /// Share of images on which the float model of the same weights names the same class.
    pub agreement: f64,
    /// Signal to noise of the logits against that float model, in dB.
    pub logit_sqnr_db: f64,
}

/// An artifact and what it was made of.
pub(crate) struct Chip {
    graph: Graph,
    bytes: AlignedBytes,
    sites: Vec<SiteInfo>,
}

/// Ranges as the quantizer finds them by default, before it compares logits.
pub(crate) fn calibrate(graph: &Graph, images: &[&[u8]]) -> Calibration {
    Calibration::run(graph, images).refined(graph, images, Method::Auto, || {})
}

impl Chip {
    /// Quantizes a network.
    pub(crate) fn new(graph: Graph, calibration: &Calibration) -> Result<Self, CompileError> {
        let compiled = compile(&graph, calibration, None)?;
        let bytes = AlignedBytes::new(&compiled.packed.bytes);
        Ok(Self { graph, bytes, sites: compiled.sites })
    }

    fn model(&self) -> Model<'_> {
        Model::parse(&self.bytes).expect("the compiler writes what the engine reads")
    }

    /// The engine's values for raw pixels.
    pub(crate) fn observe(&self, images: &[&[u8]]) -> Vec<Observed> {
        observe(&self.graph, &self.model(), &self.sites, images)
    }

    /// Measures the artifact against its float model.
    pub(crate) fn evaluate(&self, images: &[(&[u8], usize)]) -> Int8Metrics {
        let found = drift::evaluate(&self.graph, &self.model(), images, || {});
        Int8Metrics {
            accuracy: found.top1_quantized / 100.0,
            agreement: found.agreement / 100.0,
            logit_sqnr_db: found.logit_sqnr_db,
        }
    }
}
