//! Requantization: from accumulators back to 8 and 16 bits.

/// Whether the processor divides 64 bits at once: chips do not.
pub(super) const DIVIDES_64_BITS: bool =
    cfg!(any(target_pointer_width = "64", target_family = "wasm"));

/// `(a * m + 2^31) >> 32`: one rounding high multiplication (SMMULR, VRMULH).
#[must_use]
#[inline(always)]
pub const fn mulhi(a: i32, m: i32) -> i32 {
    ((a as i64 * m as i64 + (1 << 31)) >> 32) as i32
}

/// Saturates to int8.
#[must_use]
#[inline(always)]
pub fn sat8(v: i32) -> i8 {
    v.clamp(-128, 127) as i8
}

/// Saturates to int16.
#[must_use]
#[inline(always)]
pub fn sat16(v: i32) -> i16 {
    v.clamp(-32768, 32767) as i16
}

/// `addend + mulhi(a, m)`: one instruction on Cortex-M with DSP.
#[must_use]
#[inline(always)]
pub fn mulhi_add(addend: i32, a: i32, m: i32) -> i32 {
    #[cfg(dsp)]
    {
        let sum;
        // SAFETY: reads three registers and writes another.
        unsafe {
            core::arch::asm!(
                "smmlar {}, {}, {}, {}", out(reg) sum, in(reg) a, in(reg) m, in(reg) addend,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
    #[cfg(not(dsp))]
    addend.wrapping_add(mulhi(a, m))
}

/// An accumulator to int8 with zero point `zero`.
#[must_use]
#[inline(always)]
pub fn requant8(acc: i32, mult: i32, zero: i32) -> i8 {
    sat8(mulhi_add(zero, acc, mult))
}

/// An accumulator added to a value of the residual stream.
#[must_use]
#[inline(always)]
pub fn residual_add(residual: i16, acc: i32, shift: u32, mult: i32) -> i16 {
    sat16(mulhi_add(residual as i32, acc.wrapping_shl(shift), mult))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mulhi_rounds_half_up() {
        assert_eq!(mulhi(1, 1 << 30), 0);
        assert_eq!(mulhi(2, 1 << 30), 1);
        assert_eq!(mulhi(-2, 1 << 30), 0);
        assert_eq!(mulhi(-3, 1 << 30), -1);
        assert_eq!(mulhi(i32::MIN, i32::MAX), -1_073_741_823);
    }

    #[test]
    fn residual_saturates() {
        assert_eq!(residual_add(32000, 1 << 20, 4, 1 << 30), 32767);
        assert_eq!(residual_add(-32000, -(1 << 20), 4, 1 << 30), -32768);
    }
}
