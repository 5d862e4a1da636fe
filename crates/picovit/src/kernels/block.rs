//! The tokens in front of a matrix product.

use crate::format::{Packing, TOKENS};

/// A number that a matrix product takes: int8 values, or uint8 weights of a softmax.
pub trait Operand: bytemuck::Pod + Into<i32> {
    /// The first and third bytes of a word as halfwords.
    #[cfg(all(target_arch = "arm", feature = "dsp"))]
    #[doc(hidden)]
    fn halves(word: u32) -> u32;
}

impl Operand for i8 {
    #[cfg(all(target_arch = "arm", feature = "dsp"))]
    #[inline]
    fn halves(word: u32) -> u32 {
        super::cortex_m::signed_halves(word)
    }
}

impl Operand for u8 {
    #[cfg(all(target_arch = "arm", feature = "dsp"))]
    #[inline]
    fn halves(word: u32) -> u32 {
        word & 0x00ff_00ff
    }
}

/// [`TOKENS`] rows of a matrix product's right operand, in the order its kernel wants.
#[derive(Debug)]
pub struct Block<'s> {
    packing: Packing,
    inputs: usize,
    bytes: &'s mut [u8],
}

impl<'s> Block<'s> {
    /// A block of undefined values in [`Packing::block_bytes`] of memory.
    pub fn new(packing: Packing, inputs: usize, bytes: &'s mut [u8]) -> Self {
        Self { packing, inputs, bytes }
    }

    /// The order of the weights it is made for.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Values of a row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The memory.
    #[cfg(all(target_arch = "arm", feature = "dsp"))]
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Writes a row. All rows of a block are of one type.
    #[inline]
    pub fn set<T: Operand>(&mut self, token: usize, row: &[T]) {
        #[cfg(all(target_arch = "arm", feature = "dsp"))]
        if self.packing == Packing::CortexM {
            return super::cortex_m::spread(row, token, self.bytes);
        }
        let start = token * self.inputs;
        let bytes = self.bytes.get_mut(start..start + self.inputs).unwrap_or_default();
        for (byte, &value) in bytes.iter_mut().zip(bytemuck::must_cast_slice::<T, u8>(row)) {
            *byte = value;
        }
    }

    /// The rows as they were written, where the block keeps them as such.
    #[must_use]
    pub(super) fn rows<T: Operand>(&self) -> [&[T]; TOKENS] {
        let row = |token: usize| {
            let start = token * self.inputs;
            let bytes = self.bytes.get(start..start + self.inputs).unwrap_or_default();
            bytemuck::try_cast_slice(bytes).unwrap_or_default()
        };
        [row(0), row(1)]
    }
}
