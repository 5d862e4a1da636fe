//! Matrix products on the vector units of hosts: eight outputs of two tokens at a time. What differs
//! from one instruction set to the other is the sums; what becomes of them is portable code that is
//! compiled anew for each.

use super::block::{Block, Operand};
use super::isa::Isa;
use super::layer::Int8;
use super::matmul::Matrix;
use super::requant::{mulhi_add, requant8, residual_add};
use crate::format::{Packing, TOKENS};

/// Outputs of a step.
pub(super) const LANES: usize = 8;

/// Sums of [`LANES`] outputs, for each token.
pub(super) type Sums = [[i32; LANES]; TOKENS];

/// Matrix products of one instruction set.
pub(super) trait Simd: Copy {
    /// Sums of [`Packing::Portable`]. Every row of weights has at least as many values as the tokens
    /// have; those behind do not count.
    fn rows<T: Operand>(self, weights: [&[i8]; LANES], tokens: [&[T]; TOKENS]) -> Sums;

    /// Sums of two tiles of [`Packing::CortexM`].
    fn tiles<T: Operand>(self, tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums;
}

/// Code that is compiled for every instruction set.
pub(super) trait Kernel {
    /// Its result.
    type Output;

    /// Runs it. Implementations are always inlined, which is what makes the caller's instruction set
    /// theirs.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel on the current instruction set; none if that is the portable one.
#[inline]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> Option<K::Output> {
    match Isa::current() {
        // SAFETY: only an instruction set that the processor has is current.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => Some(unsafe { super::x86::avx512::run(kernel) }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(unsafe { super::x86::avx2::run(kernel) }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => Some(unsafe { super::neon::dot::run(kernel) }),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(super::neon::plain::run(kernel)),
        _ => None,
    }
}

/// A matrix product whose sums go to `sink(first output, how many, sums)`.
#[inline(always)]
fn product<S: Simd, T: Operand>(
    simd: S,
    matrix: Matrix<'_>,
    block: &Block<'_>,
    mut sink: impl FnMut(usize, usize, Sums),
) {
    let Matrix { packing, outputs, inputs, bytes } = matrix;
    let tokens = block.rows::<T>();
    if inputs == 0 || tokens.iter().any(|token| token.len() != inputs) {
        return;
    }
    match packing {
        Packing::Portable => {
            let outputs = bytes.len() / inputs;
            for first in (0..outputs).step_by(LANES) {
                // Where rows are missing at the end, the last one takes their place.
                let row = |lane: usize| bytes.get((first + lane).min(outputs - 1) * inputs..);
                let rows = [0, 1, 2, 3, 4, 5, 6, 7].map(|lane| row(lane).unwrap_or_default());
                sink(first, LANES.min(outputs - first), simd.rows(rows, tokens));
            }
        }
        Packing::CortexM => {
            let tile_bytes = packing.matrix_bytes(LANES / 2, inputs);
            let outputs = outputs.min(bytes.len() / tile_bytes * (LANES / 2));
            for first in (0..outputs).step_by(LANES) {
                let start = first / (LANES / 2) * tile_bytes;
                let tiles = bytes.get(start..).unwrap_or_default();
                let one = tiles.get(..tile_bytes).unwrap_or_default();
                let two = tiles.get(tile_bytes..2 * tile_bytes).unwrap_or(one);
                sink(first, LANES.min(outputs - first), simd.tiles([one, two], tokens));
            }
        }
    }
}

/// [`LANES`] constants from `first` on; 0 where they are missing.
#[inline(always)]
fn lanes(values: &[i32], first: usize) -> [i32; LANES] {
    let values = values.get(first..).unwrap_or_default();
    match values.first_chunk() {
        Some(lanes) => *lanes,
        None => {
            let mut lanes = [0; LANES];
            lanes.iter_mut().zip(values).for_each(|(lane, &value)| *lane = value);
            lanes
        }
    }
}

/// Replaces `count` values of a row from `first` on, by place.
#[inline(always)]
fn replace<V: Copy + Default>(
    row: &mut [V],
    (first, count): (usize, usize),
    value: impl Fn(usize, V) -> V,
) {
    let rest = row.get_mut(first..).unwrap_or_default();
    match rest.first_chunk_mut::<LANES>() {
        Some(places) if count == LANES => {
            let old = *places;
            *places = core::array::from_fn(|lane| value(lane, old[lane]));
        }
        _ => {
            let places = rest.iter_mut().take(count).enumerate();
            places.for_each(|(lane, place)| *place = value(lane, *place));
        }
    }
}

/// [`linear_int8`](super::linear_int8).
pub(super) struct LinearInt8<'k, 'o> {
    pub(super) matrix: Matrix<'k>,
    pub(super) constants: [&'k [i32]; 2],
    pub(super) form: Int8,
    pub(super) block: &'k Block<'k>,
    pub(super) out: &'k mut [&'o mut [i8]; TOKENS],
}

impl Kernel for LinearInt8<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let [bias, mult] = self.constants;
        let Int8 { zero, low, shift } = self.form;
        product::<S, i8>(simd, self.matrix, self.block, |first, count, sums| {
            let (bias, mult) = (lanes(bias, first), lanes(mult, first));
            for (row, sums) in self.out.iter_mut().zip(sums) {
                replace(row, (first, count), |lane, _| {
                    let sum = sums[lane].wrapping_add(bias[lane]).wrapping_shl(shift);
                    mulhi_add(zero, sum, mult[lane]).min(127).max(low as i32) as i8
                });
            }
        });
    }
}

/// [`linear_add16`](super::linear_add16).
pub(super) struct LinearAdd16<'k, 'o> {
    pub(super) matrix: Matrix<'k>,
    pub(super) constants: [&'k [i32]; 2],
    pub(super) shift: u32,
    pub(super) block: &'k Block<'k>,
    pub(super) out: &'k mut [&'o mut [i16]; TOKENS],
}

impl Kernel for LinearAdd16<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let [bias, mult] = self.constants;
        product::<S, i8>(simd, self.matrix, self.block, |first, count, sums| {
            let (bias, mult) = (lanes(bias, first), lanes(mult, first));
            for (row, sums) in self.out.iter_mut().zip(sums) {
                replace(row, (first, count), |lane, x| {
                    residual_add(x, sums[lane].wrapping_add(bias[lane]), self.shift, mult[lane])
                });
            }
        });
    }
}

/// [`scores`](super::scores).
pub(super) struct Scores<'k, 'o> {
    pub(super) keys: Matrix<'k>,
    pub(super) queries: &'k Block<'k>,
    pub(super) out: &'k mut [&'o mut [i32]; TOKENS],
}

impl Kernel for Scores<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        product::<S, i8>(simd, self.keys, self.queries, |first, count, sums| {
            for (row, sums) in self.out.iter_mut().zip(sums) {
                replace(row, (first, count), |lane, _| sums[lane]);
            }
        });
    }
}

/// [`weighted_sums`](super::weighted_sums).
pub(super) struct WeightedSums<'k, 'o> {
    pub(super) values: Matrix<'k>,
    pub(super) weights: &'k Block<'k>,
    pub(super) mults: [i32; TOKENS],
    pub(super) out: &'k mut [&'o mut [i8]; TOKENS],
}

impl Kernel for WeightedSums<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        product::<S, u8>(simd, self.values, self.weights, |first, count, sums| {
            for ((row, sums), mult) in self.out.iter_mut().zip(sums).zip(self.mults) {
                replace(row, (first, count), |lane, _| requant8(sums[lane], mult, 0));
            }
        });
    }
}
