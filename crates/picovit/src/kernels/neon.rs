//! NEON, and its dot product instructions, of AArch64.
#![allow(clippy::needless_range_loop, reason = "one index for lanes of several arrays")]

pub(super) mod dot;
pub(super) mod plain;

use core::arch::aarch64::*;

use super::wide::{LANES, Lanes};

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

/// The halves of [`LANES`] values.
#[inline]
#[target_feature(enable = "neon")]
fn registers(values: Lanes) -> [int32x4_t; 2] {
    // SAFETY: both are 32 bytes of which any are valid.
    unsafe { core::mem::transmute(values) }
}

/// [`Simd::requant`](super::wide::Simd::requant).
#[inline]
#[target_feature(enable = "neon")]
fn requant(addend: Lanes, sums: Lanes, shift: u32, mult: Lanes) -> Lanes {
    let (addend, sums, mult) = (registers(addend), registers(sums), registers(mult));
    // Shifts are below 32; others would be taken modulo 32.
    let shift = vdupq_n_s32((shift % 32) as i32);
    let mut values = [[0; 4]; 2];
    for half in 0..2 {
        let (a, m) = (vshlq_s32(sums[half], shift), mult[half]);
        let low = vrshrn_n_s64::<32>(vmull_s32(vget_low_s32(a), vget_low_s32(m)));
        let high = vrshrn_high_n_s64::<32>(low, vmull_high_s32(a, m));
        values[half] = store(vaddq_s32(addend[half], high));
    }
    bytemuck::must_cast(values)
}

/// Saturated to int16.
#[inline]
#[target_feature(enable = "neon")]
fn halfwords(values: Lanes) -> int16x8_t {
    let [low, high] = registers(values);
    vqmovn_high_s32(vqmovn_s32(low), high)
}

/// [`Simd::narrow8`](super::wide::Simd::narrow8).
#[inline]
#[target_feature(enable = "neon")]
fn narrow8(values: Lanes, low: i8) -> [i8; LANES] {
    let bytes = vmax_s8(vqmovn_s16(halfwords(values)), vdup_n_s8(low));
    // SAFETY: both are 8 bytes of which any are valid.
    unsafe { core::mem::transmute(bytes) }
}

/// [`Simd::narrow16`](super::wide::Simd::narrow16).
#[inline]
#[target_feature(enable = "neon")]
fn narrow16(values: Lanes) -> [i16; LANES] {
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { core::mem::transmute(halfwords(values)) }
}
