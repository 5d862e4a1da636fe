//! AVX2. VPMADDWD multiplies bytes that are extended to 16 bits: exact for all operands, which
//! VPMADDUBSW, saturating, is not.

use core::arch::x86_64::*;

use super::super::block::Operand;
use super::super::wide::{Kernel, LANES, Lanes, Rows, Simd, Sums, outputs};
use super::super::winograd4_tiles::{TILES, TilePairs, TileSums};
use super::{lanes, narrow8, narrow16, requant};
use crate::format::packing::{WIDE_QUAD, WIDE_TILE};
use crate::format::{PATCH_CHANNELS, TOKENS};

/// Inputs of a step: bytes of half a register.
const STEP: usize = 16;

/// Proof that the processor has it: made in [`run`] alone.
#[derive(Clone, Copy)]
struct Avx2(());

/// Runs a kernel.
#[target_feature(enable = "avx2")]
pub(in super::super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

impl Simd for Avx2 {
    #[inline(always)]
    fn rows<T: Operand>(self, weights: Rows<'_>, tokens: [&[T]; TOKENS], _: [i32; TOKENS]) -> Sums {
        // SAFETY: `self` proves that the instructions exist.
        let [first, last] = unsafe { [rows(weights, 0, tokens), rows(weights, 4, tokens)] };
        interleave(first, last)
    }

    #[inline(always)]
    fn tiles<T: Operand>(self, tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
        // SAFETY: `self` proves that the instructions exist.
        let [first, last] = unsafe { self::tiles(tiles, tokens) };
        interleave(first, last)
    }

    #[inline(always)]
    fn sixteen<T: Operand>(self, tile: &[i8], tokens: [&[T]; TOKENS]) -> [Sums; 2] {
        // SAFETY: `self` proves that the instructions exist.
        unsafe { sixteen(tile, tokens) }
    }

    #[inline(always)]
    fn add_pairs(self, sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums {
        // SAFETY: `self` proves that the instructions exist.
        unsafe { add_pairs(sums, weights, patches) }
    }

    outputs!();
}

/// Adds the products of four inputs of sixteen outputs, each sum still in two parts.
///
/// # Safety
/// `weights` has 64 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn quad(sums: &mut [[__m256i; 4]; TOKENS], weights: *const i8, tokens: [__m256i; TOKENS]) {
    for four in 0..4 {
        // SAFETY: the caller's promise.
        let w = unsafe { _mm_loadu_si128(weights.add(STEP * four).cast()) };
        let w = _mm256_cvtepi8_epi16(w);
        for token in 0..TOKENS {
            let products = _mm256_madd_epi16(w, tokens[token]);
            sums[token][four] = _mm256_add_epi32(sums[token][four], products);
        }
    }
}

/// [`Simd::sixteen`].
#[inline]
#[target_feature(enable = "avx2")]
fn sixteen<T: Operand>(tile: &[i8], tokens: [&[T]; TOKENS]) -> [Sums; 2] {
    let mut sums = [[_mm256_setzero_si256(); 4]; TOKENS];
    let inputs = tokens[0].len().min(tokens[1].len()).min(tile.len() / WIDE_TILE);
    for at in (0..inputs / WIDE_QUAD * WIDE_QUAD).step_by(WIDE_QUAD) {
        // SAFETY: `at` and the three inputs after it are below the length of all slices.
        unsafe {
            let four = |token: &[T]| token.as_ptr().add(at).cast::<i32>().read_unaligned();
            let two = [four(tokens[0]), four(tokens[1])];
            let two = [_mm_cvtsi32_si128(two[0]), _mm_cvtsi32_si128(two[1])];
            let two = [extended::<T>(two[0]), extended::<T>(two[1])];
            let two =
                [_mm256_permute4x64_epi64::<0>(two[0]), _mm256_permute4x64_epi64::<0>(two[1])];
            quad(&mut sums, tile.as_ptr().add(WIDE_TILE * at), two);
        }
    }
    // Four sums of a token in order, from two registers with two parts of each.
    let eight = |a, b| lanes(_mm256_permute4x64_epi64::<0b1101_1000>(_mm256_hadd_epi32(a, b)));
    let [[a, b, c, d], [e, f, g, h]] = sums;
    [[eight(a, b), eight(e, f)], [eight(c, d), eight(g, h)]]
}

/// [`Simd::add_pairs`].
#[inline]
#[target_feature(enable = "avx2")]
fn add_pairs(sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums {
    // SAFETY: as many bytes of which any are valid.
    let mut sums: [[__m256i; 2]; TILES] = unsafe { core::mem::transmute(sums) };
    for (pair, weights) in weights.iter().enumerate().take(PATCH_CHANNELS / 2) {
        // SAFETY: there are 64 bytes.
        let w: [__m256i; 2] = unsafe { weights.as_ptr().cast::<[__m256i; 2]>().read_unaligned() };
        for tile in 0..TILES {
            // SAFETY: there are so many patches of so many values.
            let x = unsafe { patches.as_ptr().add(tile * PATCH_CHANNELS + 2 * pair) };
            // SAFETY: as above.
            let x = _mm256_set1_epi32(unsafe { x.cast::<i32>().read_unaligned() });
            for half in 0..2 {
                let products = _mm256_madd_epi16(w[half], x);
                sums[tile][half] = _mm256_add_epi32(sums[tile][half], products);
            }
        }
    }
    // SAFETY: as above.
    unsafe { core::mem::transmute(sums) }
}

/// Four sums of each token, then four more.
#[inline(always)]
fn interleave(first: [[i32; 4]; TOKENS], last: [[i32; 4]; TOKENS]) -> Sums {
    let [[a, b], [c, d]] = [first, last];
    bytemuck::must_cast([a, c, b, d])
}

/// [`STEP`] bytes from `at` on. Unless `WHOLE`, 0 where the slice has ended.
///
/// # Safety
/// With `WHOLE`, the slice has so many.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load<const WHOLE: bool, T: bytemuck::Pod>(values: &[T], at: usize) -> __m128i {
    const { assert!(size_of::<T>() == 1) };
    if WHOLE {
        // SAFETY: the caller's promise.
        return unsafe { _mm_loadu_si128(values.as_ptr().add(at).cast()) };
    }
    let mut bytes = [T::zeroed(); STEP];
    let rest = values.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(chunk) => bytes = *chunk,
        None => bytes.iter_mut().zip(rest).for_each(|(byte, &value)| *byte = value),
    }
    // SAFETY: both are 16 bytes of which any are valid.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Tokens with 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn extended<T: Operand>(bytes: __m128i) -> __m256i {
    if T::SIGNED { _mm256_cvtepi8_epi16(bytes) } else { _mm256_cvtepu8_epi16(bytes) }
}

/// Adds the products of [`STEP`] inputs from `at` on.
///
/// # Safety
/// With `WHOLE`, all slices have so many.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn step<const WHOLE: bool, T: Operand>(
    sums: &mut [[__m256i; 4]; TOKENS],
    weights: [&[i8]; 4],
    tokens: [&[T]; TOKENS],
    at: usize,
) {
    // SAFETY: the caller's promise.
    let x = unsafe { [load::<WHOLE, T>(tokens[0], at), load::<WHOLE, T>(tokens[1], at)] };
    let x = [extended::<T>(x[0]), extended::<T>(x[1])];
    for lane in 0..4 {
        // SAFETY: the caller's promise.
        let w = _mm256_cvtepi8_epi16(unsafe { load::<WHOLE, i8>(weights[lane], at) });
        for token in 0..TOKENS {
            let products = _mm256_madd_epi16(w, x[token]);
            sums[token][lane] = _mm256_add_epi32(sums[token][lane], products);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn rows<T: Operand>(weights: Rows<'_>, first: usize, tokens: [&[T]; TOKENS]) -> [[i32; 4]; TOKENS] {
    let inputs = weights.inputs().min(tokens[0].len()).min(tokens[1].len());
    let mut rows: [&[i8]; 4] = [&[]; 4];
    for lane in 0..4 {
        rows[lane] = weights.row(first + lane);
    }
    let mut sums = [[_mm256_setzero_si256(); 4]; TOKENS];
    let whole = inputs / STEP * STEP;
    for at in (0..whole).step_by(STEP) {
        // SAFETY: `at` and the 15 after it are below the length of all slices.
        unsafe { step::<true, T>(&mut sums, rows, tokens, at) };
    }
    if whole < inputs {
        // What follows the inputs in a row meets a token of 0.
        // SAFETY: not whole.
        unsafe { step::<false, T>(&mut sums, rows, tokens, whole) };
    }
    store(fold4(sums[0]), fold4(sums[1]))
}

/// In each half, the half's sums of four registers.
#[inline]
#[target_feature(enable = "avx2")]
fn fold4([a, b, c, d]: [__m256i; 4]) -> __m256i {
    _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d))
}

/// Sums of the halves of two registers.
#[inline]
#[target_feature(enable = "avx2")]
fn store(one: __m256i, two: __m256i) -> [[i32; 4]; TOKENS] {
    let low = _mm256_permute2x128_si256::<0x20>(one, two);
    let high = _mm256_permute2x128_si256::<0x31>(one, two);
    // SAFETY: both are 32 bytes of which any are valid.
    unsafe { core::mem::transmute(_mm256_add_epi32(low, high)) }
}

/// Sums of the even and of the odd channels of two tiles, as the weights lie.
#[derive(Clone, Copy)]
struct Tiles {
    even: [[__m256i; 2]; TOKENS],
    odd: [[__m256i; 2]; TOKENS],
}

/// Inputs of a step over tiles.
const TILE_STEP: usize = 8;

impl Tiles {
    /// Adds the products of [`TILE_STEP`] inputs from `at` on.
    ///
    /// # Safety
    /// With `WHOLE`, the tokens have as many and the tiles four times.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn step<const WHOLE: bool, T: Operand>(
        &mut self,
        tiles: [&[i8]; 2],
        tokens: [&[T]; TOKENS],
        at: usize,
    ) {
        // Inputs 0, 2, 0, 2, 1, 3, 1, 3 of four, as the weights lie: bytes at the upper end of 16
        // bits.
        let z = -1;
        let quad = _mm256_setr_epi8(
            z, 0, z, 2, z, 0, z, 2, z, 1, z, 3, z, 1, z, 3, //
            z, 4, z, 6, z, 4, z, 6, z, 5, z, 7, z, 5, z, 7,
        );
        let mut x = [_mm256_setzero_si256(); TOKENS];
        for token in 0..TOKENS {
            let bytes = if WHOLE {
                // SAFETY: the caller's promise.
                unsafe { _mm_loadl_epi64(tokens[token].as_ptr().add(at).cast()) }
            } else {
                // SAFETY: not whole.
                unsafe { load::<false, T>(tokens[token], at) }
            };
            let high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), quad);
            x[token] =
                if T::SIGNED { _mm256_srai_epi16::<8>(high) } else { _mm256_srli_epi16::<8>(high) };
        }
        for tile in 0..2 {
            let start = 4 * at;
            // SAFETY: the caller's promise.
            let halves = unsafe {
                [
                    load::<WHOLE, i8>(tiles[tile], start),
                    load::<WHOLE, i8>(tiles[tile], start + STEP),
                ]
            };
            let packed = _mm256_set_m128i(halves[1], halves[0]);
            // A halfword is `256 * odd + even`.
            let low = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(packed));
            let high = _mm256_srai_epi16::<8>(_mm256_add_epi16(packed, _mm256_set1_epi16(0x80)));
            for token in 0..TOKENS {
                let products = _mm256_madd_epi16(low, x[token]);
                self.even[token][tile] = _mm256_add_epi32(self.even[token][tile], products);
                let products = _mm256_madd_epi16(high, x[token]);
                self.odd[token][tile] = _mm256_add_epi32(self.odd[token][tile], products);
            }
        }
    }

    /// Channels 0 to 3 of a tile, in each half.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn channels(&self, token: usize, tile: usize) -> __m256i {
        let (even, odd) = (self.even[token][tile], self.odd[token][tile]);
        let [low, high] = [_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd)];
        _mm256_add_epi32(low, high)
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn tiles<T: Operand>(tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> [[[i32; 4]; TOKENS]; 2] {
    let zero = [[_mm256_setzero_si256(); 2]; TOKENS];
    let mut sums = Tiles { even: zero, odd: zero };
    let inputs = tokens[0].len().min(tokens[1].len());
    let whole = inputs.min(tiles[0].len().min(tiles[1].len()) / 4) / TILE_STEP * TILE_STEP;
    for at in (0..whole).step_by(TILE_STEP) {
        // SAFETY: `at` and the 7 inputs after it are below `whole`.
        unsafe { sums.step::<true, T>(tiles, tokens, at) };
    }
    for at in (whole..inputs).step_by(TILE_STEP) {
        // SAFETY: not whole.
        unsafe { sums.step::<false, T>(tiles, tokens, at) };
    }
    let tile = |tile: usize| store(sums.channels(0, tile), sums.channels(1, tile));
    [tile(0), tile(1)]
}
