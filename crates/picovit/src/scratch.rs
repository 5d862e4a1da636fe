//! Cutting an operation's scratch memory into typed buffers.

use bytemuck::Pod;

use crate::format::align_up;

/// Scratch memory not yet handed out.
pub(crate) struct Scratch<'s>(pub(crate) &'s mut [u8]);

impl<'s> Scratch<'s> {
    /// The next `count` values. Empty where the memory does not suffice, which validation excludes.
    pub(crate) fn take<T: Pod>(&mut self, count: usize) -> &'s mut [T] {
        let bytes = count.saturating_mul(size_of::<T>());
        let memory = core::mem::take(&mut self.0);
        let Some((head, rest)) = memory.split_at_mut_checked(align_up(bytes)) else {
            // Chips have no code for it: a size in `format` that is too small shows in tests.
            debug_assert!(false, "{bytes} bytes of scratch memory are too many");
            return Default::default();
        };
        self.0 = rest;
        let head = head.get_mut(..bytes).unwrap_or_default();
        bytemuck::try_cast_slice_mut(head).unwrap_or_default()
    }
}
