//! Bytes that lie in memory as they do in a chip's flash.

/// Bytes at a multiple of 16.
pub(crate) struct Aligned {
    words: Vec<u128>,
    length: usize,
}

impl Aligned {
    /// A copy.
    pub(crate) fn copy(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut().copy_from_slice(bytes);
        copy
    }

    /// So many zeros.
    pub(crate) fn zeroed(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(size_of::<u128>())], length }
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

impl AsMut<[u8]> for Aligned {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}
