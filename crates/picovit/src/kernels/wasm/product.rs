//! Sums of matrix products: bytes become 16 bits wide, whose products an instruction adds in pairs.

use core::arch::wasm32::*;

use super::super::block::Operand;
use super::super::wide::{LANES, Lanes, Rows, Simd, Sums};
use super::super::winograd4_tiles::{TILES, TilePairs, TileSums};
use super::{BYTES, lanes, narrow8, narrow16, requant};
use crate::format::packing::{WIDE_QUAD, WIDE_TILE};
use crate::format::{PATCH_CHANNELS, TOKENS};

/// Products on vectors.
#[derive(Clone, Copy)]
pub(in super::super) struct Simd128;

/// Registers of a row's sums for each token.
type Row = [v128; TOKENS];

/// Tokens of 16 bits, the lower half of a register's and the upper.
#[inline(always)]
fn extended<T: Operand>(bytes: v128) -> [v128; 2] {
    if T::SIGNED {
        [i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes)]
    } else {
        [u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes)]
    }
}

/// Adds products of 16 bits, two in each lane.
#[inline(always)]
fn add_products(sums: v128, a: v128, b: v128) -> v128 {
    i32x4_add(sums, i32x4_dot_i16x8(a, b))
}

/// [`BYTES`] values from `at` on, 0 where the slice has ended.
#[inline(always)]
fn padded<T: bytemuck::Pod>(values: &[T], at: usize) -> v128 {
    let rest = bytemuck::must_cast_slice::<T, u8>(values.get(at..).unwrap_or_default());
    match rest.first_chunk::<BYTES>() {
        // SAFETY: it has 16 bytes, and no alignment is asked for.
        Some(chunk) => unsafe { v128_load(chunk.as_ptr().cast()) },
        None => short(rest),
    }
}

/// Fewer than [`BYTES`].
#[cold]
#[inline(never)]
fn short(bytes: &[u8]) -> v128 {
    let mut chunk = [0; BYTES];
    chunk.iter_mut().zip(bytes).for_each(|(place, &byte)| *place = byte);
    // SAFETY: it has 16 bytes, and no alignment is asked for.
    unsafe { v128_load(chunk.as_ptr().cast()) }
}

/// As [`padded`] for a slice that has all of them.
///
/// # Safety
/// It has.
#[inline(always)]
unsafe fn whole<T: bytemuck::Pod>(values: &[T], at: usize) -> v128 {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: the caller's promise; no alignment is asked for.
    unsafe { v128_load(values.as_ptr().add(at).cast()) }
}

/// Sums of four registers.
#[inline(always)]
fn fold4([a, b, c, d]: [v128; 4]) -> v128 {
    let ab = i32x4_add(i32x4_shuffle::<0, 4, 2, 6>(a, b), i32x4_shuffle::<1, 5, 3, 7>(a, b));
    let cd = i32x4_add(i32x4_shuffle::<0, 4, 2, 6>(c, d), i32x4_shuffle::<1, 5, 3, 7>(c, d));
    i32x4_add(i32x4_shuffle::<0, 1, 4, 5>(ab, cd), i32x4_shuffle::<2, 3, 6, 7>(ab, cd))
}

/// Sums of pairs in two registers.
#[inline(always)]
fn fold2(a: v128, b: v128) -> v128 {
    i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b))
}

/// Adds the products of [`BYTES`] weights with the tokens.
#[inline(always)]
fn add_row(sums: &mut Row, weights: v128, tokens: [[v128; 2]; TOKENS]) {
    let weights = extended::<i8>(weights);
    for token in 0..TOKENS {
        for half in 0..2 {
            sums[token] = add_products(sums[token], weights[half], tokens[token][half]);
        }
    }
}

impl Simd for Simd128 {
    #[inline(always)]
    fn rows<T: Operand>(self, matrix: Rows<'_>, tokens: [&[T]; TOKENS], _: [i32; TOKENS]) -> Sums {
        let inputs = matrix.inputs().min(tokens[0].len()).min(tokens[1].len());
        let mut rows: [&[i8]; LANES] = [&[]; LANES];
        for lane in 0..LANES {
            rows[lane] = matrix.row(lane);
        }
        let mut sums = [[i32x4_splat(0); TOKENS]; LANES];
        let end = inputs / BYTES * BYTES;
        for at in (0..end).step_by(BYTES) {
            // SAFETY: `at` and the 15 after it are below the length of tokens and rows.
            let x = unsafe { [whole(tokens[0], at), whole(tokens[1], at)] }.map(extended::<T>);
            for lane in 0..LANES {
                // SAFETY: as above.
                add_row(&mut sums[lane], unsafe { whole(rows[lane], at) }, x);
            }
        }
        if end < inputs {
            // What follows the inputs in a row meets a token of 0.
            let x = [padded(tokens[0], end), padded(tokens[1], end)].map(extended::<T>);
            for lane in 0..LANES {
                add_row(&mut sums[lane], padded(rows[lane], end), x);
            }
        }
        core::array::from_fn(|token| {
            let [a, b, c, d, e, f, g, h] = sums.map(|sums| sums[token]);
            lanes([fold4([a, b, c, d]), fold4([e, f, g, h])])
        })
    }

    #[inline(always)]
    fn tiles<T: Operand>(self, tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
        // Of each half of a tile's step: lanes are channels 0 and 2, inputs 0, 2 and 1, 3; then the
        // same of channels 1 and 3.
        let mut sums = [[[i32x4_splat(0); 2]; 2]; TOKENS];
        let steps = tokens[0].len().min(tokens[1].len()).div_ceil(4);
        for step in 0..steps {
            let x = tokens.map(|token| {
                let mut quad = [T::zeroed(); 4];
                let rest = token.get(4 * step..).unwrap_or_default();
                quad.iter_mut().zip(rest).for_each(|(place, &value)| *place = value);
                let [a, b, c, d]: [i16; 4] = quad.map(|value| value.into() as i16);
                i16x8(a, c, a, c, b, d, b, d)
            });
            for tile in 0..2 {
                let packed = padded(tiles[tile], BYTES * step);
                // A halfword is `256 * odd + even`, with signs.
                let even = i16x8_shr(i16x8_shl(packed, 8), 8);
                let odd = i16x8_shr(i16x8_add(packed, i16x8_splat(0x80)), 8);
                for token in 0..TOKENS {
                    let [evens, odds] = &mut sums[token][tile];
                    *evens = add_products(*evens, even, x[token]);
                    *odds = add_products(*odds, odd, x[token]);
                }
            }
        }
        sums.map(|tiles| {
            lanes(tiles.map(|[even, odd]| {
                let low = i32x4_shuffle::<0, 4, 1, 5>(even, odd);
                i32x4_add(low, i32x4_shuffle::<2, 6, 3, 7>(even, odd))
            }))
        })
    }

    #[inline(always)]
    fn sixteen<T: Operand>(self, tile: &[i8], tokens: [&[T]; TOKENS]) -> [Sums; 2] {
        const REGISTERS: usize = WIDE_TILE * WIDE_QUAD / BYTES;
        let mut sums = [[[i32x4_splat(0); 2]; REGISTERS]; TOKENS];
        let steps = tile.as_chunks::<{ WIDE_TILE * WIDE_QUAD }>().0.iter();
        let quads = tokens.map(|token| token.as_chunks::<WIDE_QUAD>().0);
        for (weights, (one, two)) in steps.zip(quads[0].iter().zip(quads[1])) {
            // SAFETY: each has four bytes, and no alignment is asked for.
            let x = [one, two].map(|quad| unsafe { v128_load32_splat(quad.as_ptr().cast()) });
            let x = x.map(|quads| extended::<T>(quads)[0]);
            for part in 0..REGISTERS {
                // SAFETY: it is a quarter of the step.
                let weights = extended::<i8>(unsafe { whole(weights, BYTES * part) });
                for token in 0..TOKENS {
                    for half in 0..2 {
                        let sums = &mut sums[token][part][half];
                        *sums = add_products(*sums, weights[half], x[token]);
                    }
                }
            }
        }
        let eight = |token: usize, part: usize| {
            let parts: &[[v128; 2]; REGISTERS] = &sums[token];
            let [one, two] = [parts[part], parts[part + 1]];
            lanes([fold2(one[0], one[1]), fold2(two[0], two[1])])
        };
        [[eight(0, 0), eight(1, 0)], [eight(0, 2), eight(1, 2)]]
    }

    #[inline(always)]
    fn add_pairs(self, sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums {
        // SAFETY: as many bytes of which any are valid.
        let mut sums: [[v128; 4]; TILES] = unsafe { core::mem::transmute(sums) };
        for (pair, weights) in weights.iter().enumerate().take(PATCH_CHANNELS / 2) {
            // SAFETY: there are 64 bytes, and no alignment is asked for.
            let weights =
                [0, 8, 16, 24].map(|at| unsafe { v128_load(weights.as_ptr().add(at).cast()) });
            for tile in 0..TILES {
                // SAFETY: there are so many patches of so many values.
                let x = unsafe { patches.as_ptr().add(tile * PATCH_CHANNELS + 2 * pair) };
                // SAFETY: as above; no alignment is asked for.
                let x = unsafe { v128_load32_splat(x.cast()) };
                for part in 0..4 {
                    sums[tile][part] = add_products(sums[tile][part], weights[part], x);
                }
            }
        }
        // SAFETY: as above.
        unsafe { core::mem::transmute(sums) }
    }

    #[inline(always)]
    fn requant(self, addend: Lanes, sums: Lanes, shift: u32, mult: Lanes) -> Lanes {
        requant(addend, sums, shift, mult)
    }

    #[inline(always)]
    fn narrow8(self, values: Lanes, low: i8) -> [i8; LANES] {
        narrow8(values, low)
    }

    #[inline(always)]
    fn narrow16(self, values: Lanes) -> [i16; LANES] {
        narrow16(values)
    }
}
