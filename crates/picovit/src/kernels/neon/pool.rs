//! Max-pooling, sixty-four channels or sixteen at a time.

use core::arch::aarch64::*;

use super::BYTES;

/// Takes pixels of `out.len()` channels, a multiple of 16, into a row of `out`.
#[target_feature(enable = "neon")]
pub(in super::super) fn max_into(pixels: &[i8], out: &mut [i8]) {
    let channels = out.len();
    let mut at = 0;
    while at + 4 * BYTES <= channels {
        // SAFETY: there are 64 values from `at` on, in a pixel as well.
        unsafe {
            let place = out.as_mut_ptr().add(at);
            let mut all = vld1q_s8_x4(place);
            let mut from = at;
            while from + 4 * BYTES <= pixels.len() {
                let values = vld1q_s8_x4(pixels.as_ptr().add(from));
                all.0 = vmaxq_s8(all.0, values.0);
                all.1 = vmaxq_s8(all.1, values.1);
                all.2 = vmaxq_s8(all.2, values.2);
                all.3 = vmaxq_s8(all.3, values.3);
                from += channels;
            }
            vst1q_s8_x4(place, all);
        }
        at += 4 * BYTES;
    }
    while at + BYTES <= channels {
        // SAFETY: there are 16 values from `at` on, in a pixel as well.
        unsafe {
            let place = out.as_mut_ptr().add(at);
            let mut all = vld1q_s8(place);
            let mut from = at;
            while from + BYTES <= pixels.len() {
                all = vmaxq_s8(all, vld1q_s8(pixels.as_ptr().add(from)));
                from += channels;
            }
            vst1q_s8(place, all);
        }
        at += BYTES;
    }
}
