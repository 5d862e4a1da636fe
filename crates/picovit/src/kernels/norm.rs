//! Layer norm in integers, section 6 of `docs/arithmetic.md`.

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::requant::{DIVIDES_64_BITS, mulhi, mulhi_add, sat8, sat16};
#[cfg(wide)]
use super::wide::{Kernel, Simd, dispatch};

/// A token's mean and reciprocal deviation, ready to normalise its channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NormalizedRow {
    width: i32,
    sum: i32,
    inverse: i32,
    shift: i32,
}

/// Statistics of one token of at most [`MAX_WIDTH`](crate::format::MAX_WIDTH) channels. `epsilon` is in squared
/// steps of `x`, times the squared number of channels, from 1 to below 2^60.
#[must_use]
pub fn normalize(x: &[i16], epsilon: u64) -> NormalizedRow {
    #[cfg(target_arch = "aarch64")]
    if neon::is_current() {
        let (steps, rest) = x.as_chunks();
        // SAFETY: NEON is current.
        let (sum, squares) = unsafe { neon::sums_of_squares(steps) };
        let sums = add_squares((sum, squares), rest);
        return NormalizedRow::of_sums(x.len(), sums, epsilon);
    }
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() {
        // SAFETY: AVX-512 is current.
        let sums = unsafe { super::x86::values512::sums_of_squares(x) };
        return NormalizedRow::of_sums(x.len(), sums, epsilon);
    }
    #[cfg(target_feature = "simd128")]
    if super::wasm::is_current() {
        let (steps, rest) = x.as_chunks();
        let sums = add_squares(super::wasm::sums_of_squares(steps), rest);
        return NormalizedRow::of_sums(x.len(), sums, epsilon);
    }
    #[cfg(wide)]
    if let Some(row) = dispatch(Normalize { x, epsilon }) {
        return row;
    }
    statistics(x, epsilon)
}

/// As [`normalize`], on the caller's instruction set.
#[inline(always)]
fn statistics(x: &[i16], epsilon: u64) -> NormalizedRow {
    #[cfg(mve)]
    let (sums, x_rest) = (super::helium::sums_of_squares(x), &[0i16; 0]);
    #[cfg(all(dsp, not(mve)))]
    let (sums, x_rest) = {
        let (pairs, rest) = x.as_chunks::<2>();
        (super::cortex_m::sums_of_squares(pairs), rest)
    };
    #[cfg(not(dsp))]
    let (sums, x_rest) = ((0i32, 0u64), x);
    NormalizedRow::of_sums(x.len(), add_squares(sums, x_rest), epsilon)
}

/// Adds values and their squares to sums of them.
#[inline(always)]
fn add_squares((mut sum, mut squares): (i32, u64), x: &[i16]) -> (i32, u64) {
    for &v in x {
        let v = v as i32;
        sum = sum.wrapping_add(v);
        squares = squares.wrapping_add((v * v) as u64);
    }
    (sum, squares)
}

/// `2^61 / root` of a root from 2^30 on, below 2^31.
#[inline(always)]
fn inverse(root: u32) -> u32 {
    match core::num::NonZeroU64::new(root.into()) {
        Some(root) if DIVIDES_64_BITS => ((1u64 << 61) / root) as u32,
        _ => inverse_by_digits(root),
    }
}

/// As [`inverse`], for processors that divide 32 bits at once: two digits of 16 bits (Knuth, The Art
/// of Computer Programming 2, 4.3.1, algorithm D).
fn inverse_by_digits(root: u32) -> u32 {
    // As 2^62 by a divisor whose highest bit is set.
    let divisor = root << 1 | u32::from(root >> 30 == 0) << 31;
    let (high, low) = (divisor >> 16, divisor & 0xffff);
    let digit = |rest: u32| {
        let mut digit = rest.checked_div(high).unwrap_or(0);
        let mut left = rest.wrapping_sub(digit.wrapping_mul(high));
        // At most twice.
        while digit >> 16 != 0 || digit.wrapping_mul(low) > left << 16 {
            digit = digit.wrapping_sub(1);
            left = left.wrapping_add(high);
            if left >> 16 != 0 {
                break;
            }
        }
        (digit, (rest << 16).wrapping_sub(digit.wrapping_mul(divisor)))
    };
    let (first, rest) = digit(1 << 30);
    let (second, _) = digit(rest);
    first << 16 | second
}

/// The largest whole number whose square is at most `v`.
#[inline(always)]
fn root(v: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if v >> 62 == 0 {
        return super::x86::values512::root(v);
    }
    if DIVIDES_64_BITS { v.isqrt() } else { root_by_digits(v) }
}

/// As [`root`], of a number from 2^60 on, below 2^62, for processors that divide 32 bits at once: a root
/// bit by bit of the upper half, a quotient for the lower one (Zimmermann, Karatsuba Square Root, INRIA
/// RR-3805).
fn root_by_digits(v: u64) -> u64 {
    let (mut high, mut rest) = (0u32, (v >> 32) as u32);
    let mut bit = 1u32 << 28;
    while bit > 0 {
        let square = high | bit;
        high >>= 1;
        if rest >= square {
            rest -= square;
            high |= bit;
        }
        bit >>= 2;
    }
    // The rest is at most twice the root.
    let quotient = (rest << 16 | (v as u32) >> 16).checked_div(2 * high).unwrap_or(0);
    let mut root = u64::from((high << 16).wrapping_add(quotient));
    // At most twice.
    while root * root > v {
        root -= 1;
    }
    root
}

impl NormalizedRow {
    /// The row of `count` values with this sum and this sum of squares.
    #[inline(always)]
    fn of_sums(count: usize, (sum, squares): (i32, u64), epsilon: u64) -> Self {
        let width = count as i32;
        let square_of_sum = (sum as i64 * sum as i64) as u64;
        let variance = (width as u64)
            .wrapping_mul(squares)
            .wrapping_sub(square_of_sum)
            .wrapping_add(epsilon)
            .max(1);
        let up = variance.leading_zeros().saturating_sub(2) & !1;
        let inverse = inverse(root(variance << up) as u32).min(i32::MAX as u32) as i32;
        Self { width, sum, inverse, shift: (up / 2) as i32 - 9 }
    }

    /// The normalised value of one channel, times 2^20.
    #[inline(always)]
    fn value(&self, x: i16) -> i32 {
        let n = self.width.wrapping_mul(x as i32).wrapping_sub(self.sum);
        let t = if self.shift >= 0 {
            n.wrapping_shl(self.shift as u32)
        } else {
            n.wrapping_shr(self.shift.unsigned_abs())
        };
        mulhi(t, self.inverse)
    }

    /// `width << shift`, `sum << shift` and inverse, where the shift is to the left: modulo 2^32,
    /// `(width * x - sum) << shift` is the same from these.
    #[cfg(any(dsp, target_arch = "x86_64", target_feature = "simd128"))]
    fn shifted(&self) -> Option<(i32, i32, i32)> {
        let shift = u32::try_from(self.shift).ok()?;
        Some((self.width.wrapping_shl(shift), self.sum.wrapping_shl(shift), self.inverse))
    }

    /// As above with a half of width and sum, if NEON is current.
    #[cfg(target_arch = "aarch64")]
    #[inline]
    fn halves(&self) -> Option<[i32; 3]> {
        let shift = u32::try_from(self.shift).ok()?.checked_sub(1)?;
        let values = [self.width.wrapping_shl(shift), self.sum.wrapping_shl(shift), self.inverse];
        neon::is_current().then_some(values)
    }

    /// The int8 output of all channels, as `gain` and `offset` have them: `round(2^20 * gamma / scale)`, and
    /// `round(256 * (beta / scale + zero)) + 128`.
    #[inline]
    pub fn write8(&self, x: &[i16], gain: &[i32], offset: &[i32], out: &mut [i8]) {
        #[cfg(mve)]
        if let Some(row) = self.shifted() {
            return super::helium::write8(x, row, gain, offset, out);
        }
        #[cfg(all(dsp, not(mve)))]
        let done = self.shifted().map_or(0, |row| {
            // Whole fours of channels.
            super::cortex_m::write8(x, row, gain, offset, out)
        });
        #[cfg(target_arch = "aarch64")]
        if let Some(halves) = self.halves() {
            // SAFETY: NEON is current.
            let done = unsafe { neon::write8(x, halves, [gain, offset], out) };
            if done < out.len() {
                self.write8_from(done, x, gain, offset, out);
            }
            return;
        }
        #[cfg(any(not(dsp), mve))]
        let done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(row) = self.shifted()
            && super::x86::is_avx512()
        {
            // SAFETY: AVX-512 is current.
            return unsafe { super::x86::values512::write8(x, row, gain, offset, out) };
        }
        #[cfg(target_feature = "simd128")]
        if let Some(row) = self.shifted()
            && super::wasm::is_current()
        {
            let done = super::wasm::write8(x, row, [gain, offset], out);
            return self.write8_from(done, x, gain, offset, out);
        }
        #[cfg(wide)]
        if dispatch(Write8 { row: *self, x, gain, offset, out: &mut *out }).is_some() {
            return;
        }
        self.write8_from(done, x, gain, offset, out);
    }

    /// As [`Self::write8`] from channel `done` on, on the caller's instruction set.
    #[inline(always)]
    fn write8_from(&self, done: usize, x: &[i16], gain: &[i32], offset: &[i32], out: &mut [i8]) {
        let rest = x.iter().zip(gain).zip(offset).zip(out).skip(done);
        for (((&x, &gain), &offset), out) in rest {
            *out = sat8(mulhi_add(offset, self.value(x), gain) >> 8);
        }
    }

    /// The int16 output of all channels, in place, as `gain` and `offset` have them: `round(2^12 * gamma / scale)`,
    /// and `round(beta / scale)`.
    #[inline]
    pub fn write16(&self, gain: &[i32], offset: &[i32], x: &mut [i16]) {
        #[cfg(mve)]
        if let Some(row) = self.shifted() {
            return super::helium::write16(x, row, gain, offset);
        }
        #[cfg(all(dsp, not(mve)))]
        let done = self.shifted().map_or(0, |row| {
            // Whole fours of channels.
            super::cortex_m::write16(x, row, gain, offset)
        });
        #[cfg(target_arch = "aarch64")]
        let done = self.halves().map_or(0, |halves| {
            // SAFETY: NEON is current.
            unsafe { neon::write16(x, halves, [gain, offset]) }
        });
        #[cfg(target_arch = "aarch64")]
        if done == x.len() {
            return;
        }
        #[cfg(all(any(not(dsp), mve), not(target_arch = "aarch64")))]
        let done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(row) = self.shifted()
            && super::x86::is_avx512()
        {
            // SAFETY: AVX-512 is current.
            return unsafe { super::x86::values512::write16(x, row, gain, offset) };
        }
        #[cfg(target_feature = "simd128")]
        let done = match self.shifted() {
            Some(row) if super::wasm::is_current() => super::wasm::write16(x, row, [gain, offset]),
            _ => done,
        };
        for ((x, &gain), &offset) in x.iter_mut().zip(gain).zip(offset).skip(done) {
            *x = sat16(mulhi_add(offset, self.value(*x), gain));
        }
    }

    /// [`Self::write8`] with the first gain and offset, then [`Self::write16`] with the second ones. All
    /// slices are as long as the row.
    #[cfg(wide)]
    pub fn write_both(
        &self,
        x: &mut [i16],
        narrow: [&[i32]; 2],
        wide: [&[i32]; 2],
        out: &mut [i8],
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(row) = self.shifted()
            && super::x86::is_avx512()
        {
            // SAFETY: AVX-512 is current.
            return unsafe { super::x86::values512::write_both(x, row, narrow, wide, out) };
        }
        self.write8(x, narrow[0], narrow[1], out);
        self.write16(wide[0], wide[1], x);
    }
}

/// [`normalize`].
#[cfg(wide)]
struct Normalize<'k> {
    x: &'k [i16],
    epsilon: u64,
}

#[cfg(wide)]
impl Kernel for Normalize<'_> {
    type Output = NormalizedRow;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> NormalizedRow {
        statistics(self.x, self.epsilon)
    }
}

/// [`NormalizedRow::write8`].
#[cfg(wide)]
struct Write8<'k> {
    row: NormalizedRow,
    x: &'k [i16],
    gain: &'k [i32],
    offset: &'k [i32],
    out: &'k mut [i8],
}

#[cfg(wide)]
impl Kernel for Write8<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.row.write8_from(0, self.x, self.gain, self.offset, self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_like_the_real_formula() {
        let x: [i16; 8] = [100, -2000, 32767, -32768, 5, 700, 12000, -3];
        let mean = x.iter().map(|&v| v as f64).sum::<f64>() / 8.0;
        let var = x.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / 8.0;
        let row = normalize(&x, 1);
        for &v in &x {
            let expected = (v as f64 - mean) / var.sqrt() * (1 << 20) as f64;
            assert!((row.value(v) as f64 - expected).abs() < 2.0, "{v}");
        }
    }

    #[test]
    fn inverses_are_exact() {
        let mut root = 1u32 << 30;
        while root < 1 << 31 {
            assert_eq!(u64::from(inverse_by_digits(root)), (1 << 61) / u64::from(root), "{root}");
            root += 7919;
        }
        for root in [1 << 30, (1 << 30) + 1, (1 << 31) - 1] {
            assert_eq!(u64::from(inverse_by_digits(root)), (1 << 61) / u64::from(root), "{root}");
        }
    }

    #[test]
    fn roots_are_exact() {
        let numbers = |start: u64| (0..1000).flat_map(move |i| [start + i, start - 1 - i]);
        let squares = [(1u64 << 30) + 1000, 0x5a82_799a, (1 << 31) - 1, 0x4000_ffff, 0x7fff_0001];
        let near = squares.into_iter().flat_map(|root| numbers(root * root));
        let spread = (0..437u64).map(|i| (1 << 60) + i * 7_919_000_000_000_003);
        for v in near.chain(spread).chain([1 << 60, (1 << 62) - 1]) {
            assert_eq!(root_by_digits(v), v.isqrt(), "{v}");
        }
    }

    #[test]
    fn constant_token_is_zero() {
        for v in [i16::MIN, -1, 0, 1, i16::MAX] {
            let row = normalize(&[v; 16], 1);
            assert_eq!(row.value(v), 0);
        }
    }
}
