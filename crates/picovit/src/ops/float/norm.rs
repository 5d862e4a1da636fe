//! Layer norm as part of other operations.

use crate::format::MAX_WIDTH;
use crate::format::float::FloatNormRecord;
use crate::kernels::float::layer_norm;
use crate::model::Constants;

/// Constants of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct FloatNorm<'a> {
    epsilon: f32,
    gamma: &'a [f32],
    beta: &'a [f32],
}

impl<'a> FloatNorm<'a> {
    pub(crate) fn decode(
        record: &FloatNormRecord,
        width: usize,
        constants: &Constants<'a>,
    ) -> Self {
        let sound = (1..=MAX_WIDTH).contains(&width) && record.epsilon > 0.0;
        constants.ensure(sound && record.epsilon < f32::MAX);
        Self {
            epsilon: record.epsilon,
            gamma: constants.slice(record.gamma, width),
            beta: constants.slice(record.beta, width),
        }
    }

    /// The norm of one token, into another place.
    #[inline]
    pub(crate) fn token(&self, x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x;
        }
        layer_norm(out, self.epsilon, self.gamma, self.beta);
    }
}
