//! Quantization-aware training: the forward pass has the values of the int8 engine itself, bit by
//! bit those of the chip, and gradients pass straight through.
//!
//! Before every epoch the ranges are calibrated, at every step (or every few) the weights are
//! quantized by the compiler, and the engine runs the batch on the host. Its values take the place
//! of the float model's, so that nothing of the arithmetic is written down a second time.

mod chip;
mod options;
mod straight_through;
#[cfg(test)]
mod tests;
mod tuner;

pub use chip::Int8Metrics;
pub use options::Qat;
pub(crate) use tuner::Tuner;
