//! Sections 1, 3 and 7 of the contract: the arithmetic everything else is made of.

/// `clamp(v, -128, 127)`.
#[must_use]
pub fn sat8(v: i64) -> i8 {
    v.clamp(-128, 127) as i8
}

/// `clamp(v, -32768, 32767)`.
#[must_use]
pub fn sat16(v: i64) -> i16 {
    v.clamp(-32768, 32767) as i16
}

/// A value that the contract holds in an `i32`.
///
/// # Panics
/// If it does not fit: the compiler must not have written such an artifact.
#[must_use]
pub fn as_i32(v: i64) -> i32 {
    i32::try_from(v).unwrap_or_else(|_| panic!("{v} overflows an i32"))
}

/// `v << n`, where the compiler promises that no bit is lost.
///
/// # Panics
/// If one is.
#[must_use]
pub fn shift_left(v: i32, n: u32) -> i32 {
    assert!(n < 32, "a shift by {n}");
    as_i32(i64::from(v) << n)
}

/// `(a * m + 2^31) >> 32`.
#[must_use]
pub fn mulhi(a: i32, m: i32) -> i32 {
    as_i32((i64::from(a) * i64::from(m) + (1 << 31)) >> 32)
}

/// The largest integer whose square is at most `v`.
#[must_use]
pub fn isqrt(v: u64) -> u64 {
    let mut root = 0u64;
    for bit in (0..32).rev() {
        let larger = root | 1 << bit;
        if u128::from(larger) * u128::from(larger) <= u128::from(v) {
            root = larger;
        }
    }
    root
}

/// `sat8(z + mulhi(acc, m))`.
#[must_use]
pub fn requant8(acc: i32, m: i32, z: i32) -> i8 {
    sat8(i64::from(z) + i64::from(mulhi(acc, m)))
}

/// `sat16(mulhi(acc << shift, m))`.
#[must_use]
pub fn requant16(acc: i32, m: i32, shift: u32) -> i16 {
    sat16(i64::from(mulhi(shift_left(acc, shift), m)))
}

/// `min(floor((C + floor(D / 2)) / D), 2^31 - 1)`: the multiplier that also divides by `D`.
///
/// # Panics
/// If `C + floor(D / 2)` overflows a `u64`, or `D` is 0.
#[must_use]
pub fn row_mult(c: u64, d: u32) -> i32 {
    let numerator = c.checked_add(u64::from(d / 2)).expect("numerator of a row multiplier");
    (numerator / u64::from(d)).min((1 << 31) - 1) as i32
}

/// `bias + sum of w[i] * x[i]`, an accumulator.
///
/// # Panics
/// If the lengths differ or the result overflows an `i32`.
#[must_use]
pub fn affine<X: Copy + Into<i64>>(bias: i32, w: &[i8], x: &[X]) -> i32 {
    assert_eq!(w.len(), x.len());
    let mut acc = i64::from(bias);
    for (&w, &x) in w.iter().zip(x) {
        acc += i64::from(w) * x.into();
    }
    as_i32(acc)
}
