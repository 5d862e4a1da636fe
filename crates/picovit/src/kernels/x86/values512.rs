//! Layer norm, tables, softmax and the way into the residual stream by AVX-512.

use core::arch::x86_64::*;

use super::lanes512::{
    BYTES, LANES, Mult, constants, first_bytes, first_lanes, halfwords, load, mulhi, narrow, store,
};
use crate::format::{EXP_ENTRIES, TABLE_ENTRIES};

/// The sum of values and that of their squares.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn sums_of_squares(x: &[i16]) -> (i32, u64) {
    let zero = _mm512_setzero_si512();
    let (mut sums, mut squares) = (zero, [zero; 2]);
    for x in x.chunks(2 * LANES) {
        let mask = if x.len() < 2 * LANES { (1 << x.len()) - 1 } else { !0 };
        // SAFETY: what is masked out is not touched.
        let x = unsafe { _mm512_maskz_loadu_epi16(mask, x.as_ptr()) };
        sums = _mm512_add_epi32(sums, _mm512_madd_epi16(x, _mm512_set1_epi16(1)));
        // Two squares are at most 2^31, which has no sign here.
        let pairs = _mm512_madd_epi16(x, x);
        let low = _mm512_and_si512(pairs, _mm512_set1_epi64(0xffff_ffff));
        squares[0] = _mm512_add_epi64(squares[0], low);
        squares[1] = _mm512_add_epi64(squares[1], _mm512_srli_epi64::<32>(pairs));
    }
    let squares = _mm512_add_epi64(squares[0], squares[1]);
    (_mm512_reduce_add_epi32(sums), _mm512_reduce_add_epi64(squares) as u64)
}

/// Mean and reciprocal deviation of a token, as
/// [`shifted`](super::super::NormalizedRow::shifted) gives them.
#[derive(Clone, Copy)]
struct Statistics {
    width: __m512i,
    sum: __m512i,
    inverse: __m512i,
}

/// Values in the lower halves of 64 bits: those of even lanes, and those of odd ones. A product is made
/// of them as they are.
#[derive(Clone, Copy)]
struct Halves {
    even: __m512i,
    odd: __m512i,
}

impl Statistics {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new((width, sum, inverse): (i32, i32, i32)) -> Self {
        let [width, sum, inverse] = [width, sum, inverse].map(|value| _mm512_set1_epi32(value));
        Self { width, sum, inverse }
    }

    /// Sixteen values, normalised.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn apply(self, x: __m512i) -> Halves {
        let n = _mm512_sub_epi32(_mm512_mullo_epi32(self.width, x), self.sum);
        let [even, odd] =
            products(Halves::new(n), Halves { even: self.inverse, odd: self.inverse });
        Halves { even: _mm512_srli_epi64::<32>(even), odd: _mm512_srli_epi64::<32>(odd) }
    }
}

impl Halves {
    /// Of values in order; what is in the upper halves does not matter.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(values: __m512i) -> Self {
        Self { even: values, odd: _mm512_srli_epi64::<32>(values) }
    }

    /// `offset + mulhi(self, gain)`, in order.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn scaled(self, gain: __m512i, offset: __m512i) -> __m512i {
        let [even, odd] = products(self, Self::new(gain));
        let high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
        _mm512_add_epi32(offset, high)
    }
}

/// Products, rounded to what will be their upper halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn products(a: Halves, b: Halves) -> [__m512i; 2] {
    let half = _mm512_set1_epi64(1 << 31);
    [
        _mm512_add_epi64(_mm512_mul_epi32(a.even, b.even), half),
        _mm512_add_epi64(_mm512_mul_epi32(a.odd, b.odd), half),
    ]
}

/// [`NormalizedRow::write8`](super::super::NormalizedRow::write8) from what
/// [`shifted`](super::super::NormalizedRow::shifted) gives.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn write8(
    x: &[i16],
    row: (i32, i32, i32),
    gain: &[i32],
    offset: &[i32],
    out: &mut [i8],
) {
    let row = Statistics::new(row);
    let count = x.len().min(gain.len()).min(offset.len()).min(out.len());
    let out = out.get_mut(..count).unwrap_or_default();
    for (step, out) in out.chunks_mut(BYTES).enumerate() {
        let mut values = [_mm512_setzero_si512(); 4];
        for (part, values) in values.iter_mut().enumerate() {
            let first = step * BYTES + part * LANES;
            let n = row.apply(halfwords(x, first));
            let scaled = n.scaled(constants(gain, first), constants(offset, first));
            *values = _mm512_srai_epi32::<8>(scaled);
        }
        store(narrow(values), out);
    }
}

/// [`NormalizedRow::write16`](super::super::NormalizedRow::write16) from what
/// [`shifted`](super::super::NormalizedRow::shifted) gives.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn write16(x: &mut [i16], row: (i32, i32, i32), gain: &[i32], offset: &[i32]) {
    let row = Statistics::new(row);
    let count = x.len().min(gain.len()).min(offset.len());
    let x = x.get_mut(..count).unwrap_or_default();
    for (step, x) in x.chunks_mut(LANES).enumerate() {
        let (gain, offset) = (constants(gain, step * LANES), constants(offset, step * LANES));
        put16(row.apply(halfwords(x, 0)).scaled(gain, offset), x);
    }
}

/// [`NormalizedRow::write_both`](super::super::NormalizedRow::write_both) from what
/// [`shifted`](super::super::NormalizedRow::shifted) gives, of slices that are as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn write_both(
    x: &mut [i16],
    row: (i32, i32, i32),
    narrow8: [&[i32]; 2],
    wide16: [&[i32]; 2],
    out: &mut [i8],
) {
    let row = Statistics::new(row);
    for (step, (x, out)) in x.chunks_mut(BYTES).zip(out.chunks_mut(BYTES)).enumerate() {
        let mut values = [_mm512_setzero_si512(); 4];
        for ((part, values), x) in values.iter_mut().enumerate().zip(x.chunks_mut(LANES)) {
            let first = step * BYTES + part * LANES;
            let n = row.apply(halfwords(x, 0));
            let [gain, offset] = narrow8;
            let scaled = n.scaled(constants(gain, first), constants(offset, first));
            *values = _mm512_srai_epi32::<8>(scaled);
            let [gain, offset] = wide16;
            put16(n.scaled(constants(gain, first), constants(offset, first)), x);
        }
        store(narrow(values), out);
    }
}

/// Writes up to sixteen values, saturated to int16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn put16(values: __m512i, x: &mut [i16]) {
    let (mask, values) = (first_lanes(x.len()), _mm512_cvtsepi32_epi16(values));
    // SAFETY: what is masked out is not touched.
    unsafe { _mm256_mask_storeu_epi16(x.as_mut_ptr(), mask, values) };
}

/// The largest whole number whose square is at most `v`, which is below 2^62.
#[inline]
pub(in super::super) fn root(v: u64) -> u64 {
    // SAFETY: every x86-64 has these instructions.
    let root = unsafe {
        let value = _mm_cvtsi64_sd(_mm_setzero_pd(), v as i64);
        _mm_cvttsd_si64(_mm_sqrt_sd(value, value)) as u64
    };
    // Rounding was by far less than one.
    let root = root.saturating_sub(u64::from(root.wrapping_mul(root) > v));
    root.wrapping_add(u64::from((root + 1).wrapping_mul(root + 1) <= v))
}

/// Whether the processor can look up bytes in registers.
#[inline]
pub(in super::super) fn has_vbmi() -> bool {
    #[cfg(feature = "std")]
    return std::arch::is_x86_feature_detected!("avx512vbmi");
    #[cfg(not(feature = "std"))]
    cfg!(target_feature = "avx512vbmi")
}

/// [`look_up`](super::super::look_up).
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(in super::super) fn look_up(values: &mut [i8], table: &[i8; TABLE_ENTRIES]) {
    let [a, b, c, d] = table.as_chunks::<BYTES>().0 else { return };
    // The first half is that of negative values, of which seven bits say where.
    let negative = [load(a), load(b)];
    let positive = [load(c), load(d)];
    for values in values.chunks_mut(BYTES) {
        let v = load(values);
        let entries = _mm512_permutex2var_epi8(positive[0], v, positive[1]);
        let others = _mm512_permutex2var_epi8(negative[0], v, negative[1]);
        store(_mm512_mask_blend_epi8(_mm512_movepi8_mask(v), entries, others), values);
    }
}

/// [`softmax_weights`](super::super::softmax_weights).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(in super::super) fn weights(
    scores: &[i32],
    shift: u32,
    mult: i32,
    table: &[u8; EXP_ENTRIES],
    weights: &mut [u8],
) -> u32 {
    let mut max = _mm512_set1_epi32(i32::MIN);
    for scores in scores.chunks(LANES) {
        let mask = first_lanes(scores.len());
        // SAFETY: what is masked out is not touched.
        max = unsafe { _mm512_mask_max_epi32(max, mask, max, load_lanes(mask, scores)) };
    }
    let max = _mm512_set1_epi32(_mm512_reduce_max_epi32(max));
    let (count, mult) = (_mm_cvtsi32_si128((shift % 32) as i32), Mult::splat(mult));
    let table = bytemuck::must_cast_ref::<_, [i8; EXP_ENTRIES]>(table).as_chunks::<BYTES>().0;
    let mut sum = _mm512_setzero_si512();
    for (scores, weights) in scores.chunks(BYTES).zip(weights.chunks_mut(BYTES)) {
        // Seven low bits of each place in the table, and three high ones.
        let mut places = [[_mm512_setzero_si512(); 4]; 2];
        for part in 0..4 {
            let scores = constants(scores, part * LANES);
            let difference = _mm512_sll_epi32(_mm512_sub_epi32(max, scores), count);
            let last = _mm512_set1_epi32(EXP_ENTRIES as i32 - 1);
            let place = _mm512_min_epu32(mulhi(difference, mult), last);
            places[0][part] = _mm512_and_si512(place, _mm512_set1_epi32(127));
            places[1][part] = _mm512_srli_epi32::<7>(place);
        }
        let [low, high] = places.map(|places| narrow(places));
        let mut found = _mm512_setzero_si512();
        for (index, part) in table.as_chunks::<2>().0.iter().enumerate() {
            let here = _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8(index as i8));
            let entries = _mm512_permutex2var_epi8(load(&part[0]), low, load(&part[1]));
            found = _mm512_mask_blend_epi8(here, found, entries);
        }
        let mask = first_bytes(scores.len().min(weights.len()));
        let found = _mm512_maskz_mov_epi8(mask, found);
        sum = _mm512_add_epi64(sum, _mm512_sad_epu8(found, _mm512_setzero_si512()));
        // SAFETY: what is masked out is not touched.
        unsafe { _mm512_mask_storeu_epi8(weights.as_mut_ptr().cast(), mask, found) };
    }
    _mm512_reduce_add_epi64(sum) as u32
}

/// Those of sixteen values that the mask names.
///
/// # Safety
/// The slice has them.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_lanes(mask: __mmask16, values: &[i32]) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_maskz_loadu_epi32(mask, values.as_ptr()) }
}

/// [`add_scaled`](super::super::add_scaled).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn add_scaled(x: &[i8], zero: i32, mult: i32, out: &mut [i16]) {
    let (zero, mult) = (_mm512_set1_epi32(zero), Mult::splat(mult));
    let count = x.len().min(out.len());
    let out = out.get_mut(..count).unwrap_or_default();
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
        add_lanes(x, zero, mult, out);
    }
}

/// [`add_scaled_channels`](super::super::add_scaled_channels).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn add_scaled_channels(
    x: &[i8],
    zeros: &[i32],
    mults: &[i32],
    out: &mut [i16],
) {
    let count = x.len().min(out.len()).min(zeros.len()).min(mults.len());
    let out = out.get_mut(..count).unwrap_or_default();
    for (step, (x, out)) in x.chunks(LANES).zip(out.chunks_mut(LANES)).enumerate() {
        let mult = Mult::new(constants(mults, step * LANES));
        add_lanes(x, constants(zeros, step * LANES), mult, out);
    }
}

/// Up to sixteen values scaled and added; those of `x` are no fewer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_lanes(x: &[i8], zero: __m512i, mult: Mult, out: &mut [i16]) {
    let mask = first_lanes(out.len().min(x.len()));
    // SAFETY: what is masked out is not touched.
    let x = unsafe { _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, x.as_ptr())) };
    let centred = _mm512_slli_epi32::<16>(_mm512_sub_epi32(x, zero));
    let values = _mm512_add_epi32(halfwords(out, 0), mulhi(centred, mult));
    // SAFETY: as above.
    unsafe { _mm256_mask_storeu_epi16(out.as_mut_ptr(), mask, _mm512_cvtsepi32_epi16(values)) };
}

/// [`dot`](super::super::dot).
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(in super::super) fn dot(bias: i32, w: &[i8], x: &[i8]) -> i32 {
    let flip = _mm512_set1_epi8(-128);
    let (mut sum, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (w, x) in w.chunks(BYTES).zip(x.chunks(BYTES)) {
        // Only what both have: behind the shorter one, values are 0.
        let (w, x) = (load(w), load(x));
        sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(x, flip), w);
        excess = _mm512_dpbusd_epi32(excess, flip, w);
    }
    bias.wrapping_add(_mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess)))
}

/// [`multiply_add`](super::super::multiply_add).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in super::super) fn multiply_add(x: &[i8], factor: i32, sums: &mut [i32]) {
    let factor = _mm512_set1_epi32(factor);
    let count = x.len().min(sums.len());
    let sums = sums.get_mut(..count).unwrap_or_default();
    for (x, sums) in x.chunks(LANES).zip(sums.chunks_mut(LANES)) {
        let mask = first_lanes(sums.len());
        // SAFETY: what is masked out is not touched; there are as many of `x`.
        unsafe {
            let x = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, x.as_ptr()));
            let sum = _mm512_add_epi32(load_lanes(mask, sums), _mm512_mullo_epi32(x, factor));
            _mm512_mask_storeu_epi32(sums.as_mut_ptr(), mask, sum);
        }
    }
}
