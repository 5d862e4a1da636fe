//! Artifacts on the host: aligned memory, loading, running.

use std::ops::{Deref, DerefMut};

/// 16-byte aligned bytes, as an engine wants its artifact and its arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlignedBytes {
    blocks: Vec<u128>,
    length: usize,
}

impl AlignedBytes {
    /// An aligned copy.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    }

    /// This many zeros.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        Self { blocks: vec![0; length.div_ceil(16)], length }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.length]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.length]
    }
}
