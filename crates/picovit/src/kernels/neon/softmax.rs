//! Softmax weights, sixteen scores at a time.

use core::arch::aarch64::*;

use crate::format::EXP_ENTRIES;

/// Scores of a step.
const STEP: usize = 16;

/// Writes the weights of steps of scores and returns their sum.
#[target_feature(enable = "neon")]
pub(in super::super) fn weights(
    scores: &[[i32; STEP]],
    max: i32,
    (shift, mult): (u32, i32),
    table: &[u8; EXP_ENTRIES],
    weights: &mut [[u8; STEP]],
) -> u32 {
    let (max, mult) = (vdupq_n_s32(max), vdupq_n_s32(mult));
    let shift = vdupq_n_s32((shift % 32) as i32);
    let last = vdupq_n_u32(EXP_ENTRIES as u32 - 1);
    let start = vdupq_n_u64(table.as_ptr() as u64);
    let mut sum = vdupq_n_u32(0);
    for (scores, weights) in scores.iter().zip(weights) {
        let mut bytes = vdupq_n_u8(0);
        // SAFETY: it has 16 values.
        let all = unsafe { vld1q_s32_x4(scores.as_ptr()) };
        let place = |scores| {
            let difference = vshlq_s32(vsubq_s32(max, scores), shift);
            let low = vmull_s32(vget_low_s32(difference), vget_low_s32(mult));
            let low = vrshrn_n_s64::<32>(low);
            let index = vrshrn_high_n_s64::<32>(low, vmull_high_s32(difference, mult));
            let index = vminq_u32(vreinterpretq_u32_s32(index), last);
            (vaddw_u32(start, vget_low_u32(index)), vaddw_high_u32(start, index))
        };
        macro_rules! look_up {
            ($scores:expr, $a:literal, $b:literal, $c:literal, $d:literal) => {
                let (low, high) = place($scores);
                // SAFETY: indices are below the number of the table's entries.
                unsafe {
                    bytes = vld1q_lane_u8::<$a>(vgetq_lane_u64::<0>(low) as *const u8, bytes);
                    bytes = vld1q_lane_u8::<$b>(vgetq_lane_u64::<1>(low) as *const u8, bytes);
                    bytes = vld1q_lane_u8::<$c>(vgetq_lane_u64::<0>(high) as *const u8, bytes);
                    bytes = vld1q_lane_u8::<$d>(vgetq_lane_u64::<1>(high) as *const u8, bytes);
                }
            };
        }
        look_up!(all.0, 0, 1, 2, 3);
        look_up!(all.1, 4, 5, 6, 7);
        look_up!(all.2, 8, 9, 10, 11);
        look_up!(all.3, 12, 13, 14, 15);
        sum = vpadalq_u16(sum, vpaddlq_u8(bytes));
        // SAFETY: it has 16 values.
        unsafe { vst1q_u8(weights.as_mut_ptr(), bytes) };
    }
    vaddvq_u32(sum)
}
