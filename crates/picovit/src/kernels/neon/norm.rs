//! Layer norm, sixteen channels at a time.

use core::arch::aarch64::*;

/// Channels of a step.
const STEP: usize = 16;

/// Sum, and sum of squares, of steps of 32 values.
#[target_feature(enable = "neon")]
pub(in super::super) fn sums_of_squares(steps: &[[i16; 2 * STEP]]) -> (i32, u64) {
    let (mut sum, mut squares) = (vdupq_n_s32(0), vdupq_n_u64(0));
    for step in steps {
        // SAFETY: it has 32 values.
        let x = unsafe { vld1q_s16_x4(step.as_ptr()) };
        for x in [x.0, x.1, x.2, x.3] {
            // Two squares are 2^31 at most.
            let low = vmull_s16(vget_low_s16(x), vget_low_s16(x));
            let both = vreinterpretq_u32_s32(vmlal_high_s16(low, x, x));
            squares = vpadalq_u32(squares, both);
            sum = vpadalq_s16(sum, x);
        }
    }
    (vaddvq_s32(sum), vaddvq_u64(squares))
}

/// `mulhi(a, m)`, `a` being twice `half`: the same as one instruction.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn mulhi_even(half: int32x4_t, m: int32x4_t) -> int32x4_t {
    vqrdmulhq_s32(half, m)
}

/// The int8 output of steps of channels. `factor`, `sum` and `inverse` are such that a half of
/// section 6's `t` is `factor * x - sum`: that is below 2^28 in a row of up to 4096 channels, so its
/// double does not wrap where this does not.
#[target_feature(enable = "neon")]
pub(in super::super) fn write8(
    x: &[[i16; STEP]],
    [factor, sum, inverse]: [i32; 3],
    gain: &[[i32; STEP]],
    offset: &[[i32; STEP]],
    out: &mut [[i8; STEP]],
) {
    let (factor, sum) = (vdupq_n_s32(factor), vdupq_n_s32(sum));
    let inverse = vdupq_n_s32(inverse);
    for (((x, gain), offset), out) in x.iter().zip(gain).zip(offset).zip(out) {
        // SAFETY: each has the values of a step.
        let (x, gain, offset) = unsafe {
            (
                vld1q_s16_x2(x.as_ptr()),
                vld1q_s32_x4(gain.as_ptr()),
                vld1q_s32_x4(offset.as_ptr()),
            )
        };
        let value = |x: int16x4_t, gain: int32x4_t, offset: int32x4_t| {
            let half = vsubq_s32(vmulq_s32(vmovl_s16(x), factor), sum);
            let h = mulhi_even(half, inverse);
            let low = vrshrn_n_s64::<32>(vmull_s32(vget_low_s32(h), vget_low_s32(gain)));
            vaddq_s32(vrshrn_high_n_s64::<32>(low, vmull_high_s32(h, gain)), offset)
        };
        let a = value(vget_low_s16(x.0), gain.0, offset.0);
        let b = value(vget_high_s16(x.0), gain.1, offset.1);
        let c = value(vget_low_s16(x.1), gain.2, offset.2);
        let d = value(vget_high_s16(x.1), gain.3, offset.3);
        // Saturating to 16 bits first changes nothing.
        let low = vqshrn_high_n_s32::<8>(vqshrn_n_s32::<8>(a), b);
        let high = vqshrn_high_n_s32::<8>(vqshrn_n_s32::<8>(c), d);
        // SAFETY: as above.
        unsafe { vst1q_s8(out.as_mut_ptr(), vqmovn_high_s16(vqmovn_s16(low), high)) };
    }
}
