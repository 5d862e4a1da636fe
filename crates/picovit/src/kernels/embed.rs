//! Tokens on their way into the residual stream.

#[cfg(not(mve))]
use super::requant::{mulhi_add, sat16};

/// Adds int8 values, scaled, to int16 values: `sat16(out + mulhi((x - zero) << 16, mult))`.
#[inline]
pub fn add_scaled(x: &[i8], zero: i32, mult: i32, out: &mut [i16]) {
    #[cfg(mve)]
    super::helium::add_scaled(x, zero, mult, out);
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() {
        // SAFETY: AVX-512 is current.
        return unsafe { super::x86::values512::add_scaled(x, zero, mult, out) };
    }
    #[cfg(target_feature = "simd128")]
    let done = if super::wasm::is_current() {
        let constants = Some([super::wasm::same(zero), super::wasm::same(mult)]);
        super::wasm::add_scaled(x, |_| constants, out)
    } else {
        0
    };
    #[cfg(not(any(target_feature = "simd128", mve)))]
    let done = 0;
    #[cfg(not(mve))]
    for (out, &x) in out.iter_mut().zip(x).skip(done) {
        *out = scaled(*out, x, zero, mult);
    }
}

/// As [`add_scaled`], with a zero point and a multiplier for each channel.
#[inline]
pub fn add_scaled_channels(x: &[i8], zeros: &[i32], mults: &[i32], out: &mut [i16]) {
    #[cfg(mve)]
    super::helium::add_scaled_channels(x, zeros, mults, out);
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() {
        // SAFETY: AVX-512 is current.
        return unsafe { super::x86::values512::add_scaled_channels(x, zeros, mults, out) };
    }
    #[cfg(target_feature = "simd128")]
    let done = if super::wasm::is_current() {
        let each = super::wasm::each;
        super::wasm::add_scaled(x, |at| Some([each(zeros, at)?, each(mults, at)?]), out)
    } else {
        0
    };
    #[cfg(not(any(target_feature = "simd128", mve)))]
    let done = 0;
    #[cfg(not(mve))]
    for (((out, &x), &zero), &mult) in out.iter_mut().zip(x).zip(zeros).zip(mults).skip(done) {
        *out = scaled(*out, x, zero, mult);
    }
}

#[cfg(not(mve))]
#[inline(always)]
fn scaled(out: i16, x: i8, zero: i32, mult: i32) -> i16 {
    let centred = (x as i32).wrapping_sub(zero).wrapping_shl(16);
    sat16(mulhi_add(out as i32, centred, mult))
}
