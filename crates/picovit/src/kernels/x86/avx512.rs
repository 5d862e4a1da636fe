//! AVX-512 with VNNI. VPDPBUSD multiplies unsigned by signed bytes: of two signed ones, one enters as
//! `v + 128`, and 128 times the sum of the other leaves again.

use core::arch::x86_64::*;

use super::super::block::Operand;
use super::super::wide::{Kernel, LANES, Lanes, Rows, Simd, Sums, simd};
use super::{narrow8, narrow16, requant};
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

simd!(Avx512, excess);

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

/// What [`rows`] has too much of: 128 times the sum of each token, if tokens have a sign.
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

/// Adds the products of the inputs from `at` on that the mask names.
///
/// # Safety
/// All slices have them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn step<T: Operand>(
    sums: [[__m512i; LANES]; TOKENS],
    rows: [&[i8]; LANES],
    tokens: [&[T]; TOKENS],
    at: usize,
    mask: __mmask64,
) -> [[__m512i; LANES]; TOKENS] {
    let [mut one, mut two] = sums;
    // SAFETY: the caller's promise.
    let [x, y] = unsafe { [load(tokens[0], at, mask), load(tokens[1], at, mask)] };
    for lane in 0..LANES {
        // SAFETY: as above.
        let w = unsafe { load(rows[lane], at, mask) };
        if T::SIGNED {
            let w = biased(w);
            one[lane] = _mm512_dpbusd_epi32(one[lane], w, x);
            two[lane] = _mm512_dpbusd_epi32(two[lane], w, y);
        } else {
            one[lane] = _mm512_dpbusd_epi32(one[lane], x, w);
            two[lane] = _mm512_dpbusd_epi32(two[lane], y, w);
        }
    }
    [one, two]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn rows<T: Operand>(weights: Rows<'_>, tokens: [&[T]; TOKENS]) -> Sums {
    let inputs = weights.inputs().min(tokens[0].len()).min(tokens[1].len());
    let mut rows: [&[i8]; LANES] = [&[]; LANES];
    for lane in 0..LANES {
        rows[lane] = weights.row(lane);
    }
    let mut sums = [[_mm512_setzero_si512(); LANES]; TOKENS];
    let mut at = 0;
    while at + BYTES <= inputs {
        // SAFETY: all slices have `inputs` values.
        sums = unsafe { step(sums, rows, tokens, at, !0) };
        at += BYTES;
    }
    if at < inputs {
        // SAFETY: as above. Bytes behind them meet a token of 0.
        sums = unsafe { step(sums, rows, tokens, at, first_bytes(inputs - at)) };
    }
    let [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]] = sums;
    let one = fold_quarters([fold4([a, b, c, d]), fold4([e, f, g, h])]);
    let two = fold_quarters([fold4([i, j, k, l]), fold4([m, n, o, p])]);
    store(fold_quarters([one, two]))
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
