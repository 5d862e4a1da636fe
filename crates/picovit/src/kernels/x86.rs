//! Vector units of x86-64.
#![allow(clippy::needless_range_loop, reason = "one index for lanes of several arrays")]

pub(super) mod avx2;
pub(super) mod avx512;
pub(super) mod conv512;
#[cfg(feature = "f16")]
pub(super) mod float;
mod lanes512;
pub(super) mod maps512;
pub(super) mod product512;
mod sinks512;
pub(super) mod values512;
pub(super) mod winograd512;

use core::arch::x86_64::*;

use super::isa::Isa;
use super::wide::{LANES, Lanes};

/// Whether AVX-512 is to be used.
#[inline(always)]
pub(super) fn is_avx512() -> bool {
    Isa::current() == Isa::Avx512Vnni
}

/// The first values of four columns, then the second ones and so on.
#[inline]
pub(crate) fn interleave(columns: [[i8; 16]; 4]) -> [i8; 64] {
    // SAFETY: as many bytes of which any are valid; every x86-64 has these instructions.
    unsafe {
        let [a, b, c, d]: [__m128i; 4] = core::mem::transmute(columns);
        let [ab, cd] = [_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d)];
        let [ab2, cd2] = [_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d)];
        core::mem::transmute([
            _mm_unpacklo_epi16(ab, cd),
            _mm_unpackhi_epi16(ab, cd),
            _mm_unpacklo_epi16(ab2, cd2),
            _mm_unpackhi_epi16(ab2, cd2),
        ])
    }
}

/// The values of a register.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes(values: __m256i) -> Lanes {
    // SAFETY: both are 32 bytes of which any are valid.
    unsafe { core::mem::transmute(values) }
}

/// Values in a register.
#[inline]
#[target_feature(enable = "avx2")]
fn register(values: Lanes) -> __m256i {
    // SAFETY: both are 32 bytes of which any are valid.
    unsafe { core::mem::transmute(values) }
}

/// [`Simd::requant`](super::wide::Simd::requant).
#[inline]
#[target_feature(enable = "avx2")]
fn requant(addend: Lanes, sums: Lanes, shift: u32, mult: Lanes) -> Lanes {
    // Shifts are below 32; others would be taken modulo 32.
    let count = _mm_cvtsi32_si128((shift % 32) as i32);
    let (a, m) = (_mm256_sll_epi32(register(sums), count), register(mult));
    let half = _mm256_set1_epi64x(1 << 31);
    // Products of the even lanes, and of the odd ones.
    let even = _mm256_add_epi64(_mm256_mul_epi32(a, m), half);
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(m));
    let odd = _mm256_add_epi64(odd, half);
    let high = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
    lanes(_mm256_add_epi32(register(addend), high))
}

/// Saturated to int16, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn halfwords(values: Lanes) -> __m128i {
    let values = register(values);
    let (low, high) = (_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values));
    _mm_packs_epi32(low, high)
}

/// [`Simd::narrow8`](super::wide::Simd::narrow8).
#[inline]
#[target_feature(enable = "avx2")]
fn narrow8(values: Lanes, low: i8) -> [i8; LANES] {
    let halves = halfwords(values);
    let bytes = _mm_max_epi8(_mm_packs_epi16(halves, halves), _mm_set1_epi8(low));
    bytemuck::must_cast(_mm_cvtsi128_si64(bytes))
}

/// [`Simd::narrow16`](super::wide::Simd::narrow16).
#[inline]
#[target_feature(enable = "avx2")]
fn narrow16(values: Lanes) -> [i16; LANES] {
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { core::mem::transmute(halfwords(values)) }
}
