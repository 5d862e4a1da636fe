//! NEON, and its dot product instructions, of AArch64.

pub(super) mod dot;
pub(super) mod plain;

use core::arch::aarch64::*;

/// Bytes of a register.
const BYTES: usize = 16;

/// [`BYTES`] values from `at` on, 0 where the slice has ended.
#[inline]
#[target_feature(enable = "neon")]
fn padded<T: bytemuck::Pod>(values: &[T], at: usize) -> int8x16_t {
    const { assert!(size_of::<T>() == 1) };
    let rest = values.get(at..).unwrap_or_default();
    let mut bytes = [T::zeroed(); BYTES];
    match rest.first_chunk() {
        Some(chunk) => bytes = *chunk,
        None => bytes.iter_mut().zip(rest).for_each(|(byte, &value)| *byte = value),
    }
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { vld1q_s8(bytes.as_ptr().cast()) }
}

/// As [`padded`]; where `WHOLE`, without a look at the length.
///
/// # Safety
/// With `WHOLE`, the slice has [`BYTES`] values from `at` on.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load<const WHOLE: bool, T: bytemuck::Pod>(values: &[T], at: usize) -> int8x16_t {
    const { assert!(size_of::<T>() == 1) };
    if WHOLE {
        // SAFETY: the caller's promise.
        unsafe { vld1q_s8(values.as_ptr().add(at).cast()) }
    } else {
        padded(values, at)
    }
}

/// Sums of four registers.
#[inline]
#[target_feature(enable = "neon")]
fn fold4([a, b, c, d]: [int32x4_t; 4]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))
}

/// The values of a register.
#[inline]
#[target_feature(enable = "neon")]
fn store(values: int32x4_t) -> [i32; 4] {
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { core::mem::transmute(values) }
}
