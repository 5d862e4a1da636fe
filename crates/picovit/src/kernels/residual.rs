//! Sums of a projection as int8 outputs, with what they are added to.

#[cfg(not(mve))]
use super::requant::{mulhi_add, sat8};

/// How values are added to outputs: `mulhi((x - zero_in) << 16, mult)`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Shortcut {
    /// Zero point of the values.
    pub zero_in: i32,
    /// Multiplier.
    pub mult: i32,
    /// Zero point of the outputs.
    pub zero_out: i32,
}

/// `sat8(zero_out + mulhi(bias + sum, mult) + mulhi((x - zero_in) << 16, shortcut.mult))` in the place of
/// each `x`; `constants` are bias and multiplier of each.
#[inline]
pub fn residual_add8(sums: &[i32], constants: [&[i32]; 2], shortcut: Shortcut, x: &mut [i8]) {
    #[cfg(mve)]
    super::helium::residual_add8(sums, constants, shortcut, x);
    #[cfg(not(mve))]
    {
        #[cfg(target_feature = "simd128")]
        let done = if super::wasm::is_current() {
            super::wasm::residual_add8(sums, constants, shortcut, x)
        } else {
            0
        };
        #[cfg(not(target_feature = "simd128"))]
        let done = 0;
        let [bias, mult] = constants;
        let Shortcut { zero_in, mult: kept, zero_out } = shortcut;
        let rest = x.iter_mut().zip(sums).zip(bias).zip(mult).skip(done);
        for (((x, &sum), &bias), &mult) in rest {
            let value = mulhi_add(zero_out, (i32::from(*x) - zero_in) << 16, kept);
            *x = sat8(mulhi_add(value, sum.wrapping_add(bias), mult));
        }
    }
}
