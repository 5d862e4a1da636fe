//! Sums of a projection as int8 outputs, with what they are added to.

#[cfg(not(mve))]
use super::requant::{mulhi_add, sat8};
#[cfg(all(wide, not(target_feature = "simd128")))]
use super::wide::{Kernel, LANES, Simd, dispatch};

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
        #[cfg(all(wide, not(target_feature = "simd128")))]
        let done = dispatch(OnVectors { sums, constants, shortcut, x: &mut *x }).unwrap_or(0);
        #[cfg(not(wide))]
        let done = 0;
        let [bias, mult] = constants;
        let Shortcut { zero_in, mult: kept, zero_out } = shortcut;
        let rest = x.iter_mut().zip(sums).zip(bias).zip(mult).skip(done);
        for (((x, &sum), &bias), &mult) in rest {
            let centred = i32::from(*x).wrapping_sub(zero_in) << 16;
            let value = mulhi_add(zero_out, centred, kept);
            *x = sat8(mulhi_add(value, sum.wrapping_add(bias), mult));
        }
    }
}

/// [`residual_add8`] of as many outputs as there are whole vectors of; how many that are.
#[cfg(all(wide, not(target_feature = "simd128")))]
struct OnVectors<'k> {
    sums: &'k [i32],
    constants: [&'k [i32]; 2],
    shortcut: Shortcut,
    x: &'k mut [i8],
}

#[cfg(all(wide, not(target_feature = "simd128")))]
impl Kernel for OnVectors<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let Shortcut { zero_in, mult: kept, zero_out } = self.shortcut;
        let [bias, mult] = self.constants.map(|values| values.as_chunks::<LANES>().0);
        let sums = self.sums.as_chunks::<LANES>().0.iter().zip(bias).zip(mult);
        let mut done = 0;
        for (x, ((sums, bias), &mult)) in self.x.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
            let (mut values, mut all) = ([0; LANES], *sums);
            for lane in 0..LANES {
                values[lane] = i32::from(x[lane]).wrapping_sub(zero_in);
                all[lane] = all[lane].wrapping_add(bias[lane]);
            }
            let values = simd.requant([zero_out; LANES], values, 16, [kept; LANES]);
            *x = simd.narrow8(simd.requant(values, all, 0, mult), i8::MIN);
            done += LANES;
        }
        done
    }
}
