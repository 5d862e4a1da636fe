//! Dot products: the inner loop of every linear layer and convolution.

/// Adds a multiple of int8 values to sums: `sums += factor * x`, as many as both slices hold.
#[inline]
pub fn multiply_add(x: &[i8], factor: i32, sums: &mut [i32]) {
    #[cfg(mve)]
    return super::helium::multiply_add(x, factor, sums);
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() {
        // SAFETY: AVX-512 is current.
        return unsafe { super::x86::values512::multiply_add(x, factor, sums) };
    }
    #[cfg(not(mve))]
    for (sum, &v) in sums.iter_mut().zip(x) {
        *sum = sum.wrapping_add(factor.wrapping_mul(v as i32));
    }
}

/// Products per round of [`dot`]: enough to hide the loop, few enough for short rows.
#[cfg(not(mve))]
const UNROLL: usize = 16;

/// `bias + sum of w * x` over int8 operands, which are equally many: of slices whose lengths differ it is
/// not said which values meet.
#[must_use]
#[inline]
pub fn dot(bias: i32, w: &[i8], x: &[i8]) -> i32 {
    #[cfg(mve)]
    return super::helium::dot(bias, w, x);
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() {
        // SAFETY: AVX-512 is current.
        return unsafe { super::x86::values512::dot(bias, w, x) };
    }
    #[cfg(not(mve))]
    dot_unrolled(bias, w, x)
}

/// As [`dot`], by the compiler.
#[cfg(not(mve))]
#[inline(always)]
fn dot_unrolled(bias: i32, w: &[i8], x: &[i8]) -> i32 {
    let (w, w_rest) = w.as_chunks::<UNROLL>();
    let (x, x_rest) = x.as_chunks::<UNROLL>();
    let mut acc = bias;
    for (w, x) in w.iter().zip(x) {
        for (&w, &x) in w.iter().zip(x) {
            acc = acc.wrapping_add(w as i32 * x as i32);
        }
    }
    for (&w, &x) in w_rest.iter().zip(x_rest) {
        acc = acc.wrapping_add(w as i32 * x as i32);
    }
    acc
}

/// `bias + sum of w * x` over int8 weights and int16 values, which are equally many.
#[must_use]
#[inline]
pub fn dot_i16(bias: i32, w: &[i8], x: &[i16]) -> i32 {
    let mut acc = bias;
    for (&w, &x) in w.iter().zip(x) {
        acc = acc.wrapping_add(w as i32 * x as i32);
    }
    acc
}
