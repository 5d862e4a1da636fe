//! Matrix products of [`Packing::Wide`] by AVX-512 with VNNI. Four bytes of a token are broadcast and
//! multiplied with those inputs of sixteen outputs, so that no sum needs folding; weights stay in
//! registers for some tokens, and sums until they have become outputs.

use core::arch::x86_64::*;
use core::ops::Range;

use super::super::block::{Block, Operand};
use super::super::layer::Int8;
use super::super::matmul::Matrix;
use super::is_avx512;
use super::lanes512::{BYTES, LANES, constants, first_bytes};
use super::sinks512::{Add16, Many, Plain, Sink, Sums, ToInt8, Weighted};
use crate::format::packing::{WIDE_QUAD, WIDE_TILE};
use crate::format::{Packing, TOKENS};

const _: () = assert!(LANES == WIDE_TILE && BYTES == WIDE_TILE * WIDE_QUAD);

/// Tiles whose sums are in registers at a time.
const TILES: usize = 4;

/// Outputs of them.
const GROUP: usize = TILES * WIDE_TILE;

/// Tokens of a step, where there are many.
pub(super) const ROWS: usize = 4;

/// Tokens whose sums are known before their products are taken.
const PART: usize = 32;

/// Where the values of a token lie.
#[derive(Clone, Copy)]
pub(super) struct Token {
    /// The first line.
    pub(super) place: *const u8,
    /// Bytes from a line to the next one.
    pub(super) step: usize,
}

/// A matrix of this packing and where it ends.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    bytes: &'a [i8],
    /// Bytes of a tile, of which there are whole ones for all outputs.
    tile: usize,
    outputs: usize,
    /// Lines that a token consists of: rows of a convolution's window, or one.
    lines: usize,
    /// Quads of a line.
    quads: usize,
}

impl<'a> Tiles<'a> {
    /// None, if the matrix is of another kind or AVX-512 is not to be used.
    #[inline(always)]
    fn new(matrix: Matrix<'a>) -> Option<Self> {
        let Matrix { packing: Packing::Wide, outputs, inputs, bytes } = matrix else { return None };
        let tile = Packing::Wide.matrix_bytes(WIDE_TILE, inputs);
        let all = Packing::Wide.matrix_bytes(outputs, inputs);
        let whole = outputs > 0 && inputs > 0 && bytes.len() >= all;
        let quads = tile / (WIDE_TILE * WIDE_QUAD);
        (whole && is_avx512()).then_some(Self { bytes, tile, outputs, lines: 1, quads })
    }

    /// With so many lines of tokens, if they have whole quads.
    #[inline(always)]
    pub(super) fn with_lines(matrix: Matrix<'a>, lines: usize) -> Option<Self> {
        let line = matrix.inputs.checked_div(lines)?;
        let fits = line * lines == matrix.inputs && line.is_multiple_of(WIDE_QUAD);
        let tiles = Self::new(matrix).filter(|_| fits)?;
        Some(Self { lines, quads: line / WIDE_QUAD, ..tiles })
    }

    /// Bytes of a token's line.
    #[inline(always)]
    pub(super) fn line_bytes(&self) -> usize {
        WIDE_QUAD * self.quads
    }

    /// Bytes of a token whose lines lie one after the other.
    #[inline(always)]
    pub(super) fn token_bytes(&self) -> usize {
        self.lines * self.line_bytes()
    }
}

/// The products of some outputs with `M` tokens from `token` on.
///
/// # Safety
/// The processor has the instructions; the matrix has the outputs, which start with a tile, and each
/// token has the matrix's lines.
#[inline(always)]
unsafe fn product<T: Operand, const M: usize>(
    tiles: Tiles<'_>,
    outputs: Range<usize>,
    (tokens, excess): ([Token; M], [i32; M]),
    token: usize,
    sink: &mut impl Sink,
) {
    // SAFETY: the caller's promise; there are as many tiles from `first` on.
    unsafe {
        let mut first = outputs.start;
        while first < outputs.end {
            let left = (outputs.end - first).div_ceil(WIDE_TILE);
            let place = tiles.bytes.as_ptr().add(first / WIDE_TILE * tiles.tile);
            macro_rules! take {
                ($tiles:expr) => {
                    let mut sums = [[_mm512_setzero_si512(); $tiles]; M];
                    for tile in 0..$tiles {
                        let bias = constants(sink.bias(), first + tile * LANES);
                        for i in 0..M {
                            sums[i][tile] = _mm512_sub_epi32(bias, _mm512_set1_epi32(excess[i]));
                        }
                    }
                    let sums = add::<T, { $tiles }, M>(sums, place, tiles, tokens);
                    sink.take(token, first..outputs.end, sums);
                    first += $tiles * WIDE_TILE;
                };
            }
            if left >= TILES {
                take!(TILES);
            } else if left >= 2 {
                take!(2);
            } else {
                take!(1);
            }
        }
    }
}

/// Adds the products of some tiles; weights enter as `w + 128` where tokens have a sign.
///
/// # Safety
/// The processor has the instructions; there are `N` tiles from `place` on, and each token has the
/// matrix's lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add<T: Operand, const N: usize, const M: usize>(
    mut sums: Sums<N, M>,
    mut place: *const i8,
    tiles: Tiles<'_>,
    mut tokens: [Token; M],
) -> Sums<N, M> {
    let flip = _mm512_set1_epi8(-128);
    for _ in 0..tiles.lines {
        for quad in 0..tiles.quads {
            let mut x = [flip; M];
            for token in 0..M {
                // SAFETY: the token's line has this quad.
                let four = unsafe { tokens[token].place.add(4 * quad).cast::<i32>() };
                // SAFETY: as above.
                x[token] = _mm512_set1_epi32(unsafe { four.read_unaligned() });
            }
            for tile in 0..N {
                // SAFETY: the tile has this quad.
                let w = unsafe {
                    _mm512_loadu_si512(place.add(tile * tiles.tile + quad * BYTES).cast())
                };
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
        // Behind the last line they are not read.
        place = place.wrapping_add(tiles.quads * BYTES);
        for token in 0..M {
            tokens[token].place = tokens[token].place.wrapping_add(tokens[token].step);
        }
    }
    sums
}

/// What `w + 128` adds to the sums of a token: 128 times its own sum.
///
/// # Safety
/// The token has the matrix's lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn excess(tiles: Tiles<'_>, token: Token) -> i32 {
    let mut sum = _mm512_setzero_si512();
    let (mut line, bytes) = (token.place, tiles.line_bytes());
    for _ in 0..tiles.lines {
        let mut at = 0;
        while at < bytes {
            // SAFETY: the caller's promise; what is masked out is not touched.
            let x =
                unsafe { _mm512_maskz_loadu_epi8(first_bytes(bytes - at), line.add(at).cast()) };
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), x);
            at += BYTES;
        }
        line = line.wrapping_add(token.step);
    }
    _mm512_reduce_add_epi32(sum)
}

/// Where the tokens of a block start, if it has both.
#[inline(always)]
fn both<T: Operand>(block: &Block<'_>, quads: usize) -> Option<[*const u8; TOKENS]> {
    let rows = block.rows::<T>();
    let fits =
        block.packing() == Packing::Wide && rows.iter().all(|r| r.len() == WIDE_QUAD * quads);
    fits.then(|| rows.map(|row| row.as_ptr().cast()))
}

/// Computes a product with the two tokens of a block; whether it has.
#[inline]
fn pair<T: Operand>(matrix: Matrix<'_>, block: &Block<'_>, sink: impl Sink) -> bool {
    let Some(tiles) = Tiles::new(matrix) else { return false };
    let Some(tokens) = both::<T>(block, tiles.quads) else { return false };
    // SAFETY: AVX-512 is current; matrix and tokens have been checked.
    unsafe { run_pair::<T>(tiles, tokens, sink) };
    true
}

/// As [`pair`].
///
/// # Safety
/// As [`product`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run_pair<T: Operand>(tiles: Tiles<'_>, tokens: [*const u8; TOKENS], mut sink: impl Sink) {
    let tokens = tokens.map(|place| Token { place, step: 0 });
    // SAFETY: the caller's promise.
    unsafe {
        let mut excess = [0; TOKENS];
        if T::SIGNED {
            excess = [self::excess(tiles, tokens[0]), self::excess(tiles, tokens[1])];
        }
        product::<T, TOKENS>(tiles, 0..tiles.outputs, (tokens, excess), 0, &mut sink);
    }
}

/// Computes a product with so many tokens of a block; whether it has.
#[inline]
fn many<T: Operand>(matrix: Matrix<'_>, block: &Block<'_>, count: usize, sink: impl Sink) -> bool {
    let Some(tiles) = Tiles::new(matrix) else { return false };
    if block.packing() != Packing::Wide || block.inputs() != matrix.inputs {
        return false;
    }
    let rows = block.all_rows();
    let places = Contiguous { rows, bytes: tiles.token_bytes() };
    let count = count.min(rows.len() / tiles.token_bytes());
    // SAFETY: AVX-512 is current; the tokens are among the rows.
    unsafe { run_many::<T>(tiles, places, count, sink) };
    true
}

/// Where tokens lie.
pub(super) trait Places: Copy {
    /// A token that there is.
    fn token(self, token: usize) -> Token;
}

/// Tokens one after the other.
#[derive(Clone, Copy)]
struct Contiguous<'k> {
    rows: &'k [u8],
    bytes: usize,
}

impl Places for Contiguous<'_> {
    #[inline(always)]
    fn token(self, token: usize) -> Token {
        Token { place: self.rows.as_ptr().wrapping_add(token * self.bytes), step: 0 }
    }
}

/// Groups of outputs, whose weights the nearest cache keeps, and of each some tokens.
///
/// # Safety
/// There are so many tokens, and each has the matrix's lines.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run_many<T: Operand>(
    tiles: Tiles<'_>,
    places: impl Places,
    count: usize,
    mut sink: impl Sink,
) {
    let mut excess = [[0; ROWS]; PART / ROWS];
    for start in (0..count).step_by(PART) {
        let end = count.min(start + PART);
        if T::SIGNED {
            for (excess, token) in excess.as_flattened_mut().iter_mut().zip(start..end) {
                // SAFETY: the token is below `count`.
                *excess = unsafe { self::excess(tiles, places.token(token)) };
            }
        }
        for first in (0..tiles.outputs).step_by(GROUP) {
            let outputs = first..tiles.outputs.min(first + GROUP);
            for (excess, token) in excess.iter().zip((start..end).step_by(ROWS)) {
                let place = |i: usize| places.token(token + i);
                if token + ROWS <= end {
                    let tokens = ([place(0), place(1), place(2), place(3)], *excess);
                    // SAFETY: the function's features; the tokens are below `count`.
                    unsafe { product::<T, ROWS>(tiles, outputs.clone(), tokens, token, &mut sink) };
                    continue;
                }
                let mut i = 0;
                while token + i < end {
                    macro_rules! take {
                        ($tokens:expr) => {
                            let tokens = core::array::from_fn(|j| place(i + j));
                            let excess = core::array::from_fn(|j| excess[i + j]);
                            let (outputs, tokens) = (outputs.clone(), (tokens, excess));
                            // SAFETY: as above.
                            unsafe {
                                product::<T, { $tokens }>(
                                    tiles,
                                    outputs,
                                    tokens,
                                    token + i,
                                    &mut sink,
                                )
                            };
                            i += $tokens;
                        };
                    }
                    if token + i + 2 <= end {
                        take!(2);
                    } else {
                        take!(1);
                    }
                }
            }
        }
    }
}

/// [`linear_int8_rows`] of tokens wherever they lie.
///
/// # Safety
/// There are as many tokens as `out` has rows, and each has the matrix's lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn linear_int8_places(
    tiles: Tiles<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    places: impl Places,
    out: &mut [i8],
) {
    let count = out.len() / tiles.outputs;
    let sink = ToInt8 { constants, form, out: Many(out, tiles.outputs) };
    // SAFETY: the caller's promise.
    unsafe { run_many::<i8>(tiles, places, count, sink) };
}

/// [`linear_int8`](super::super::linear_int8); whether it has been computed.
#[inline]
pub(in super::super) fn linear_int8(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    block: &Block<'_>,
    [one, two]: &mut [&mut [i8]; TOKENS],
) -> bool {
    pair::<i8>(matrix, block, ToInt8 { constants, form, out: [&mut **one, two] })
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
    let Some(count) = out.len().checked_div(matrix.outputs) else { return false };
    let out = Many(out, matrix.outputs);
    many::<i8>(matrix, block, count, ToInt8 { constants, form, out })
}

/// [`linear_add16`](super::super::linear_add16); whether it has been computed.
#[inline]
pub(in super::super) fn linear_add16(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    shift: u32,
    block: &Block<'_>,
    [one, two]: &mut [&mut [i16]; TOKENS],
) -> bool {
    pair::<i8>(matrix, block, Add16 { constants, shift, out: [&mut **one, two] })
}

/// [`linear_add16_rows`](super::super::linear_add16_rows); whether it has been computed.
#[inline]
pub(in super::super) fn linear_add16_rows(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    shift: u32,
    block: &Block<'_>,
    out: &mut [i16],
) -> bool {
    let Some(count) = out.len().checked_div(matrix.outputs) else { return false };
    let out = Many(out, matrix.outputs);
    many::<i8>(matrix, block, count, Add16 { constants, shift, out })
}

/// [`scores`](super::super::scores); whether they have been computed.
#[inline]
pub(in super::super) fn scores(
    keys: Matrix<'_>,
    queries: &Block<'_>,
    [one, two]: &mut [&mut [i32]; TOKENS],
) -> bool {
    pair::<i8>(keys, queries, Plain([&mut **one, two]))
}

/// [`scores_rows`](super::super::scores_rows); whether they have been computed.
#[inline]
pub(in super::super) fn scores_rows(
    keys: Matrix<'_>,
    queries: &Block<'_>,
    out: &mut [i32],
) -> bool {
    let Some(count) = out.len().checked_div(keys.outputs) else { return false };
    many::<i8>(keys, queries, count, Plain(Many(out, keys.outputs)))
}

/// [`weighted_sums`](super::super::weighted_sums); whether they have been computed.
#[inline]
pub(in super::super) fn weighted_sums(
    values: Matrix<'_>,
    weights: &Block<'_>,
    mults: &[i32],
    [one, two]: &mut [&mut [i8]; TOKENS],
) -> bool {
    pair::<u8>(values, weights, Weighted { mults, out: [&mut **one, two] })
}

/// [`weighted_sums_rows`](super::super::weighted_sums_rows); whether they have been computed.
#[inline]
pub(in super::super) fn weighted_sums_rows(
    values: Matrix<'_>,
    weights: &Block<'_>,
    mults: &[i32],
    out: &mut [i8],
) -> bool {
    let Some(count) = out.len().checked_div(values.outputs) else { return false };
    many::<u8>(values, weights, count, Weighted { mults, out: Many(out, values.outputs) })
}
