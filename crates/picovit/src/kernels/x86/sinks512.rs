//! What becomes of the sums of a matrix product by AVX-512, while they are in registers.

use core::arch::x86_64::*;
use core::ops::Range;

use super::super::layer::Int8;
use super::lanes512::{
    Addend, LANES, Mult, constants, first_lanes, halfwords, mulhi, mulhi_add, narrow, store,
};
use super::product512::ROWS;
use crate::format::TOKENS;

/// Sums of some tiles for each of some tokens.
pub(super) type Sums<const N: usize, const M: usize> = [[__m512i; N]; M];

/// Where outputs go: a row for each token.
pub(super) trait Rows<V> {
    /// A token's row, empty if there is none.
    fn row(&mut self, token: usize) -> &mut [V];
}

/// Rows of two tokens.
impl<V> Rows<V> for [&mut [V]; TOKENS] {
    #[inline(always)]
    fn row(&mut self, token: usize) -> &mut [V] {
        self.get_mut(token).map(|row| &mut **row).unwrap_or_default()
    }
}

/// Rows of so many values, one after the other.
pub(super) struct Many<'o, V>(pub(super) &'o mut [V], pub(super) usize);

impl<V> Rows<V> for Many<'_, V> {
    #[inline(always)]
    fn row(&mut self, token: usize) -> &mut [V] {
        self.0.get_mut(token * self.1..(token + 1) * self.1).unwrap_or_default()
    }
}

/// What becomes of the sums of a product. Always inlined, that sums stay in registers: so the functions
/// have no features of their own.
pub(super) trait Sink {
    /// What the sums of each output start with; 0 where it is missing.
    fn bias(&self) -> &[i32] {
        &[]
    }

    /// Takes the sums of some tokens from `token` on for the outputs in a range, or as many of them as
    /// `N` tiles have.
    ///
    /// # Safety
    /// The processor has AVX-512 F, BW and VL.
    unsafe fn take<const N: usize, const M: usize>(
        &mut self,
        token: usize,
        outputs: Range<usize>,
        sums: Sums<N, M>,
    );
}

/// Does something for each of `M` tokens. A loop over so much is not unrolled, and without that sums
/// do not stay in registers.
macro_rules! each_token {
    ($count:ident, $token:ident => $body:expr) => {
        const { assert!($count <= ROWS && ROWS == 4) };
        each_token!($count, $token, 0, $body);
        each_token!($count, $token, 1, $body);
        each_token!($count, $token, 2, $body);
        each_token!($count, $token, 3, $body);
    };
    ($count:ident, $token:ident, $index:literal, $body:expr) => {
        if $index < $count {
            let $token = $index;
            $body
        }
    };
}

/// Multipliers of some tiles.
#[inline]
#[target_feature(enable = "avx512f")]
fn mults<const N: usize>(mult: &[i32], first: usize) -> [Mult; N] {
    let mut mults = [Mult::splat(0); N];
    for (tile, place) in mults.iter_mut().enumerate() {
        *place = Mult::new(constants(mult, first + tile * LANES));
    }
    mults
}

/// Shifts the sums, where they have to be.
#[inline]
#[target_feature(enable = "avx512f")]
fn shift_left<const N: usize, const M: usize>(sums: &mut Sums<N, M>, shift: u32) {
    // Shifts are below 32; others would be taken modulo 32.
    let shift = (shift % 32) as i32;
    if shift > 0 {
        let count = _mm_cvtsi32_si128(shift);
        sums.as_flattened_mut().iter_mut().for_each(|sum| *sum = _mm512_sll_epi32(*sum, count));
    }
}

/// Writes values, saturated to int8 and none below `low`, as far as the row goes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn put8<const N: usize>(values: [__m512i; N], low: i8, row: &mut [i8]) {
    if let [a, b, c, d] = values[..] {
        return store(_mm512_max_epi8(narrow([a, b, c, d]), _mm512_set1_epi8(low)), row);
    }
    for (values, row) in values.into_iter().zip(row.chunks_mut(LANES)) {
        let bytes = _mm_max_epi8(_mm512_cvtsepi32_epi8(values), _mm_set1_epi8(low));
        // SAFETY: what is masked out is not touched.
        unsafe { _mm_mask_storeu_epi8(row.as_mut_ptr(), first_lanes(row.len()), bytes) };
    }
}

/// A row from `first` on, up to the last output.
#[inline(always)]
fn part<V>(row: &mut [V], Range { start, end }: Range<usize>) -> &mut [V] {
    let end = end.min(row.len());
    row.get_mut(start..end).unwrap_or_default()
}

/// Sums to int8.
pub(super) struct ToInt8<'k, R> {
    pub(super) constants: [&'k [i32]; 2],
    pub(super) form: Int8,
    pub(super) out: R,
}

impl<R: Rows<i8>> Sink for ToInt8<'_, R> {
    #[inline(always)]
    fn bias(&self) -> &[i32] {
        self.constants[0]
    }

    #[inline(always)]
    unsafe fn take<const N: usize, const M: usize>(
        &mut self,
        token: usize,
        outputs: Range<usize>,
        mut sums: Sums<N, M>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let Int8 { zero, low, shift } = self.form;
            shift_left(&mut sums, shift);
            let addend = Addend::splat(zero);
            let mults: [Mult; N] = mults(self.constants[1], outputs.start);
            each_token!(M, i => {
                for tile in 0..N {
                    sums[i][tile] = mulhi_add(addend, sums[i][tile], mults[tile]);
                }
                put8(sums[i], low, part(self.out.row(token + i), outputs.clone()));
            });
        }
    }
}

/// Sums to the residual stream.
pub(super) struct Add16<'k, R> {
    pub(super) constants: [&'k [i32]; 2],
    pub(super) shift: u32,
    pub(super) out: R,
}

impl<R: Rows<i16>> Sink for Add16<'_, R> {
    #[inline(always)]
    fn bias(&self) -> &[i32] {
        self.constants[0]
    }

    #[inline(always)]
    unsafe fn take<const N: usize, const M: usize>(
        &mut self,
        token: usize,
        outputs: Range<usize>,
        mut sums: Sums<N, M>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            shift_left(&mut sums, self.shift);
            let mults: [Mult; N] = mults(self.constants[1], outputs.start);
            each_token!(M, i => {
                let row = part(self.out.row(token + i), outputs.clone());
                for (tile, row) in row.chunks_mut(LANES).enumerate().take(N) {
                    let added = mulhi(sums[i][tile], mults[tile]);
                    let values = _mm512_cvtsepi32_epi16(_mm512_add_epi32(halfwords(row, 0), added));
                    let mask = first_lanes(row.len());
                    // What is masked out is not touched.
                    _mm256_mask_storeu_epi16(row.as_mut_ptr(), mask, values);
                }
            });
        }
    }
}

/// Sums as they are.
pub(super) struct Plain<R>(pub(super) R);

impl<R: Rows<i32>> Sink for Plain<R> {
    #[inline(always)]
    unsafe fn take<const N: usize, const M: usize>(
        &mut self,
        token: usize,
        outputs: Range<usize>,
        sums: Sums<N, M>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            for (sums, token) in sums.into_iter().zip(token..) {
                let row = part(self.0.row(token), outputs.clone());
                for (sum, row) in sums.into_iter().zip(row.chunks_mut(LANES)) {
                    // What is masked out is not touched.
                    _mm512_mask_storeu_epi32(row.as_mut_ptr(), first_lanes(row.len()), sum);
                }
            }
        }
    }
}

/// Sums by a multiplier for each token.
pub(super) struct Weighted<'k, R> {
    pub(super) mults: &'k [i32],
    pub(super) out: R,
}

impl<R: Rows<i8>> Sink for Weighted<'_, R> {
    #[inline(always)]
    unsafe fn take<const N: usize, const M: usize>(
        &mut self,
        token: usize,
        outputs: Range<usize>,
        mut sums: Sums<N, M>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            for (sums, token) in sums.iter_mut().zip(token..) {
                let mult = Mult::splat(self.mults.get(token).copied().unwrap_or(0));
                for sum in &mut *sums {
                    *sum = mulhi(*sum, mult);
                }
                put8(*sums, i8::MIN, part(self.out.row(token), outputs.clone()));
            }
        }
    }
}
