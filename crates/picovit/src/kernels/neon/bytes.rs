//! Moving and looking up bytes.

use core::arch::aarch64::*;

use super::BYTES;
use crate::format::{TABLE_ENTRIES, TOKENS};

/// Replaces values by their entries of a table, whose first one is that of -128.
#[target_feature(enable = "neon")]
pub(in super::super) fn look_up(values: &mut [[i8; BYTES]], table: &[i8; TABLE_ENTRIES]) {
    // SAFETY: the table has four times 64 entries.
    let quarter = |index: usize| unsafe { vld1q_s8_x4(table.as_ptr().add(64 * index)) };
    let quarters = [quarter(0), quarter(1), quarter(2), quarter(3)];
    let (flip, step) = (vdupq_n_u8(0x80), vdupq_n_u8(64));
    for values in values {
        // SAFETY: it has 16 values.
        let place = veorq_u8(unsafe { vld1q_u8(values.as_ptr().cast()) }, flip);
        // What is not in a quarter stays.
        let mut entries = vqtbl4q_s8(quarters[0], place);
        let place = vsubq_u8(place, step);
        entries = vqtbx4q_s8(entries, quarters[1], place);
        let place = vsubq_u8(place, step);
        entries = vqtbx4q_s8(entries, quarters[2], place);
        let place = vsubq_u8(place, step);
        entries = vqtbx4q_s8(entries, quarters[3], place);
        // SAFETY: as above.
        unsafe { vst1q_s8(values.as_mut_ptr(), entries) };
    }
}

/// Writes columns `column` and `column + 1` of a row-major matrix, for as many rows as fill steps;
/// how many that are, none without NEON.
#[inline]
pub(crate) fn columns(
    matrix: &mut [i8],
    width: usize,
    column: usize,
    rows: [&[i8]; TOKENS],
) -> usize {
    // SAFETY: NEON is current.
    if super::is_current() { unsafe { put_columns(matrix, width, column, rows) } } else { 0 }
}

/// [`columns`] with NEON.
#[target_feature(enable = "neon")]
fn put_columns(
    matrix: &mut [i8],
    width: usize,
    column: usize,
    [first, second]: [&[i8]; TOKENS],
) -> usize {
    let rows = first.len().min(second.len()) / BYTES * BYTES;
    if rows == 0 || column + 2 > width || matrix.len().checked_div(width).unwrap_or(0) < rows {
        return 0;
    }
    let mut place = matrix.as_mut_ptr().wrapping_add(column);
    let steps = first.as_chunks::<BYTES>().0.iter().zip(second.as_chunks::<BYTES>().0);
    for (first, second) in steps {
        // SAFETY: both have 16 values.
        let (first, second) = unsafe { (vld1q_s8(first.as_ptr()), vld1q_s8(second.as_ptr())) };
        let pairs = [vzip1q_s8(first, second), vzip2q_s8(first, second)];
        for pairs in pairs.map(|pairs| vreinterpretq_s16_s8(pairs)) {
            macro_rules! put {
                ($($lane:literal)+) => {$(
                    // SAFETY: the matrix has so many rows, and two values in this one from the column
                    // on; bytes have no alignment, and neither has the instruction.
                    unsafe {
                        core::arch::asm!(
                            concat!("st1 {{{pairs:v}.h}}[", $lane, "], [{place}], {width}"),
                            pairs = in(vreg) pairs, place = inout(reg) place, width = in(reg) width,
                            options(nostack, preserves_flags)
                        );
                    }
                )+};
            }
            put!(0 1 2 3 4 5 6 7);
        }
    }
    rows
}
