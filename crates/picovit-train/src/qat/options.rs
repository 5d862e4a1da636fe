//! What quantization-aware training is told.

use serde::{Deserialize, Serialize};

/// Quantization-aware training of a checkpoint that is already good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qat {
    /// Steps from one quantization of the weights to the next. At 1, the forward pass is that of the
    /// chip with the current weights.
    pub every: usize,
    /// Images that calibrate the ranges, anew before every epoch.
    pub images: usize,
    /// Share of the loss that compares with the answers of the checkpoint the run starts from; the
    /// rest compares with the labels.
    pub distill: f32,
    /// Share of the loss that is the float model's own, which keeps it close to its int8 self.
    pub float_share: f32,
}

impl Default for Qat {
    fn default() -> Self {
        Self { every: 1, images: 512, distill: 1.0, float_share: 0.5 }
    }
}
