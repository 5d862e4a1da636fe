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

/// A token: `factor`, `sum` and `inverse` are such that a half of section 6's `t` is `factor * x -
/// sum`. That is below 2^28 in a row of up to 4096 channels, so its double does not wrap where this
/// does not.
#[derive(Clone, Copy)]
struct Row(int32x4_t, int32x4_t, int32x4_t);

impl Row {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new([factor, sum, inverse]: [i32; 3]) -> Self {
        Self(vdupq_n_s32(factor), vdupq_n_s32(sum), vdupq_n_s32(inverse))
    }

    /// `mulhi(h, gain) + offset` of a step.
    ///
    /// # Safety
    /// Each has the values of a step from `at` on.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn values(self, at: usize, x: &[i16], [gain, offset]: [&[i32]; 2]) -> [int32x4_t; 4] {
        let Self(factor, sum, inverse) = self;
        // SAFETY: the caller's promise.
        let (x, gain, offset) = unsafe {
            (
                vld1q_s16_x2(x.as_ptr().add(at)),
                vld1q_s32_x4(gain.as_ptr().add(at)),
                vld1q_s32_x4(offset.as_ptr().add(at)),
            )
        };
        let value = |x: int16x4_t, gain: int32x4_t, offset: int32x4_t| {
            let half = vsubq_s32(vmulq_s32(vmovl_s16(x), factor), sum);
            // `mulhi` of an even number is this one instruction of its half.
            let h = vqrdmulhq_s32(half, inverse);
            let low = vrshrn_n_s64::<32>(vmull_s32(vget_low_s32(h), vget_low_s32(gain)));
            vaddq_s32(vrshrn_high_n_s64::<32>(low, vmull_high_s32(h, gain)), offset)
        };
        [
            value(vget_low_s16(x.0), gain.0, offset.0),
            value(vget_high_s16(x.0), gain.1, offset.1),
            value(vget_low_s16(x.1), gain.2, offset.2),
            value(vget_high_s16(x.1), gain.3, offset.3),
        ]
    }
}

/// The int8 output of channels that fill steps, by [`Row`]; how many that are.
#[target_feature(enable = "neon")]
pub(in super::super) fn write8(
    x: &[i16],
    row: [i32; 3],
    constants: [&[i32]; 2],
    out: &mut [i8],
) -> usize {
    let row = Row::new(row);
    let shortest = constants.iter().fold(x.len().min(out.len()), |n, c| n.min(c.len()));
    let count = shortest / STEP * STEP;
    for at in (0..count).step_by(STEP) {
        // SAFETY: all have `count` values.
        let [a, b, c, d] = unsafe { row.values(at, x, constants) };
        // Saturating to 16 bits first changes nothing.
        let low = vqshrn_high_n_s32::<8>(vqshrn_n_s32::<8>(a), b);
        let high = vqshrn_high_n_s32::<8>(vqshrn_n_s32::<8>(c), d);
        let bytes = vqmovn_high_s16(vqmovn_s16(low), high);
        // SAFETY: as above.
        unsafe { vst1q_s8(out.as_mut_ptr().add(at), bytes) };
    }
    count
}

/// The int16 output of channels that fill steps, in place; how many that are.
#[target_feature(enable = "neon")]
pub(in super::super) fn write16(x: &mut [i16], row: [i32; 3], constants: [&[i32]; 2]) -> usize {
    let row = Row::new(row);
    let shortest = constants.iter().fold(x.len(), |n, c| n.min(c.len()));
    let count = shortest / STEP * STEP;
    for at in (0..count).step_by(STEP) {
        // SAFETY: all have `count` values.
        let [a, b, c, d] = unsafe { row.values(at, x, constants) };
        let low = vqmovn_high_s32(vqmovn_s32(a), b);
        let high = vqmovn_high_s32(vqmovn_s32(c), d);
        // SAFETY: as above.
        unsafe { vst1q_s16_x2(x.as_mut_ptr().add(at), int16x8x2_t(low, high)) };
    }
    count
}
