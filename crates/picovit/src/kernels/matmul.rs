//! The product of a weight matrix with a block of tokens: the inner loop of every linear layer,
//! convolution and attention.

use super::block::{Block, Operand};
use crate::format::packing::{self, WIDE_QUAD, WIDE_TILE};
use crate::format::{Packing, TOKENS};
use crate::rows::rows;

/// A packed matrix `[outputs][inputs]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matrix<'a> {
    /// Order of the values.
    pub packing: Packing,
    /// Rows.
    pub outputs: usize,
    /// Columns.
    pub inputs: usize,
    /// The values.
    pub bytes: &'a [i8],
}

/// Products per round of the inner loop: enough to hide the loop, few enough for short rows.
#[cfg(not(armv6m))]
const UNROLL: usize = 8;

/// Hands the sums `bias + weights * token` to `sink(output, sums)`, one sum for each token of the
/// block, from output `first` on. A bias that is missing is 0. Portable; the block is for the matrix:
/// of its packing, with as many inputs.
#[inline(never)]
pub fn matmul<T: Operand>(
    matrix: Matrix<'_>,
    first: usize,
    bias: &[i32],
    block: &Block<'_>,
    sink: &mut dyn FnMut(usize, [i32; TOKENS]),
) {
    let start = |output: usize| [bias.get(output).copied().unwrap_or(0); TOKENS];
    match matrix.packing.known() {
        Packing::Portable => {
            let tokens = block.rows::<T>();
            #[cfg(armv6m)]
            {
                let rest = matrix.bytes.get(first * matrix.inputs..).unwrap_or_default();
                let pairs = crate::rows::pairs(rest, matrix.inputs);
                for (output, [one, two]) in (first..).step_by(2).zip(pairs) {
                    let weights = [one, if two.is_empty() { one } else { two }];
                    let sums = super::cortex_m0::products(weights, tokens);
                    for ((output, sums), row) in (output..).zip(sums).zip([one, two]) {
                        if !row.is_empty() {
                            let start = start(output)[0];
                            sink(output, sums.map(|sum| sum.wrapping_add(start)));
                        }
                    }
                }
            }
            #[cfg(not(armv6m))]
            for (output, weights) in rows(matrix.bytes, matrix.inputs).enumerate().skip(first) {
                sink(output, dots(start(output), weights, tokens));
            }
        }
        Packing::CortexM => {
            let tiles = rows(matrix.bytes, matrix.packing.matrix_bytes(4, matrix.inputs));
            for (tile, weights) in tiles.enumerate().skip(first / 4) {
                let mut sums = [0, 1, 2, 3].map(|i| start(4 * tile + i));
                unpacked::<T>(weights, block, &mut sums);
                let outputs = (4 * tile..matrix.outputs).zip(sums);
                outputs.for_each(|(output, sums)| sink(output, sums));
            }
        }
        Packing::Helium => {
            for output in first..matrix.outputs {
                sink(output, stepped::<T>(start(output), matrix, output, block));
            }
        }
        Packing::Wide => {
            let tiles = rows(matrix.bytes, matrix.packing.matrix_bytes(WIDE_TILE, matrix.inputs));
            for (tile, weights) in tiles.enumerate().skip(first / WIDE_TILE) {
                let sums = sixteen(weights, block.rows::<T>());
                let outputs = WIDE_TILE * tile..matrix.outputs;
                for (output, sums) in outputs.zip(sums).filter(|(output, _)| *output >= first) {
                    let [one, two] = start(output);
                    sink(output, [one.wrapping_add(sums[0]), two.wrapping_add(sums[1])]);
                }
            }
        }
    }
}

/// Sums of a tile of [`Packing::Wide`], for tokens with their padding.
#[inline(always)]
pub(super) fn sixteen<T: Operand>(
    weights: &[i8],
    tokens: [&[T]; TOKENS],
) -> [[i32; TOKENS]; WIDE_TILE] {
    let mut sums = [[0i32; TOKENS]; WIDE_TILE];
    let [first, second] = tokens.map(|token| token.as_chunks::<WIDE_QUAD>().0);
    let steps = weights.as_chunks::<{ WIDE_TILE * WIDE_QUAD }>().0;
    for ((weights, first), second) in steps.iter().zip(first).zip(second) {
        let inputs = [first, second].map(|quad| quad.map(Into::<i32>::into));
        for (sums, weights) in sums.iter_mut().zip(weights.as_chunks::<WIDE_QUAD>().0) {
            for (sum, inputs) in sums.iter_mut().zip(inputs) {
                let products = weights.iter().zip(inputs).map(|(&w, x)| i32::from(w) * x);
                *sum = products.fold(*sum, i32::wrapping_add);
            }
        }
    }
    sums
}

/// Adds the products of one row of weights with the tokens.
#[cfg(not(armv6m))]
#[inline]
fn dots<T: Operand>(
    mut sums: [i32; TOKENS],
    weights: &[i8],
    tokens: [&[T]; TOKENS],
) -> [i32; TOKENS] {
    let (weights, last) = weights.as_chunks::<UNROLL>();
    let ([first, second], [first_last, second_last]) = {
        let [first, second] = tokens.map(<[T]>::as_chunks::<UNROLL>);
        ([first.0, second.0], [first.1, second.1])
    };
    let mut add = |weights: &[i8], first: &[T], second: &[T]| {
        for ((&w, &x), &y) in weights.iter().zip(first).zip(second) {
            let [x, y]: [i32; TOKENS] = [x.into(), y.into()];
            sums[0] = sums[0].wrapping_add(i32::from(w) * x);
            sums[1] = sums[1].wrapping_add(i32::from(w) * y);
        }
    };
    for ((weights, first), second) in weights.iter().zip(first).zip(second) {
        add(weights, first, second);
    }
    add(last, first_last, second_last);
    sums
}

/// Adds the products of one output of [`Packing::Helium`].
fn stepped<T: Operand>(
    mut sums: [i32; TOKENS],
    matrix: Matrix<'_>,
    output: usize,
    block: &Block<'_>,
) -> [i32; TOKENS] {
    let flipped = matrix.packing.flips() && !T::SIGNED;
    for first in (0..matrix.inputs).step_by(4) {
        let start = packing::helium_place(matrix.inputs, output, first);
        let weights = matrix.bytes.get(start..).and_then(|rest| rest.first_chunk::<4>());
        let weights = *weights.unwrap_or(&[0; 4]);
        let weights = if flipped { weights.map(packing::flip) } else { weights };
        for (token, sum) in sums.iter_mut().enumerate() {
            let inputs = block.quad::<T>(token, first / 4);
            let products = weights.iter().zip(inputs).map(|(&w, x)| i32::from(w) * x);
            *sum = products.fold(*sum, i32::wrapping_add);
        }
    }
    sums
}

/// Adds the products of one tile of [`Packing::CortexM`], in the order in which it is stored.
fn unpacked<T: Operand>(weights: &[i8], block: &Block<'_>, sums: &mut [[i32; TOKENS]; 4]) {
    let (quads, _) = weights.as_chunks::<16>();
    for (quad, weights) in quads.iter().enumerate() {
        let mut channels = [[0i8; 4]; 4];
        for (place, half) in weights.as_chunks::<2>().0.iter().enumerate() {
            // Bits of the place: inputs 0 and 2 or 1 and 3, pair of channels, which input.
            let (input, pair) = (place / 4 + place % 2 * 2, place / 2 % 2 * 2);
            [channels[pair][input], channels[pair + 1][input]] = packing::split(*half);
        }
        let inputs = [0, 1].map(|token| block.quad::<T>(token, quad));
        for (sums, weights) in sums.iter_mut().zip(&channels) {
            for (sum, inputs) in sums.iter_mut().zip(&inputs) {
                let products = weights.iter().zip(inputs).map(|(&w, &x)| i32::from(w) * x);
                *sum = products.fold(*sum, i32::wrapping_add);
            }
        }
    }
}
