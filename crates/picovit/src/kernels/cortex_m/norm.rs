//! Layer norm.

use core::arch::asm;

/// Adds values and squares of pairs to their sums.
#[inline]
pub(in crate::kernels) fn sums_of_squares(pairs: &[[i16; 2]]) -> (i32, u64) {
    let (mut sum, mut low, mut high) = (0i32, 0u32, 0u32);
    for &pair in pairs {
        let pair: u32 = bytemuck::must_cast(pair);
        // SAFETY: reads registers and updates others.
        unsafe {
            asm!(
                "smlad {sum}, {pair}, {ones}, {sum}",
                "smlald {low}, {high}, {pair}, {pair}",
                pair = in(reg) pair, ones = in(reg) 0x0001_0001, sum = inout(reg) sum,
                low = inout(reg) low, high = inout(reg) high, options(pure, nomem, nostack)
            );
        }
    }
    (sum, u64::from(high) << 32 | u64::from(low))
}

/// int8 outputs of four channels `x`: `sat8((mulhi(x * factor - sum, inverse) * gain + offset) >> 8)`
/// with the multiplication by the gain rounded like the first.
#[inline(always)]
pub(in crate::kernels) fn write8(
    x: [i16; 4],
    (factor, sum, inverse): (i32, i32, i32),
    gain: &[i32; 4],
    offset: &[i32; 4],
) -> [i8; 4] {
    let mut out = [0i32; 4];
    for (((&x, &gain), &offset), out) in x.iter().zip(gain).zip(offset).zip(&mut out) {
        let t = i32::from(x).wrapping_mul(factor).wrapping_sub(sum);
        // SAFETY: reads registers and writes another.
        unsafe {
            asm!(
                "smmulr {h}, {t}, {inverse}",
                "smmlar {h}, {h}, {gain}, {offset}",
                "ssat {h}, #8, {h}, asr #8",
                t = in(reg) t, inverse = in(reg) inverse, gain = in(reg) gain,
                offset = in(reg) offset, h = out(reg) *out, options(pure, nomem, nostack)
            );
        }
    }
    out.map(|v| v as i8)
}
