//! Positional embeddings of another grid of tokens.

use super::resample::resample;
use crate::config::ImageSize;
use crate::weights::{ParameterKind, ParameterSpec, sines};

/// The values of a positional embedding for the grid that `spec` is for: learned ones are
/// resampled, behind the class token's, and sines computed anew. Notes what is done.
pub(crate) fn moved(
    name: &str,
    values: &[f32],
    spec: &ParameterSpec,
    [from, to]: [ImageSize; 2],
    notes: &mut Vec<String>,
) -> Vec<f32> {
    let [_, tokens, width] = spec.shape[..] else { unreachable!("{name} has three axes") };
    if spec.kind == (ParameterKind::Position { sine: true }) {
        if values.len() != spec.len() {
            notes.push(format!("{name}: sines computed for {tokens} tokens"));
        }
        return sines(&spec.shape);
    }
    if from == to {
        return values.to_vec();
    }
    notes.push(format!("{name}: resampled from {from} to {to} tokens"));
    let (class, rest) = values.split_at((tokens - to.area()) * width);
    [class, &resample(rest, width, from, to)].concat()
}
