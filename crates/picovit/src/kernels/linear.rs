//! Dot products: the inner loop of every linear layer and convolution.

/// Products per round of [`dot`]: enough to hide the loop, few enough for short rows.
const UNROLL: usize = 16;

/// `bias + sum of w * x` over int8 operands.
#[must_use]
#[inline]
pub fn dot(bias: i32, w: &[i8], x: &[i8]) -> i32 {
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

/// `bias + sum of w * x` over int8 weights and int16 values.
#[must_use]
#[inline]
pub fn dot_i16(bias: i32, w: &[i8], x: &[i16]) -> i32 {
    let mut acc = bias;
    for (&w, &x) in w.iter().zip(x) {
        acc = acc.wrapping_add(w as i32 * x as i32);
    }
    acc
}
