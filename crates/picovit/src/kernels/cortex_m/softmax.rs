//! Softmax weights.

use core::arch::asm;

use crate::format::EXP_ENTRIES;

/// The largest score of fours; the rest is left over.
#[inline]
pub(in crate::kernels) fn largest(scores: &[[i32; 4]]) -> i32 {
    let mut max = i32::MIN;
    for four in scores {
        for &score in four {
            // SAFETY: reads a register and updates another, and the flags.
            unsafe {
                asm!(
                    "cmp {score}, {max}",
                    "it gt",
                    "movgt {max}, {score}",
                    score = in(reg) score, max = inout(reg) max, options(pure, nomem, nostack)
                );
            }
        }
    }
    max
}

/// Weights of four scores, as their bytes, and the sum they are added to.
#[inline]
pub(in crate::kernels) fn weights(
    four: &[i32; 4],
    max: i32,
    shift: u32,
    mult: i32,
    table: &[u8; EXP_ENTRIES],
    sum: u32,
) -> ([u8; 4], u32) {
    let (mut weights, mut total) = ([0; 4], sum);
    for (&score, weight) in four.iter().zip(&mut weights) {
        let index: u32;
        // SAFETY: reads registers and writes another. A difference is not negative, and USAT keeps
        // the index below the table's 1024 entries.
        unsafe {
            asm!(
                "sub {index}, {max}, {score}",
                "lsl {index}, {index}, {shift}",
                "smmulr {index}, {index}, {mult}",
                "usat {index}, #10, {index}",
                max = in(reg) max, score = in(reg) score, shift = in(reg) shift,
                mult = in(reg) mult, index = out(reg) index, options(pure, nomem, nostack)
            );
        }
        *weight = table[index as usize & (EXP_ENTRIES - 1)];
        total = total.wrapping_add(u32::from(*weight));
    }
    (weights, total)
}
