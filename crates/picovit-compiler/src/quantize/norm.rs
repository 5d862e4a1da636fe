//! Layer norm constants.

use super::Context;
use super::scale::{Affine, to_i32};
use crate::error::CompileError;
use crate::graph::{LayerNorm, NodeId, Op};

/// Constants of a layer norm's int8 output.
#[derive(Clone, Debug, PartialEq)]
pub struct QNorm {
    /// Epsilon in units of the squared, summed residual stream.
    pub epsilon: u64,
    /// Per-channel factor.
    pub gain: Vec<i32>,
    /// Per-channel offset, rounding constant included.
    pub offset: Vec<i32>,
}

impl Context<'_> {
    pub(super) fn layer_norm(&self, id: NodeId) -> &LayerNorm {
        match &self.graph.nodes[id].op {
            Op::LayerNorm(norm) => norm,
            op => unreachable!("fusion gave {op:?} as a layer norm"),
        }
    }

    /// The int8 scales of a norm's channels: each its own range.
    pub(super) fn norm_channels(&self, id: NodeId) -> Vec<Affine> {
        let norm = self.layer_norm(id);
        let stats = self.calibration.node(id).iter().zip(&norm.gamma);
        let channels = stats.map(|(s, gamma)| {
            let span = f64::from(s.max) - f64::from(s.min);
            // The gain must fit: 2^20 * gamma / scale < 2^31.
            let scale = (span / 255.0).max(f64::from(gamma.abs()) / 2000.0).max(1e-6);
            let middle = f64::from(s.middle());
            Affine { scale, zero: -0.5 - middle / scale }
        });
        channels.collect()
    }

    /// One int8 scale for all channels of a norm, wide enough for every gain.
    pub(super) fn norm_tensor(&self, id: NodeId) -> Vec<Affine> {
        let norm = self.layer_norm(id);
        let (lo, hi) = self.calibration.range(id);
        let gamma = norm.gamma.iter().fold(0.0f32, |most, gamma| most.max(gamma.abs()));
        let out = Affine::int8_at_least(lo, hi, f64::from(gamma) / 2000.0);
        vec![out; norm.gamma.len()]
    }

    /// Epsilon in units of the squared, summed residual stream.
    pub(super) fn norm_epsilon(&self, id: NodeId, stream: f64) -> u64 {
        let norm = self.layer_norm(id);
        let epsilon = f64::from(norm.epsilon) * (norm.gamma.len() as f64 / stream).powi(2);
        epsilon.round().clamp(1.0, 1e18) as u64
    }

    /// Constants for these output scales, when the residual stream has scale `stream`.
    pub(super) fn norm8(
        &self,
        id: NodeId,
        stream: f64,
        out: &[Affine],
    ) -> Result<QNorm, CompileError> {
        let norm = self.layer_norm(id);
        let name = self.name(id);
        let width = norm.gamma.len();
        if width > picovit::format::MAX_WIDTH {
            let limit = picovit::format::MAX_WIDTH;
            return Err(CompileError::TooLarge {
                node: name,
                what: "the width",
                value: width,
                limit,
            });
        }
        let constants = norm.gamma.iter().zip(&norm.beta).zip(out);
        let gain = constants.clone().map(|((&gamma, _), a)| {
            to_i32(&name, "a gain", f64::from(1 << 20) * f64::from(gamma) / a.scale)
        });
        let offset = constants.map(|((_, &beta), a)| {
            to_i32(&name, "an offset", 256.0 * a.quantized(f64::from(beta)) + 128.0)
        });
        Ok(QNorm {
            epsilon: self.norm_epsilon(id, stream),
            gain: gain.collect::<Result<_, _>>()?,
            offset: offset.collect::<Result<_, _>>()?,
        })
    }

    /// Gain and offset of an int16 output with one scale.
    pub(super) fn norm16(
        &self,
        id: NodeId,
        out: f64,
    ) -> Result<(Vec<i32>, Vec<i32>), CompileError> {
        let norm = self.layer_norm(id);
        let name = self.name(id);
        let gain = norm
            .gamma
            .iter()
            .map(|&gamma| to_i32(&name, "a gain", 4096.0 * f64::from(gamma) / out));
        let offset =
            norm.beta.iter().map(|&beta| to_i32(&name, "an offset", f64::from(beta) / out));
        Ok((gain.collect::<Result<_, _>>()?, offset.collect::<Result<_, _>>()?))
    }
}
