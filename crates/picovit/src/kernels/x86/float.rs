//! Sums of products of floats by AVX2 and F16C: the eight lanes of section 17 of `docs/arithmetic.md` in
//! one register, four rows at a time, so that no addition waits for the one before it. Conversion
//! from half precision is exact, multiplication and addition are two operations.

use core::arch::x86_64::*;

use bytemuck::Pod;

use super::super::float::LANES;
use super::super::isa::Isa;

/// Rows of a step.
const ROWS: usize = 4;

/// Whether these instructions are to be used.
#[inline]
pub(in super::super) fn is_current() -> bool {
    let vectors = matches!(Isa::current(), Isa::Avx2 | Isa::Avx512Vnni);
    #[cfg(feature = "std")]
    return vectors && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(not(feature = "std"))]
    return vectors && cfg!(target_feature = "f16c");
}

/// [`affine_f16`](super::super::float::affine_f16), or with `ADD`
/// [`add_affine_f16`](super::super::float::add_affine_f16).
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) fn affine<const ADD: bool>(
    weights: &[u16],
    bias: &[f32],
    x: &[f32],
    out: &mut [f32],
) {
    let count = out.len().min(bias.len());
    let out = out.get_mut(..count).unwrap_or_default();
    for (step, out) in out.chunks_mut(ROWS).enumerate() {
        let Some(rows) = rows(weights, x.len(), step * ROWS, out.len()) else { return };
        let bias = some(bias.get(step * ROWS..).unwrap_or_default());
        let sums = _mm_add_ps(dots(rows, x), bias);
        put(if ADD { _mm_add_ps(some(out), sums) } else { sums }, out);
    }
}

/// [`scores_f32`](super::super::float::scores_f32).
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) fn scores(query: &[f32], keys: &[f32], scale: f32, out: &mut [f32]) {
    for (step, out) in out.chunks_mut(ROWS).enumerate() {
        let Some(rows) = rows(keys, query.len(), step * ROWS, out.len()) else { return };
        put(_mm_mul_ps(dots(rows, query), _mm_set1_ps(scale)), out);
    }
}

/// `count` rows of `width` values from row `first` on; the last one again where there is none.
#[inline(always)]
fn rows<T>(values: &[T], width: usize, first: usize, count: usize) -> Option<[&[T]; ROWS]> {
    let mut rows: [&[T]; ROWS] = [&[]; ROWS];
    for (lane, row) in rows.iter_mut().enumerate() {
        let index = first + lane.min(count.checked_sub(1)?);
        *row = values.get(index * width..(index + 1) * width)?;
    }
    (width > 0).then_some(rows)
}

/// The dot product of `x` with each of four rows that are as long.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn dots<T: Pod>(rows: [&[T]; ROWS], x: &[f32]) -> __m128 {
    let mut sums = [_mm256_setzero_ps(); ROWS];
    let (steps, rest) = x.as_chunks::<LANES>();
    let [a, b, c, d] = rows.map(|row| row.as_chunks::<LANES>().0);
    for ((((x, a), b), c), d) in steps.iter().zip(a).zip(b).zip(c).zip(d) {
        add_products(&mut sums, [a, b, c, d], x);
    }
    if !rest.is_empty() {
        // A lane is never -0, so adding 0 times 0 leaves it as it is.
        let rows = rows.map(|row| first(row.as_chunks::<LANES>().1));
        add_products(&mut sums, rows.each_ref(), &first(rest));
    }
    // Lanes 0 and 4, 1 and 5 and so on of every row, then those of all rows side by side.
    let mut halves = [_mm_setzero_ps(); ROWS];
    for (half, sum) in halves.iter_mut().zip(sums) {
        *half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    }
    let [a, b, c, d] = halves;
    let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab))
}

/// Adds a product to every lane of four sums.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn add_products<T: Pod>(sums: &mut [__m256; ROWS], rows: [&[T; LANES]; ROWS], x: &[f32; LANES]) {
    // SAFETY: an array of eight values.
    let x = unsafe { _mm256_loadu_ps(x.as_ptr()) };
    for (sum, row) in sums.iter_mut().zip(rows) {
        *sum = _mm256_add_ps(*sum, _mm256_mul_ps(load(row), x));
    }
}

/// Eight values, of half precision or floats already.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load<T: Pod>(values: &[T; LANES]) -> __m256 {
    const { assert!(size_of::<T>() == 2 || size_of::<T>() == 4) };
    // SAFETY: an array of eight values, of the size that is read.
    unsafe {
        if size_of::<T>() == 2 {
            _mm256_cvtph_ps(_mm_loadu_si128(values.as_ptr().cast()))
        } else {
            _mm256_loadu_ps(values.as_ptr().cast())
        }
    }
}

/// The first values, 0 where there are none.
#[inline(always)]
fn first<T: Pod, const N: usize>(values: &[T]) -> [T; N] {
    let mut lanes = [T::zeroed(); N];
    lanes.iter_mut().zip(values).for_each(|(lane, &value)| *lane = value);
    lanes
}

/// The first four values, 0 where there are none.
#[inline]
#[target_feature(enable = "avx2")]
fn some(values: &[f32]) -> __m128 {
    let lanes = match values.first_chunk::<ROWS>() {
        Some(lanes) => *lanes,
        None => first(values),
    };
    // SAFETY: an array of four values.
    unsafe { _mm_loadu_ps(lanes.as_ptr()) }
}

/// Writes the first of four values, as many as there is place for.
#[inline]
#[target_feature(enable = "avx2")]
fn put(values: __m128, out: &mut [f32]) {
    let mut lanes = [0.0; ROWS];
    // SAFETY: an array of four values.
    unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), values) };
    match out.first_chunk_mut() {
        Some(out) => *out = lanes,
        None => out.iter_mut().zip(lanes).for_each(|(out, lane)| *out = lane),
    }
}
