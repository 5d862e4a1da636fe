//! Registers of sixteen values, as several AVX-512 kernels need them.

use core::arch::x86_64::*;

/// Bytes of a register.
pub(super) const BYTES: usize = 64;

/// Lanes of a register.
pub(super) const LANES: usize = 16;

/// The first `left` bytes of a register, or all.
#[inline(always)]
pub(super) fn first_bytes(left: usize) -> __mmask64 {
    if left >= BYTES { !0 } else { (1 << left) - 1 }
}

/// The first `left` lanes of a register, or all.
#[inline(always)]
pub(super) fn first_lanes(left: usize) -> __mmask16 {
    if left >= LANES { !0 } else { (1 << left) - 1 }
}

/// Sixteen values from `first` on; 0 where they are missing.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn constants(values: &[i32], first: usize) -> __m512i {
    let rest = values.get(first..).unwrap_or_default();
    if rest.len() >= LANES {
        // SAFETY: there are so many. Masks cost more than to predict that they are not needed.
        return unsafe { _mm512_loadu_epi32(rest.as_ptr()) };
    }
    if rest.is_empty() {
        // A load of nothing from nowhere is harmless, but takes hundreds of cycles.
        return _mm512_setzero_si512();
    }
    // SAFETY: what is masked out is not touched.
    unsafe { _mm512_maskz_loadu_epi32(first_lanes(rest.len()), rest.as_ptr()) }
}

/// As [`constants`], of int16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn halfwords(values: &[i16], first: usize) -> __m512i {
    let rest = values.get(first..).unwrap_or_default();
    if rest.len() >= LANES {
        // SAFETY: there are so many.
        return _mm512_cvtepi16_epi32(unsafe { _mm256_loadu_epi16(rest.as_ptr()) });
    }
    if rest.is_empty() {
        // As above.
        return _mm512_setzero_si512();
    }
    // SAFETY: what is masked out is not touched.
    let values = unsafe { _mm256_maskz_loadu_epi16(first_lanes(rest.len()), rest.as_ptr()) };
    _mm512_cvtepi16_epi32(values)
}

/// A multiplier for each lane, for [`mulhi`].
#[derive(Clone, Copy)]
pub(super) struct Mult {
    even: __m512i,
    odd: __m512i,
}

impl Mult {
    /// Of these multipliers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(mult: __m512i) -> Self {
        Self { even: mult, odd: _mm512_srli_epi64::<32>(mult) }
    }

    /// One for all lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn splat(mult: i32) -> Self {
        Self { even: _mm512_set1_epi32(mult), odd: _mm512_set1_epi32(mult) }
    }
}

/// What [`mulhi_add`] adds to, as the upper half of what is added to products of 64 bits; the lower
/// half rounds.
#[derive(Clone, Copy)]
pub(super) struct Addend(__m512i);

impl Addend {
    /// One for all lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn splat(addend: i32) -> Self {
        Self(_mm512_set1_epi64(i64::from(addend) << 32 | 1 << 31))
    }
}

/// [`mulhi_add`](super::super::mulhi_add) of every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn mulhi_add(addend: Addend, a: __m512i, mult: Mult) -> __m512i {
    let even = _mm512_add_epi64(_mm512_mul_epi32(a, mult.even), addend.0);
    let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(a), mult.odd);
    let odd = _mm512_add_epi64(odd, addend.0);
    _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd)
}

/// [`mulhi`](super::super::mulhi) of every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn mulhi(a: __m512i, mult: Mult) -> __m512i {
    mulhi_add(Addend::splat(0), a, mult)
}

/// Values saturated to int8, in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn narrow([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let halves = [_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)];
    let mixed = _mm512_packs_epi16(halves[0], halves[1]);
    // Quarters of each register lie together.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, mixed)
}

/// Up to 64 bytes from the slice's beginning; 0 where they are missing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load(bytes: &[i8]) -> __m512i {
    // SAFETY: what is masked out is not touched.
    unsafe {
        if bytes.len() >= BYTES {
            _mm512_loadu_si512(bytes.as_ptr().cast())
        } else {
            _mm512_maskz_loadu_epi8(first_bytes(bytes.len()), bytes.as_ptr())
        }
    }
}

/// Writes bytes as far as the row goes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store(bytes: __m512i, row: &mut [i8]) {
    // SAFETY: what is masked out is not touched.
    unsafe {
        if row.len() >= BYTES {
            _mm512_storeu_si512(row.as_mut_ptr().cast(), bytes);
        } else {
            _mm512_mask_storeu_epi8(row.as_mut_ptr(), first_bytes(row.len()), bytes);
        }
    }
}
