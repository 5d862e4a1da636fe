//! Max-pooling, sixty-four channels or sixteen at a time.

use core::arch::aarch64::*;

use super::BYTES;

/// Takes pixels of `out.len()` channels, a multiple of 16, into a row of `out`.
#[target_feature(enable = "neon")]
pub(in super::super) fn max_into(pixels: &[i8], out: &mut [i8]) {
    let channels = out.len();
    let pixels = pixels.chunks_exact(channels.max(1));
    let (blocks, rest) = out.as_chunks_mut::<{ 4 * BYTES }>();
    let start = channels - rest.len();
    for (block, places) in blocks.iter_mut().enumerate() {
        // SAFETY: it has 64 values.
        let mut all = unsafe { vld1q_s8_x4(places.as_ptr()) };
        for pixel in pixels.clone() {
            // SAFETY: a pixel has as many channels as there are.
            let values = unsafe { vld1q_s8_x4(pixel.as_ptr().add(4 * BYTES * block)) };
            all.0 = vmaxq_s8(all.0, values.0);
            all.1 = vmaxq_s8(all.1, values.1);
            all.2 = vmaxq_s8(all.2, values.2);
            all.3 = vmaxq_s8(all.3, values.3);
        }
        // SAFETY: as above.
        unsafe { vst1q_s8_x4(places.as_mut_ptr(), all) };
    }
    for (step, places) in rest.as_chunks_mut::<BYTES>().0.iter_mut().enumerate() {
        // SAFETY: it has 16 values.
        let mut all = unsafe { vld1q_s8(places.as_ptr()) };
        for pixel in pixels.clone() {
            // SAFETY: as above.
            let values = unsafe { vld1q_s8(pixel.as_ptr().add(start + BYTES * step)) };
            all = vmaxq_s8(all, values);
        }
        // SAFETY: it has 16 values.
        unsafe { vst1q_s8(places.as_mut_ptr(), all) };
    }
}
