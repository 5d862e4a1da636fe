use std::ops::{Deref, DerefMut};

/// Bytes that start at a multiple of 16, as artifacts and arenas must.
#[derive(Clone, Debug)]
pub struct Aligned {
    blocks: Vec<Block>,
    len: usize,
}

#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(16))]
struct Block([u8; 16]);

impl Aligned {
    /// `len` bytes of this value.
    #[must_use]
    pub fn filled(len: usize, value: u8) -> Self {
        Self { blocks: vec![Block([value; 16]); len.div_ceil(16)], len }
    }

    /// A copy of these bytes.
    #[must_use]
    pub fn copy(bytes: &[u8]) -> Self {
        let mut aligned = Self::filled(bytes.len(), 0);
        aligned.copy_from_slice(bytes);
        aligned
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
    }
}
