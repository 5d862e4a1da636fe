//! Matrix products of [`Packing::Wide`] by AVX-512 with VNNI. Four bytes of a token are broadcast and
//! multiplied with those inputs of sixteen outputs, so that no sum needs folding; weights stay in
//! registers for some tokens, and sums until they have become outputs.

use core::arch::x86_64::*;

use super::super::block::{Block, Operand};
use super::super::layer::Int8;
use super::super::matmul::Matrix;
use super::is_avx512;
use super::lanes512::{
    BYTES, LANES, Mult, constants, first_bytes, first_lanes, mulhi, narrow, store,
};
use crate::format::packing::{WIDE_QUAD, WIDE_TILE};
use crate::format::{Packing, TOKENS};
use crate::rows::rows_mut;

const _: () = assert!(LANES == WIDE_TILE && BYTES == WIDE_TILE * WIDE_QUAD);

/// Tiles whose sums are in registers at a time.
const TILES: usize = 4;

/// Outputs of them.
const GROUP: usize = TILES * WIDE_TILE;

/// Tokens of a step of [`linear_int8_rows`].
const ROWS: usize = 4;

/// Sums of some tiles for each of some tokens.
type Sums<const N: usize, const M: usize> = [[__m512i; N]; M];

/// What becomes of the sums of a product with `M` tokens.
trait Sink<const M: usize> {
    /// Takes the sums of outputs from `first` on, those of them that there are.
    ///
    /// # Safety
    /// The processor has the instructions. Implementations are always inlined.
    unsafe fn take<const N: usize>(&mut self, first: usize, sums: Sums<N, M>, excess: [i32; M]);
}

/// A matrix of this packing and where it ends.
#[derive(Clone, Copy)]
struct Tiles<'a> {
    bytes: &'a [i8],
    /// Bytes of a tile, of which there are whole ones for all outputs.
    tile: usize,
    outputs: usize,
    quads: usize,
}

impl<'a> Tiles<'a> {
    /// None, if the matrix is of another kind or AVX-512 is not to be used.
    #[inline(always)]
    fn new(matrix: Matrix<'a>) -> Option<Self> {
        let Matrix { packing: Packing::Wide, outputs, inputs, bytes } = matrix else { return None };
        let tile = Packing::Wide.matrix_bytes(WIDE_TILE, inputs);
        let whole = outputs > 0 && inputs > 0 && bytes.len() >= outputs.div_ceil(WIDE_TILE) * tile;
        let quads = tile / (WIDE_TILE * WIDE_QUAD);
        (whole && is_avx512()).then_some(Self { bytes, tile, outputs, quads })
    }
}

/// The products of some outputs with `M` tokens.
///
/// # Safety
/// The processor has the instructions; the matrix has the outputs, which start with a tile, and each
/// token has `4 * quads` bytes.
#[inline(always)]
unsafe fn product<T: Operand, const M: usize>(
    tiles: Tiles<'_>,
    outputs: core::ops::Range<usize>,
    tokens: [*const u8; M],
    sink: &mut impl Sink<M>,
) {
    // SAFETY: the caller's promise; there are `tiles` or more tiles from `first` on.
    unsafe {
        let excess = if T::SIGNED { excess(tokens, 4 * tiles.quads) } else { [0; M] };
        let mut first = outputs.start;
        while first < outputs.end {
            let left = (outputs.end - first).div_ceil(WIDE_TILE);
            let place = tiles.bytes.as_ptr().add(first / WIDE_TILE * tiles.tile);
            if left >= TILES {
                let sums = sums::<T, TILES, M>(place, tiles, tokens);
                sink.take(first, sums, excess);
                first += GROUP;
            } else if left >= 2 {
                let sums = sums::<T, 2, M>(place, tiles, tokens);
                sink.take(first, sums, excess);
                first += 2 * WIDE_TILE;
            } else {
                let sums = sums::<T, 1, M>(place, tiles, tokens);
                sink.take(first, sums, excess);
                first += WIDE_TILE;
            }
        }
    }
}

/// Sums of some tiles; weights enter as `w + 128` where tokens have a sign.
///
/// # Safety
/// The processor has the instructions; there are `N` tiles from `place` on, and each token has
/// `4 * quads` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums<T: Operand, const N: usize, const M: usize>(
    place: *const i8,
    tiles: Tiles<'_>,
    tokens: [*const u8; M],
) -> Sums<N, M> {
    let mut sums = [[_mm512_setzero_si512(); N]; M];
    let flip = _mm512_set1_epi8(-128);
    for quad in 0..tiles.quads {
        let mut x = [flip; M];
        for token in 0..M {
            // SAFETY: the token has this quad.
            let four = unsafe { tokens[token].add(4 * quad).cast::<i32>().read_unaligned() };
            x[token] = _mm512_set1_epi32(four);
        }
        for tile in 0..N {
            // SAFETY: the tile has this quad.
            let w =
                unsafe { _mm512_loadu_si512(place.add(tile * tiles.tile + quad * BYTES).cast()) };
            let w = if T::SIGNED { _mm512_xor_si512(w, flip) } else { w };
            for token in 0..M {
                let sum = &mut sums[token][tile];
                *sum = if T::SIGNED {
                    _mm512_dpbusd_epi32(*sum, w, x[token])
                } else {
                    _mm512_dpbusd_epi32(*sum, x[token], w)
                };
            }
        }
    }
    sums
}

/// What `w + 128` adds to the sums of each token: 128 times its own sum.
///
/// # Safety
/// The processor has the instructions, and each token so many bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn excess<const M: usize>(tokens: [*const u8; M], bytes: usize) -> [i32; M] {
    let mut excess = [0; M];
    for token in 0..M {
        let mut sum = _mm512_setzero_si512();
        let mut at = 0;
        while at < bytes {
            // SAFETY: the caller's promise; what is masked out is not touched.
            let x = unsafe {
                _mm512_maskz_loadu_epi8(first_bytes(bytes - at), tokens[token].add(at).cast())
            };
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), x);
            at += BYTES;
        }
        excess[token] = _mm512_reduce_add_epi32(sum);
    }
    excess
}

/// Writes values, saturated to int8 and none below `low`, from `first` on as far as the row goes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn put8<const N: usize>(values: [__m512i; N], low: i8, row: &mut [i8], first: usize) {
    let row = row.get_mut(first..).unwrap_or_default();
    if let [a, b, c, d] = values[..] {
        return store(_mm512_max_epi8(narrow([a, b, c, d]), _mm512_set1_epi8(low)), row);
    }
    for (values, row) in values.into_iter().zip(row.chunks_mut(LANES)) {
        let bytes = _mm_max_epi8(_mm512_cvtsepi32_epi8(values), _mm_set1_epi8(low));
        // SAFETY: what is masked out is not touched.
        unsafe { _mm_mask_storeu_epi8(row.as_mut_ptr(), first_lanes(row.len()), bytes) };
    }
}

/// Rows that end with the last output.
#[inline(always)]
fn cut<'o, V, const M: usize>(rows: [&'o mut [V]; M], outputs: usize) -> [&'o mut [V]; M] {
    rows.map(|row| {
        let end = outputs.min(row.len());
        row.get_mut(..end).unwrap_or_default()
    })
}

/// Where the tokens of a block start, if it has both.
#[inline(always)]
fn both<T: Operand>(block: &Block<'_>, quads: usize) -> Option<[*const u8; TOKENS]> {
    let rows = block.rows::<T>();
    let fits =
        block.packing() == Packing::Wide && rows.iter().all(|r| r.len() == WIDE_QUAD * quads);
    fits.then(|| rows.map(|row| row.as_ptr().cast()))
}

/// Sums to int8.
struct ToInt8<'k, 'o, const M: usize> {
    constants: [&'k [i32]; 2],
    form: Int8,
    out: [&'o mut [i8]; M],
}

impl<const M: usize> Sink<M> for ToInt8<'_, '_, M> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn take<const N: usize>(&mut self, first: usize, sums: Sums<N, M>, excess: [i32; M]) {
        let Int8 { zero, low, shift } = self.form;
        let [bias, mult] = self.constants;
        let (zero, count) = (_mm512_set1_epi32(zero), _mm_cvtsi32_si128((shift % 32) as i32));
        let mut values = sums;
        for tile in 0..N {
            let bias = constants(bias, first + tile * LANES);
            let mult = Mult::new(constants(mult, first + tile * LANES));
            for token in 0..M {
                let bias = _mm512_sub_epi32(bias, _mm512_set1_epi32(excess[token]));
                let mut sum = _mm512_add_epi32(sums[token][tile], bias);
                if shift != 0 {
                    sum = _mm512_sll_epi32(sum, count);
                }
                values[token][tile] = _mm512_add_epi32(zero, mulhi(sum, mult));
            }
        }
        for token in 0..M {
            put8(values[token], low, self.out[token], first);
        }
    }
}

/// [`linear_int8`](super::super::linear_int8); whether it has been computed.
#[inline]
pub(in super::super) fn linear_int8(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    block: &Block<'_>,
    out: &mut [&mut [i8]; TOKENS],
) -> bool {
    let Some(tiles) = Tiles::new(matrix) else { return false };
    let Some(tokens) = both::<i8>(block, tiles.quads) else { return false };
    let [one, two] = out;
    let out = cut([one, two], tiles.outputs);
    // SAFETY: AVX-512 is current; matrix and tokens have been checked.
    unsafe { run::<i8, TOKENS>(tiles, tokens, ToInt8 { constants, form, out }) };
    true
}

/// All outputs of some tokens.
///
/// # Safety
/// As [`product`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run<T: Operand, const M: usize>(
    tiles: Tiles<'_>,
    tokens: [*const u8; M],
    mut sink: impl Sink<M>,
) {
    // SAFETY: the caller's promise.
    unsafe { product::<T, M>(tiles, 0..tiles.outputs, tokens, &mut sink) };
}

/// [`linear_int8_rows`](super::super::linear_int8_rows); whether it has been computed.
#[inline]
pub(in super::super) fn linear_int8_rows(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    block: &Block<'_>,
    out: &mut [i8],
) -> bool {
    let Some(tiles) = Tiles::new(matrix) else { return false };
    if block.packing() != Packing::Wide || block.inputs() != matrix.inputs {
        return false;
    }
    // SAFETY: AVX-512 is current; matrix and tokens have been checked.
    unsafe { all_rows(tiles, constants, form, block.all_rows(), out) };
    true
}

/// Groups of outputs, whose weights the nearest cache keeps, and of each all tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn all_rows(tiles: Tiles<'_>, constants: [&[i32]; 2], form: Int8, tokens: &[u8], out: &mut [i8]) {
    let (outputs, row) = (tiles.outputs, WIDE_QUAD * tiles.quads);
    let count = (out.len() / outputs).min(tokens.len() / row);
    for first in (0..outputs).step_by(GROUP) {
        let range = first..outputs.min(first + GROUP);
        let mut out =
            rows_mut(out, outputs).map(|row| row.get_mut(..range.end).unwrap_or_default());
        let mut token = 0;
        // SAFETY: the tokens are below `count`.
        let place = |token: usize| unsafe { tokens.as_ptr().add(token * row) };
        while token + ROWS <= count {
            let places = [place(token), place(token + 1), place(token + 2), place(token + 3)];
            let out = [(); ROWS].map(|()| out.next().unwrap_or_default());
            let mut sink = ToInt8 { constants, form, out };
            // SAFETY: the function's features; the tokens are below `count`.
            unsafe { product::<i8, ROWS>(tiles, range.clone(), places, &mut sink) };
            token += ROWS;
        }
        while token < count {
            let mut sink = ToInt8 { constants, form, out: [out.next().unwrap_or_default()] };
            // SAFETY: as above.
            unsafe { product::<i8, 1>(tiles, range.clone(), [place(token)], &mut sink) };
            token += 1;
        }
    }
}

/// Sums to the residual stream.
struct Add16<'k, 'o> {
    constants: [&'k [i32]; 2],
    shift: u32,
    out: [&'o mut [i16]; TOKENS],
}

impl Sink<TOKENS> for Add16<'_, '_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn take<const N: usize>(
        &mut self,
        first: usize,
        sums: Sums<N, TOKENS>,
        excess: [i32; TOKENS],
    ) {
        let [bias, mult] = self.constants;
        let count = _mm_cvtsi32_si128((self.shift % 32) as i32);
        for tile in 0..N {
            let first = first + tile * LANES;
            let (bias, mult) = (constants(bias, first), Mult::new(constants(mult, first)));
            for token in 0..TOKENS {
                let bias = _mm512_sub_epi32(bias, _mm512_set1_epi32(excess[token]));
                let sum = _mm512_sll_epi32(_mm512_add_epi32(sums[token][tile], bias), count);
                let row = self.out[token].get_mut(first..).unwrap_or_default();
                let (mask, place) = (first_lanes(row.len()), row.as_mut_ptr());
                // SAFETY: what is masked out is not touched.
                unsafe {
                    let x = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask, place));
                    let values = _mm512_cvtsepi32_epi16(_mm512_add_epi32(x, mulhi(sum, mult)));
                    _mm256_mask_storeu_epi16(place, mask, values);
                }
            }
        }
    }
}

/// [`linear_add16`](super::super::linear_add16); whether it has been computed.
#[inline]
pub(in super::super) fn linear_add16(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    shift: u32,
    block: &Block<'_>,
    out: &mut [&mut [i16]; TOKENS],
) -> bool {
    let Some(tiles) = Tiles::new(matrix) else { return false };
    let Some(tokens) = both::<i8>(block, tiles.quads) else { return false };
    let [one, two] = out;
    let out = cut([one, two], tiles.outputs);
    // SAFETY: AVX-512 is current; matrix and tokens have been checked.
    unsafe { run::<i8, TOKENS>(tiles, tokens, Add16 { constants, shift, out }) };
    true
}

/// Sums as they are.
struct Plain<'o> {
    out: [&'o mut [i32]; TOKENS],
}

impl Sink<TOKENS> for Plain<'_> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn take<const N: usize>(
        &mut self,
        first: usize,
        sums: Sums<N, TOKENS>,
        excess: [i32; TOKENS],
    ) {
        for token in 0..TOKENS {
            for tile in 0..N {
                let row = self.out[token].get_mut(first + tile * LANES..).unwrap_or_default();
                let sum = _mm512_sub_epi32(sums[token][tile], _mm512_set1_epi32(excess[token]));
                // SAFETY: what is masked out is not touched.
                unsafe { _mm512_mask_storeu_epi32(row.as_mut_ptr(), first_lanes(row.len()), sum) };
            }
        }
    }
}

/// [`scores`](super::super::scores); whether they have been computed.
#[inline]
pub(in super::super) fn scores(
    keys: Matrix<'_>,
    queries: &Block<'_>,
    out: &mut [&mut [i32]; TOKENS],
) -> bool {
    let Some(tiles) = Tiles::new(keys) else { return false };
    let Some(tokens) = both::<i8>(queries, tiles.quads) else { return false };
    let [one, two] = out;
    let out = cut([one, two], tiles.outputs);
    // SAFETY: AVX-512 is current; matrix and tokens have been checked.
    unsafe { run::<i8, TOKENS>(tiles, tokens, Plain { out }) };
    true
}

/// Sums by a multiplier for each token.
struct Weighted<'o> {
    mults: [i32; TOKENS],
    out: [&'o mut [i8]; TOKENS],
}

impl Sink<TOKENS> for Weighted<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn take<const N: usize>(
        &mut self,
        first: usize,
        sums: Sums<N, TOKENS>,
        _: [i32; TOKENS],
    ) {
        for token in 0..TOKENS {
            let mult = Mult::splat(self.mults[token]);
            let mut values = sums[token];
            for tile in 0..N {
                values[tile] = mulhi(values[tile], mult);
            }
            put8(values, i8::MIN, self.out[token], first);
        }
    }
}

/// [`weighted_sums`](super::super::weighted_sums); whether they have been computed.
#[inline]
pub(in super::super) fn weighted_sums(
    values: Matrix<'_>,
    weights: &Block<'_>,
    mults: [i32; TOKENS],
    out: &mut [&mut [i8]; TOKENS],
) -> bool {
    let Some(tiles) = Tiles::new(values) else { return false };
    let Some(tokens) = both::<u8>(weights, tiles.quads) else { return false };
    let [one, two] = out;
    let out = cut([one, two], tiles.outputs);
    // SAFETY: AVX-512 is current; matrix and tokens have been checked.
    unsafe { run::<u8, TOKENS>(tiles, tokens, Weighted { mults, out }) };
    true
}
