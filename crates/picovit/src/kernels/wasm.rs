//! WebAssembly's vectors of 128 bits. A module has them from its build on (`-C
//! target-feature=+simd128`): nothing can be asked when it runs.
#![allow(clippy::needless_range_loop, reason = "one index for lanes of several arrays")]

mod product;
mod values;

use core::arch::wasm32::*;

use super::isa::Isa;
use super::wide::{LANES, Lanes};
pub(super) use product::Simd128;
pub(super) use values::{
    add_scaled, each, residual_add8, same, softmax_weights, sums_of_squares, write8, write16,
};

/// Whether vectors are to be used.
#[inline(always)]
pub(super) fn is_current() -> bool {
    Isa::current() == Isa::Simd128
}

/// Bytes of a register.
const BYTES: usize = 16;

/// Values in a register.
#[inline(always)]
fn register<V: bytemuck::Pod>(values: &[V]) -> v128 {
    let Some(bytes) = bytemuck::must_cast_slice::<V, u8>(values).first_chunk::<BYTES>() else {
        return i8x16_splat(0);
    };
    // SAFETY: there are 16 bytes, and no alignment is asked for.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

/// Writes a register to the beginning of a slice that has room for it.
#[inline(always)]
fn store<V: bytemuck::Pod>(register: v128, values: &mut [V]) {
    if let Some(place) = bytemuck::must_cast_slice_mut::<V, u8>(values).first_chunk_mut::<BYTES>() {
        // SAFETY: there are 16 bytes, and no alignment is asked for.
        unsafe { v128_store(place.as_mut_ptr().cast(), register) };
    }
}

/// The halves of [`LANES`] values.
#[inline(always)]
fn registers(values: Lanes) -> [v128; 2] {
    // SAFETY: both are 32 bytes of which any are valid.
    unsafe { core::mem::transmute(values) }
}

/// The values of two registers.
#[inline(always)]
fn lanes(registers: [v128; 2]) -> Lanes {
    // SAFETY: both are 32 bytes of which any are valid.
    unsafe { core::mem::transmute(registers) }
}

/// `mulhi(a, m)`, lane by lane.
#[inline(always)]
fn mulhi(a: v128, m: v128) -> v128 {
    let half = i64x2_splat(1 << 31);
    let low = i64x2_add(i64x2_extmul_low_i32x4(a, m), half);
    let high = i64x2_add(i64x2_extmul_high_i32x4(a, m), half);
    i32x4_shuffle::<1, 3, 5, 7>(low, high)
}

/// Saturated to int16.
#[inline(always)]
fn halfwords(values: Lanes) -> v128 {
    let [low, high] = registers(values);
    i16x8_narrow_i32x4(low, high)
}

/// [`Simd::requant`](super::wide::Simd::requant).
#[inline(always)]
fn requant(addend: Lanes, sums: Lanes, shift: u32, mult: Lanes) -> Lanes {
    let (addend, sums, mult) = (registers(addend), registers(sums), registers(mult));
    let mut values = addend;
    for half in 0..2 {
        // The instruction takes shifts modulo 32.
        values[half] = i32x4_add(addend[half], mulhi(i32x4_shl(sums[half], shift), mult[half]));
    }
    lanes(values)
}

/// [`Simd::narrow8`](super::wide::Simd::narrow8).
#[inline(always)]
fn narrow8(values: Lanes, low: i8) -> [i8; LANES] {
    let halves = halfwords(values);
    let bytes = i8x16_max(i8x16_narrow_i16x8(halves, halves), i8x16_splat(low));
    bytemuck::must_cast(i64x2_extract_lane::<0>(bytes))
}

/// [`Simd::narrow16`](super::wide::Simd::narrow16).
#[inline(always)]
fn narrow16(values: Lanes) -> [i16; LANES] {
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { core::mem::transmute(halfwords(values)) }
}
