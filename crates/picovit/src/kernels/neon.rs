//! NEON, and its dot product instructions, of AArch64.
#![allow(clippy::needless_range_loop, reason = "one index for lanes of several arrays")]

mod bytes;
pub(super) mod dot;
mod norm;
pub(super) mod plain;
mod pool;
mod product;
mod softmax;
mod winograd4;

use core::arch::aarch64::*;

use super::isa::Isa;
use super::wide::{LANES, Lanes};
pub(crate) use bytes::columns;
pub(super) use bytes::look_up;
pub(super) use norm::{sums_of_squares, write8, write16};
pub(super) use pool::max_into;
pub(super) use product::{LinearAdd16, LinearInt8, Scores, WeightedSums};
pub(super) use softmax::weights;
pub(super) use winograd4::set_patch;

/// A matrix product that is compiled for each kind of sums.
pub(super) trait Task {
    /// Whether it has been computed. Implementations are always inlined.
    fn run<K: product::EightRows>(self) -> bool;
}

/// Computes a product, unless no NEON is to be used or its shape is left to others.
#[inline]
pub(super) fn perform<K: Task>(task: K) -> bool {
    match Isa::current() {
        // SAFETY: only an instruction set that the processor has is current.
        Isa::NeonDot => unsafe { dot::perform(task) },
        // SAFETY: as above.
        Isa::Neon => unsafe { plain::perform(task) },
        _ => false,
    }
}

/// Whether NEON is to be used.
#[inline]
pub(super) fn is_current() -> bool {
    matches!(Isa::current(), Isa::Neon | Isa::NeonDot)
}

/// The bias of eight rows in the first lanes of their sums; the places of the rows.
macro_rules! start_rows {
    () => {
        "ldp s0, s1, [x14]
        ldp s2, s3, [x14, #8]
        ldp s4, s5, [x14, #16]
        ldp s6, s7, [x14, #24]
        add x1, x0, x13
        add x2, x1, x13
        add x3, x2, x13
        add x4, x3, x13
        add x5, x4, x13
        add x6, x5, x13
        add x7, x6, x13
        .irp r, 0, 1, 2, 3, 4, 5, 6, 7
        mov v1\\r\\().16b, v\\r\\().16b
        .endr"
    };
}
use start_rows;

/// From four sums for each of eight rows and two tokens to one, in registers 0, 4, 10 and 14.
macro_rules! fold_rows {
    () => {
        "addp v0.4s, v0.4s, v1.4s
        addp v2.4s, v2.4s, v3.4s
        addp v4.4s, v4.4s, v5.4s
        addp v6.4s, v6.4s, v7.4s
        addp v0.4s, v0.4s, v2.4s
        addp v4.4s, v4.4s, v6.4s
        addp v10.4s, v10.4s, v11.4s
        addp v12.4s, v12.4s, v13.4s
        addp v14.4s, v14.4s, v15.4s
        addp v16.4s, v16.4s, v17.4s
        addp v10.4s, v10.4s, v12.4s
        addp v14.4s, v14.4s, v16.4s"
    };
}
use fold_rows;

/// The same for the sums of the weights, in registers 20 and 24.
macro_rules! fold_missing {
    () => {
        "addp v20.4s, v20.4s, v21.4s
        addp v22.4s, v22.4s, v23.4s
        addp v24.4s, v24.4s, v25.4s
        addp v26.4s, v26.4s, v27.4s
        addp v20.4s, v20.4s, v22.4s
        addp v24.4s, v24.4s, v26.4s"
    };
}
use fold_missing;

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
