//! Layer norm as part of other operations.

#[cfg(wide)]
use crate::format::packing::ROWS;
use crate::format::{MAX_WIDTH, NormRecord};
use crate::kernels;
#[cfg(wide)]
use crate::kernels::NormalizedRow;
use crate::model::Constants;
#[cfg(wide)]
use crate::rows::rows;

/// Constants of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    pub(crate) epsilon: u64,
    pub(crate) gain: &'a [i32],
    pub(crate) offset: &'a [i32],
}

impl<'a> Norm<'a> {
    pub(crate) fn decode(record: &NormRecord, width: usize, constants: &Constants<'a>) -> Self {
        constants.ensure((1..=MAX_WIDTH).contains(&width));
        // Keeps the variance below 2^62, where its normalisation starts.
        constants.ensure((1..1 << 60).contains(&record.epsilon()));
        Self {
            epsilon: record.epsilon(),
            gain: constants.slice(record.gain8, width),
            offset: constants.slice(record.offset8, width),
        }
    }

    /// Statistics of up to [`ROWS`] tokens. Roots and quotients take their time; those of several tokens
    /// do so at once if nothing is between them.
    #[cfg(wide)]
    #[inline]
    pub(crate) fn statistics(&self, tokens: &[i16], width: usize) -> [NormalizedRow; ROWS] {
        let mut statistics = [NormalizedRow::default(); ROWS];
        for (place, x) in statistics.iter_mut().zip(rows(tokens, width)) {
            *place = kernels::normalize(x, self.epsilon);
        }
        statistics
    }

    /// int8 output of one token.
    #[inline]
    pub(crate) fn token(&self, x: &[i16], out: &mut [i8]) {
        kernels::normalize(x, self.epsilon).write8(x, self.gain, self.offset, out);
    }
}
