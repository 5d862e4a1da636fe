//! Products with many tokens at once, for hosts.

use super::block::Block;
use super::layer::{Int8, linear_add16, linear_int8, scores, weighted_sums};
use super::matmul::Matrix;
#[cfg(target_arch = "x86_64")]
use super::x86::product512;
use crate::format::TOKENS;
use crate::rows::pairs_mut;

/// [`linear_int8`] of many tokens.
///
/// Matrix and block are of [`Packing::Wide`](crate::format::Packing::Wide), of as many inputs, the block with memory of
/// [`Packing::row_block_bytes`](crate::format::Packing::row_block_bytes). `out` has rows of the matrix's
/// outputs, one after the other, and says by their number how many tokens there are.
pub fn linear_int8_rows(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    form: Int8,
    block: &mut Block<'_>,
    out: &mut [i8],
) {
    #[cfg(target_arch = "x86_64")]
    if product512::linear_int8_rows(matrix, constants, form, block, out) {
        return;
    }
    for (pair, out) in pairs_mut(out, matrix.outputs).enumerate() {
        linear_int8(matrix, constants, form, &block.rest(TOKENS * pair), out);
    }
}

/// [`linear_add16`] of many tokens.
///
/// Matrix and block are of [`Packing::Wide`](crate::format::Packing::Wide), of as many inputs, the block with memory of
/// [`Packing::row_block_bytes`](crate::format::Packing::row_block_bytes). `out` has rows of the matrix's
/// outputs, one after the other, and says by their number how many tokens there are.
pub fn linear_add16_rows(
    matrix: Matrix<'_>,
    constants: [&[i32]; 2],
    shift: u32,
    block: &mut Block<'_>,
    out: &mut [i16],
) {
    #[cfg(target_arch = "x86_64")]
    if product512::linear_add16_rows(matrix, constants, shift, block, out) {
        return;
    }
    for (pair, out) in pairs_mut(out, matrix.outputs).enumerate() {
        linear_add16(matrix, constants, shift, &block.rest(TOKENS * pair), out);
    }
}

/// [`scores`] of many queries.
///
/// Matrix and block are of [`Packing::Wide`](crate::format::Packing::Wide), of as many inputs, the block with memory of
/// [`Packing::row_block_bytes`](crate::format::Packing::row_block_bytes). `out` has rows of the matrix's
/// outputs, one after the other, and says by their number how many queries there are.
pub fn scores_rows(keys: Matrix<'_>, queries: &mut Block<'_>, out: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if product512::scores_rows(keys, queries, out) {
        return;
    }
    for (pair, out) in pairs_mut(out, keys.outputs).enumerate() {
        scores(keys, &queries.rest(TOKENS * pair), out);
    }
}

/// [`weighted_sums`] of many queries, `mults` a multiplier for each; one that is missing is 0.
///
/// Matrix and block are of [`Packing::Wide`](crate::format::Packing::Wide), of as many inputs, the block with memory of
/// [`Packing::row_block_bytes`](crate::format::Packing::row_block_bytes). `out` has rows of the matrix's
/// outputs, one after the other, and says by their number how many queries there are.
pub fn weighted_sums_rows(
    values: Matrix<'_>,
    weights: &mut Block<'_>,
    mults: &[i32],
    out: &mut [i8],
) {
    #[cfg(target_arch = "x86_64")]
    if product512::weighted_sums_rows(values, weights, mults, out) {
        return;
    }
    let mult = |token: usize| mults.get(token).copied().unwrap_or(0);
    for (pair, out) in pairs_mut(out, values.outputs).enumerate() {
        let mults = [mult(TOKENS * pair), mult(TOKENS * pair + 1)];
        weighted_sums(values, &weights.rest(TOKENS * pair), mults, out);
    }
}
