//! AVX-512 with VNNI. VPDPBUSD multiplies unsigned by signed bytes: of two signed ones, one enters as
//! `v + 128`, and 128 times the sum of the other leaves again.

use core::arch::x86_64::*;

use super::super::block::Operand;
use super::super::layer::Int8;
use super::super::wide::{Kernel, LANES, Lanes, Rows, Simd, Sums, outputs};
use super::{narrow8, narrow16, register, requant};
use crate::format::TOKENS;

/// Bytes of a register.
const BYTES: usize = 64;

/// Inputs of a tile that a register holds.
const TILE_INPUTS: usize = BYTES / 4;

/// Proof that the processor has it: made in [`run`] alone.
#[derive(Clone, Copy)]
struct Avx512(());

/// Runs a kernel.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

impl Simd for Avx512 {
    #[inline(always)]
    fn excess<T: Operand>(self, tokens: [&[T]; TOKENS]) -> [i32; TOKENS] {
        // SAFETY: `self` proves that the instructions exist.
        unsafe { excess(tokens) }
    }

    #[inline(always)]
    fn rows<T: Operand>(
        self,
        weights: Rows<'_>,
        tokens: [&[T]; TOKENS],
        excess: [i32; TOKENS],
    ) -> Sums {
        // SAFETY: `self` proves that the instructions exist.
        unsafe { rows(weights, tokens, excess) }
    }

    #[inline(always)]
    fn tiles<T: Operand>(self, tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
        // SAFETY: `self` proves that the instructions exist.
        unsafe { self::tiles(tiles, tokens) }
    }

    outputs!();

    #[inline(always)]
    fn int8(self, sums: Sums, constants: [Lanes; 2], form: Int8) -> [[i8; LANES]; TOKENS] {
        // SAFETY: `self` proves that the instructions exist.
        unsafe { int8(sums, constants, form) }
    }
}

/// The first `left` bytes of a register, or all.
#[inline(always)]
fn first_bytes(left: usize) -> __mmask64 {
    if left >= BYTES { !0 } else { (1 << left) - 1 }
}

/// The values from `at` on that the mask names, the rest 0.
///
/// # Safety
/// Those that the mask names are in the slice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load<T: bytemuck::Pod>(values: &[T], at: usize, mask: __mmask64) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: the caller's promise; memory that is masked out is not touched.
    unsafe { _mm512_maskz_loadu_epi8(mask, values.as_ptr().wrapping_add(at).cast()) }
}

/// Tokens as unsigned bytes.
#[inline]
#[target_feature(enable = "avx512f")]
fn unsigned<T: Operand>(tokens: __m512i) -> __m512i {
    if T::SIGNED { biased(tokens) } else { tokens }
}

/// Weights, or tokens of a sign, as unsigned bytes.
#[inline]
#[target_feature(enable = "avx512f")]
fn biased(bytes: __m512i) -> __m512i {
    _mm512_xor_si512(bytes, _mm512_set1_epi8(-128))
}

/// What biased weights add to the sums of each token: 128 times its own sum, if it has a sign.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn excess<T: Operand>(tokens: [&[T]; TOKENS]) -> [i32; TOKENS] {
    if !T::SIGNED {
        return [0; TOKENS];
    }
    let mut excess = [0; TOKENS];
    for token in 0..TOKENS {
        let mut sum = _mm512_setzero_si512();
        let inputs = tokens[token].len();
        for at in (0..inputs).step_by(BYTES) {
            // SAFETY: the mask names what the token has.
            let x = unsafe { load(tokens[token], at, first_bytes(inputs - at)) };
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), x);
        }
        excess[token] = _mm512_reduce_add_epi32(sum);
    }
    excess
}

/// Adds products of weights, biased if tokens have a sign, with a token.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn products<T: Operand>(sum: __m512i, w: __m512i, x: __m512i) -> __m512i {
    if T::SIGNED { _mm512_dpbusd_epi32(sum, w, x) } else { _mm512_dpbusd_epi32(sum, x, w) }
}

/// Adds the products of the inputs from `at` on that the mask names.
///
/// # Safety
/// The processor has the instructions, and all slices those inputs.
#[inline(always)]
unsafe fn step<T: Operand>(
    sums: &mut [[__m512i; LANES]; TOKENS],
    rows: [&[i8]; LANES],
    tokens: [&[T]; TOKENS],
    at: usize,
    mask: __mmask64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let [x, y] = [load(tokens[0], at, mask), load(tokens[1], at, mask)];
        for lane in 0..LANES {
            let w = load(rows[lane], at, mask);
            let w = if T::SIGNED { biased(w) } else { w };
            sums[0][lane] = products::<T>(sums[0][lane], w, x);
            sums[1][lane] = products::<T>(sums[1][lane], w, y);
        }
    }
}

/// Sums of rows of any length.
///
/// # Safety
/// The processor has the instructions, and all slices have `inputs` values.
#[inline(always)]
unsafe fn long_rows<T: Operand>(
    rows: [&[i8]; LANES],
    tokens: [&[T]; TOKENS],
    inputs: usize,
) -> __m512i {
    // SAFETY: the caller's promise; bytes behind the inputs meet a token of 0.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); LANES]; TOKENS];
        let mut at = 0;
        while at + BYTES <= inputs {
            step(&mut sums, rows, tokens, at, !0);
            at += BYTES;
        }
        if at < inputs {
            step(&mut sums, rows, tokens, at, first_bytes(inputs - at));
        }
        let [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]] = sums;
        let one = fold_quarters([fold4([a, b, c, d]), fold4([e, f, g, h])]);
        let two = fold_quarters([fold4([i, j, k, l]), fold4([m, n, o, p])]);
        fold_quarters([one, two])
    }
}

/// Sums of rows of at most half a register: two rows share one, and are transposed, which takes fewer
/// shuffles than to fold their sums.
///
/// # Safety
/// The processor has the instructions, and all slices have `inputs` values.
#[inline(always)]
unsafe fn short_rows<T: Operand>(
    rows: [&[i8]; LANES],
    tokens: [&[T]; TOKENS],
    inputs: usize,
) -> __m512i {
    // SAFETY: the caller's promise; memory that is masked out is not touched.
    unsafe {
        let mask = first_bytes(inputs) as __mmask32;
        let mut w = [_mm512_setzero_si512(); 4];
        for lane in 0..4 {
            let low = _mm256_maskz_loadu_epi8(mask, rows[lane].as_ptr());
            let high = _mm256_maskz_loadu_epi8(mask, rows[lane + 4].as_ptr());
            w[lane] = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            w[lane] = if T::SIGNED { biased(w[lane]) } else { w[lane] };
        }
        // In each quarter, four inputs of each of four rows.
        let [a, b, c, d] = w;
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let [first, second] = [_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd)];
        let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        let [third, fourth] = [_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd)];
        let mut sums = [_mm512_setzero_si512(); TOKENS];
        for token in 0..TOKENS {
            let x = _mm256_maskz_loadu_epi8(mask, tokens[token].as_ptr().cast());
            let x = _mm512_broadcast_i64x4(x);
            let mut sum = sums[token];
            sum = products::<T>(sum, first, _mm512_shuffle_epi32::<0x00>(x));
            sum = products::<T>(sum, second, _mm512_shuffle_epi32::<0x55>(x));
            sum = products::<T>(sum, third, _mm512_shuffle_epi32::<0xaa>(x));
            sums[token] = products::<T>(sum, fourth, _mm512_shuffle_epi32::<0xff>(x));
        }
        fold_quarters(sums)
    }
}

/// [`Simd::rows`]. Too long for the compiler to inline unless told to, which costs a fifth of a short
/// product's time.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn rows<T: Operand>(
    weights: Rows<'_>,
    tokens: [&[T]; TOKENS],
    excess: [i32; TOKENS],
) -> Sums {
    let inputs = weights.inputs().min(tokens[0].len()).min(tokens[1].len());
    let mut rows: [&[i8]; LANES] = [&[]; LANES];
    for lane in 0..LANES {
        rows[lane] = weights.row(lane);
    }
    // SAFETY: the caller's promise; all slices have `inputs` values.
    unsafe {
        let sums = if inputs <= BYTES / 2 {
            short_rows(rows, tokens, inputs)
        } else {
            long_rows(rows, tokens, inputs)
        };
        let [x, y] = [_mm512_set1_epi32(excess[0]), _mm512_set1_epi32(excess[1])];
        store(_mm512_sub_epi32(sums, _mm512_mask_blend_epi32(0xff00, x, y)))
    }
}

/// In each quarter, the quarter's sums of four registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold4([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}

/// Sums of neighbouring quarters of the first, then of the second.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_quarters([a, b]: [__m512i; 2]) -> __m512i {
    _mm512_add_epi32(_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b))
}

/// The values of a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn store(values: __m512i) -> Sums {
    // SAFETY: both are 64 bytes of which any are valid.
    unsafe { core::mem::transmute(values) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tiles<T: Operand>(tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
    let zero = _mm512_setzero_si512();
    // The even channels' bytes stand as they are, the odd ones' have been borrowed from.
    let borrow = _mm512_set1_epi16(0x80);
    // From inputs (0, 2), (1, 3) of channels (0, 1), (2, 3) to the inputs of each channel.
    let channels =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 2, 10, 1, 9, 3, 11, 4, 12, 6, 14, 5, 13, 7, 15));
    // The first four tokens in the first quarter, and so on.
    let spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    let (mut sums, mut excess) = ([[zero; 2]; TOKENS], [zero; 2]);
    let inputs = tokens[0].len().min(tokens[1].len());
    let bytes = tiles[0].len().min(tiles[1].len());
    for (step, at) in (0..inputs).step_by(TILE_INPUTS).enumerate() {
        let mask = first_bytes((inputs - at).min(TILE_INPUTS));
        let tile_mask = first_bytes(bytes.saturating_sub(BYTES * step));
        let mut x = [zero; TOKENS];
        for token in 0..TOKENS {
            // SAFETY: both tokens have `inputs` values.
            let values = unsafe { load(tokens[token], at, mask) };
            x[token] = _mm512_permutexvar_epi32(spread, unsigned::<T>(values));
        }
        for tile in 0..2 {
            // SAFETY: both tiles have `bytes` values.
            let packed = unsafe { load(tiles[tile], BYTES * step, tile_mask) };
            let odd = _mm512_add_epi16(packed, borrow);
            let mixed = _mm512_mask_blend_epi8(0xaaaa_aaaa_aaaa_aaaa, packed, odd);
            let w = _mm512_shuffle_epi8(mixed, channels);
            for token in 0..TOKENS {
                sums[token][tile] = _mm512_dpbusd_epi32(sums[token][tile], x[token], w);
            }
            if T::SIGNED {
                excess[tile] = _mm512_dpbusd_epi32(excess[tile], _mm512_set1_epi8(-128), w);
            }
        }
    }
    let mut folded = [zero; TOKENS];
    for token in 0..TOKENS {
        let [one, two] = sums[token];
        let one = _mm512_sub_epi32(one, excess[0]);
        folded[token] = fold_quarters([one, _mm512_sub_epi32(two, excess[1])]);
    }
    store(fold_quarters(folded))
}

/// [`Simd::int8`], for both tokens at once.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn int8(sums: Sums, constants: [Lanes; 2], form: Int8) -> [[i8; LANES]; TOKENS] {
    let Int8 { zero, low, shift } = form;
    let [bias, m] = constants.map(|values| _mm512_broadcast_i64x4(register(values)));
    // SAFETY: both are 64 bytes of which any are valid.
    let sums: __m512i = unsafe { core::mem::transmute(sums) };
    // Shifts are below 32; others would be taken modulo 32.
    let count = _mm_cvtsi32_si128((shift % 32) as i32);
    let a = _mm512_sll_epi32(_mm512_add_epi32(sums, bias), count);
    let half = _mm512_set1_epi64(1 << 31);
    // Products of the even lanes, and of the odd ones.
    let even = _mm512_add_epi64(_mm512_mul_epi32(a, m), half);
    let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(m));
    let odd = _mm512_add_epi64(odd, half);
    let high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
    let values = _mm512_add_epi32(_mm512_set1_epi32(zero), high);
    let bytes = _mm_max_epi8(_mm512_cvtsepi32_epi8(values), _mm_set1_epi8(low));
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { core::mem::transmute(bytes) }
}
