//! The two matrix products of attention, one query at a time.

use super::linear::dot;
use crate::rows::rows;

/// Scores of one query against all keys `[tokens][head_dim]`.
#[inline]
pub fn scores(query: &[i8], keys: &[i8], out: &mut [i32]) {
    for (key, out) in rows(keys, query.len()).zip(out) {
        *out = dot(0, query, key);
    }
}

/// `out[c] = sum over tokens of weights[t] * values[t][c]`, for values `[tokens][out.len()]`.
#[inline]
pub fn weighted_sum(weights: &[u8], values: &[i8], out: &mut [i32]) {
    out.fill(0);
    for (&weight, row) in weights.iter().zip(rows(values, out.len())) {
        for (out, &v) in out.iter_mut().zip(row) {
            *out = out.wrapping_add(weight as i32 * v as i32);
        }
    }
}
