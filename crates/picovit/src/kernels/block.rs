//! The tokens in front of a matrix product.

use crate::format::{Packing, TOKENS};
#[cfg(wide)]
use crate::rows::rows;

/// A number that a matrix product takes: int8 values, or uint8 weights of a softmax.
pub trait Operand: bytemuck::Pod + Into<i32> {
    /// Whether it has a sign.
    #[doc(hidden)]
    const SIGNED: bool;
}

impl Operand for i8 {
    const SIGNED: bool = true;
}

impl Operand for u8 {
    const SIGNED: bool = false;
}

/// [`TOKENS`] rows of a matrix product's right operand, in the order its kernel wants.
#[derive(Debug)]
pub struct Block<'s> {
    packing: Packing,
    inputs: usize,
    bytes: &'s mut [u8],
}

impl<'s> Block<'s> {
    /// A block of undefined values in [`Packing::block_bytes`] of memory; for the functions that take
    /// many tokens at once, [`linear_int8_rows`](super::linear_int8_rows) and others of such names, in
    /// [`Packing::row_block_bytes`].
    pub fn new(packing: Packing, inputs: usize, bytes: &'s mut [u8]) -> Self {
        Self { packing: packing.known(), inputs, bytes }
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
    #[cfg(dsp)]
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The memory, to be written, if the block is one of Helium's.
    #[cfg(mve)]
    #[must_use]
    pub(super) fn steps_mut(&mut self) -> Option<&mut [u8]> {
        (self.packing.known() == Packing::Helium).then_some(&mut *self.bytes)
    }

    /// Writes a row. All rows of a block are of one type.
    #[inline]
    pub fn set<T: Operand>(&mut self, token: usize, row: &[T]) {
        self.set_part(token, 0, row);
    }

    /// Writes a part of a row from input `start` on, a multiple of [`Packing::step`]. A part that is
    /// not the last has whole steps.
    #[inline]
    pub fn set_part<T: Operand>(&mut self, token: usize, start: usize, values: &[T]) {
        #[cfg(dsp)]
        if self.packing.known() == Packing::CortexM {
            // Four inputs take sixteen bytes.
            let steps = self.bytes.get_mut(4 * start..).unwrap_or_default();
            return super::cortex_m::spread(values, token, steps);
        }
        #[cfg(mve)]
        if self.packing.known() == Packing::Helium {
            let steps = self.bytes.get_mut(TOKENS * start..).unwrap_or_default();
            return super::helium::interleave(bytemuck::must_cast_slice(values), token, steps);
        }
        let (row, inputs) = (self.packing.row_bytes(self.inputs), self.inputs);
        let end = start + values.len().min(inputs.saturating_sub(start));
        let bytes = self.bytes.get_mut(token * row + start..token * row + end).unwrap_or_default();
        for (byte, &value) in bytes.iter_mut().zip(bytemuck::must_cast_slice::<T, u8>(values)) {
            *byte = value;
        }
        if end == inputs && row > inputs {
            // What fills up the last quad meets weights that may be anything.
            let padding = self.bytes.get_mut(token * row + end..(token + 1) * row);
            padding.unwrap_or_default().iter_mut().for_each(|byte| *byte = 0);
        }
    }

    /// Tokens from `first` on, of a block that keeps rows as they were written and has room for more
    /// than two.
    #[must_use]
    pub(crate) fn rest(&mut self, first: usize) -> Block<'_> {
        let start = first * self.packing.row_bytes(self.inputs);
        let bytes = self.bytes.get_mut(start..).unwrap_or_default();
        Block { packing: self.packing, inputs: self.inputs, bytes }
    }

    /// All rows with their padding, one after the other, of a block that keeps them as they were
    /// written.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub(super) fn all_rows(&self) -> &[u8] {
        self.bytes
    }

    /// So many rows with their padding, one after the other, and the bytes of each, of a block that
    /// keeps them as they were written.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn first_rows_mut(&mut self, count: usize) -> (&mut [i8], usize) {
        let bytes = self.packing.row_bytes(self.inputs);
        let rows = self.bytes.get_mut(..count * bytes).unwrap_or_default();
        (bytemuck::must_cast_slice_mut(rows), bytes)
    }

    /// Writes so many rows that lie one after the other, of a block that keeps them as they were
    /// written and has room for more than two.
    #[cfg(wide)]
    pub(crate) fn set_rows(&mut self, values: &[i8]) {
        if self.packing.row_bytes(self.inputs) == self.inputs {
            let values: &[u8] = bytemuck::must_cast_slice(values);
            let count = values.len().min(self.bytes.len());
            let bytes = self.bytes.get_mut(..count).unwrap_or_default();
            return bytes.copy_from_slice(values.get(..count).unwrap_or_default());
        }
        for (token, row) in rows(values, self.inputs).enumerate() {
            self.set(token, row);
        }
    }

    /// A row to be written, where the block keeps it as such.
    #[cfg(wide)]
    #[inline]
    pub(crate) fn row_mut<T: Operand>(&mut self, token: usize) -> Option<&mut [T]> {
        let row = self.packing.row_bytes(self.inputs);
        let bytes = self.bytes.get_mut(token * row..(token + 1) * row)?;
        let (bytes, padding) = bytes.split_at_mut_checked(self.inputs)?;
        padding.iter_mut().for_each(|byte| *byte = 0);
        bytemuck::try_cast_slice_mut(bytes).ok()
    }

    /// Inputs `4 * quad` and the three that follow; 0 behind the last.
    #[must_use]
    pub(super) fn quad<T: Operand>(&self, token: usize, quad: usize) -> [i32; 4] {
        #[cfg(dsp)]
        if self.packing.known() == Packing::CortexM {
            return super::cortex_m::gather(token, quad, self.bytes);
        }
        #[cfg(mve)]
        if self.packing.known() == Packing::Helium {
            return super::helium::gather::<T>(token, quad, self.bytes);
        }
        let [first, second] = self.rows::<T>();
        let row = if token == 0 { first } else { second };
        let mut values = [0; 4];
        let rest = row.get(4 * quad..).unwrap_or_default();
        values.iter_mut().zip(rest).for_each(|(value, &x)| *value = x.into());
        values
    }

    /// The rows as they were written, where the block keeps them as such; in [`Packing::Wide`] with
    /// their padding.
    #[must_use]
    pub(super) fn rows<T: Operand>(&self) -> [&[T]; TOKENS] {
        let length = self.packing.row_bytes(self.inputs);
        let row = |token: usize| {
            let start = token * length;
            let bytes = self.bytes.get(start..start + length).unwrap_or_default();
            bytemuck::try_cast_slice(bytes).unwrap_or_default()
        };
        [row(0), row(1)]
    }
}

#[cfg(all(test, wide))]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_where_they_are_set() {
        let values: [i8; 9] = core::array::from_fn(|place| place as i8 + 1);
        let mut memory = [[9u8; 24]; 3];
        let [set, written, at_once] = &mut memory;
        for token in 0..TOKENS {
            Block::new(Packing::Wide, 9, set).set(token, &values);
            let mut block = Block::new(Packing::Wide, 9, written);
            block.row_mut(token).unwrap().copy_from_slice(&values);
        }
        Block::new(Packing::Wide, 9, at_once).set_rows([values, values].as_flattened());
        assert_eq!(memory[0], memory[1]);
        assert_eq!(memory[0], memory[2]);
    }
}
