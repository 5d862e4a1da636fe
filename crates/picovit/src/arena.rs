//! The working memory of an engine.

use core::ops::{Deref, DerefMut};

use crate::format::{MAGIC, VERSION};

/// Aligned working memory, to be placed in a `static` or on a large stack.
///
/// ```
/// let mut arena = picovit::Arena::<1024>::new();
/// assert_eq!(arena.as_ptr() as usize % 16, 0);
/// ```
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// A zeroed arena.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Arena<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Arena<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Bytes of arena an artifact needs, from its header, at compile time.
///
/// Only the start of the header is looked at: [`Model::parse`](crate::Model::parse) still
/// validates the whole artifact at run time.
///
/// # Panics
/// On fewer than 20 bytes, a wrong magic or version, and on a number format or a packing that the build does
/// not take. In a `const` context that is a compile error, which is the purpose; at run time take
/// [`Model::arena_bytes`](crate::Model::arena_bytes).
// Inlined so that its assertions exist only where it is called, which is at compile time.
#[must_use]
#[inline(always)]
pub const fn arena_bytes(artifact: &[u8]) -> usize {
    assert!(artifact.len() >= 20, "not a picovit artifact: too short");
    let mut i = 0;
    while i < MAGIC.len() {
        assert!(artifact[i] == MAGIC[i], "not a picovit artifact: wrong magic");
        i += 1;
    }
    assert!(
        u16::from_le_bytes([artifact[4], artifact[5]]) == VERSION,
        "artifact of another format version: quantize the checkpoint again"
    );
    assert!(
        crate::format::readable(artifact[6])
            && crate::format::Packing::from_id(artifact[7]).is_some(),
        "artifact for another target: quantize the checkpoint with the --target of this build, build for \
         the processor (`-C target-feature=+dsp` for Cortex-M33, `+dsp,+mve` for M55), or turn a feature \
         of picovit on (`every-packing`, `f16`)"
    );
    u32::from_le_bytes([artifact[16], artifact[17], artifact[18], artifact[19]]) as usize
}

/// Includes an artifact with the alignment [`Model::parse`](crate::Model::parse) asks for, as
/// `&'static [u8]`. The path is relative to the current file, as with `include_bytes!`.
#[macro_export]
macro_rules! include_artifact {
    ($path:expr $(,)?) => {{
        #[repr(C, align(16))]
        struct Aligned<Bytes: ?Sized>(Bytes);
        const ALIGNED: &Aligned<[u8]> = &Aligned(*::core::include_bytes!($path));
        &ALIGNED.0
    }};
}
