//! Matrix products on the vector units of hosts: eight outputs of two tokens at a time. What differs
//! from one instruction set to the other is the sums; what becomes of them is portable code that is
//! compiled anew for each.

use super::block::{Block, Operand};
use super::isa::Isa;
use super::layer::Int8;
use super::matmul::{self, Matrix};
use super::winograd4_tiles::{self, Constants, Squares, TilePairs, TileSums};
use crate::format::packing::{self, HELIUM_STEP, WIDE_TILE};
use crate::format::{Packing, TOKENS};
use crate::rows::rows;

/// Outputs of a step.
pub(super) const LANES: usize = 8;

/// A value for each output of a step.
pub(super) type Lanes = [i32; LANES];

/// Sums of [`LANES`] outputs, for each token.
pub(super) type Sums = [Lanes; TOKENS];

/// Matrix products of one instruction set.
pub(super) trait Simd: Copy {
    /// What [`Self::rows`] wants to know of the tokens.
    #[inline(always)]
    fn excess<T: Operand>(self, _: [&[T]; TOKENS]) -> [i32; TOKENS] {
        [0; TOKENS]
    }

    /// Sums of [`Packing::Portable`].
    fn rows<T: Operand>(
        self,
        weights: Rows<'_>,
        tokens: [&[T]; TOKENS],
        excess: [i32; TOKENS],
    ) -> Sums;

    /// Sums of two tiles of [`Packing::CortexM`].
    fn tiles<T: Operand>(self, tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums;

    /// Sums of a tile of [`Packing::Wide`]: of its first outputs, then of its last.
    #[inline(always)]
    fn sixteen<T: Operand>(self, tile: &[i8], tokens: [&[T]; TOKENS]) -> [Sums; 2] {
        let sums = matmul::sixteen(tile, tokens);
        let sum = |half: usize, token: usize| {
            core::array::from_fn(|lane| sums[half * LANES + lane][token])
        };
        [[sum(0, 0), sum(0, 1)], [sum(1, 0), sum(1, 1)]]
    }

    /// Adds the products of up to sixteen pairs of inputs of some transformed patches, a multiple of four.
    #[inline(always)]
    fn add_pairs(self, sums: TileSums, weights: &[[i16; 32]], patches: &TilePairs) -> TileSums {
        winograd4_tiles::add_pairs(sums, weights, patches)
    }

    /// The sixteen pixels of a tile of Winograd's, of some outputs, of the sums at each position.
    #[inline(always)]
    fn squares(self, constants: Constants, sums: impl Fn(usize) -> Lanes) -> Squares {
        winograd4_tiles::squares(constants, sums, |zero, sums, mult| {
            self.narrow8(self.requant([zero; LANES], sums, 0, mult), i8::MIN)
        })
    }

    /// `addend + mulhi(sum << shift, mult)`, lane by lane.
    fn requant(self, addend: Lanes, sums: Lanes, shift: u32, mult: Lanes) -> Lanes;

    /// Saturates to int8, none below `low`.
    fn narrow8(self, values: Lanes, low: i8) -> [i8; LANES];

    /// Saturates to int16.
    fn narrow16(self, values: Lanes) -> [i16; LANES];

    /// int8 outputs of all tokens.
    #[inline(always)]
    fn int8(self, sums: Sums, constants: [Lanes; 2], form: Int8) -> [[i8; LANES]; TOKENS] {
        let [bias, mult] = constants;
        let Int8 { zero, low, shift } = form;
        // No closure: that cannot be made to be inlined.
        let mut outputs = [[0; LANES]; TOKENS];
        for (outputs, sums) in outputs.iter_mut().zip(sums) {
            let values = self.requant([zero; LANES], plus(sums, bias), shift, mult);
            *outputs = self.narrow8(values, low);
        }
        outputs
    }
}

/// The functions of [`Simd`] that turn sums into outputs, from a module's functions of the same names.
macro_rules! outputs {
    () => {
        #[inline(always)]
        fn requant(self, addend: Lanes, sums: Lanes, shift: u32, mult: Lanes) -> Lanes {
            // SAFETY: `self` proves that the instructions exist.
            unsafe { requant(addend, sums, shift, mult) }
        }

        #[inline(always)]
        fn narrow8(self, values: Lanes, low: i8) -> [i8; LANES] {
            // SAFETY: `self` proves that the instructions exist.
            unsafe { narrow8(values, low) }
        }

        #[inline(always)]
        fn narrow16(self, values: Lanes) -> [i16; LANES] {
            // SAFETY: `self` proves that the instructions exist.
            unsafe { narrow16(values) }
        }
    };
}
pub(super) use outputs;

/// Makes [`Simd`] of a module's functions of the same names, for the type that proves that the
/// processor has their instructions.
#[cfg(target_arch = "aarch64")]
macro_rules! simd {
    ($proof:ident) => {
        impl Simd for $proof {
            #[inline(always)]
            fn rows<T: Operand>(
                self,
                weights: Rows<'_>,
                tokens: [&[T]; TOKENS],
                _: [i32; TOKENS],
            ) -> Sums {
                // SAFETY: `self` proves that the instructions exist.
                unsafe { rows(weights, tokens) }
            }

            #[inline(always)]
            fn tiles<T: Operand>(self, tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
                // SAFETY: `self` proves that the instructions exist.
                unsafe { self::tiles(tiles, tokens) }
            }

            #[inline(always)]
            fn add_pairs(
                self,
                sums: TileSums,
                weights: &[[i16; 32]],
                patches: &TilePairs,
            ) -> TileSums {
                // SAFETY: `self` proves that the instructions exist.
                unsafe { add_pairs(sums, weights, patches) }
            }

            #[inline(always)]
            fn squares(self, constants: Constants, sums: impl Fn(usize) -> Lanes) -> Squares {
                // SAFETY: `self` proves that the instructions exist.
                unsafe { squares(constants, sums) }
            }

            $crate::kernels::wide::outputs!();
        }
    };
}
#[cfg(target_arch = "aarch64")]
pub(super) use simd;

/// Up to [`LANES`] rows of weights.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Begins with the rows.
    bytes: &'a [i8],
    inputs: usize,
    /// Index of the last row.
    last: usize,
}

impl<'a> Rows<'a> {
    /// The rows from `first` on, of which there is at least one.
    #[inline(always)]
    fn new(bytes: &'a [i8], inputs: usize, first: usize) -> Option<Self> {
        let bytes = bytes.get(first * inputs..)?;
        // The quotient is needed at the end of a matrix only. A product could wrap where addresses have
        // 32 bits.
        let rows = if bytes.len() / LANES >= inputs { LANES } else { bytes.len() / inputs.max(1) };
        let last = rows.checked_sub(1)?;
        Some(Self { bytes, inputs, last })
    }

    /// Values of a row.
    #[inline(always)]
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// How many rows there are.
    #[inline(always)]
    fn count(&self) -> usize {
        self.last + 1
    }

    /// A row and what follows it: no fewer than [`Self::inputs`] values. Where a row is missing, the
    /// last one takes its place.
    #[inline(always)]
    pub(super) fn row(&self, lane: usize) -> &'a [i8] {
        let start = lane.min(self.last) * self.inputs;
        // SAFETY: `bytes` has `last + 1` rows of `inputs` values, see `new`.
        unsafe { self.bytes.get_unchecked(start..) }
    }
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
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(unsafe { super::neon::plain::run(kernel) }),
        #[cfg(target_feature = "simd128")]
        Isa::Simd128 => Some(kernel.run(super::wasm::Simd128)),
        _ => None,
    }
}

/// What becomes of the sums of a matrix product. A trait, not a closure: that cannot be made to be
/// inlined.
trait Sink {
    /// Takes the sums of `count` outputs from `first` on.
    fn take<S: Simd>(&mut self, simd: S, first: usize, count: usize, sums: Sums);
}

/// A matrix product.
#[inline(always)]
fn product<S: Simd, T: Operand>(
    simd: S,
    matrix: Matrix<'_>,
    block: &Block<'_>,
    mut sink: impl Sink,
) {
    let Matrix { packing, outputs, inputs, bytes } = matrix;
    let tokens = block.rows::<T>();
    let row = packing.row_bytes(inputs);
    if inputs == 0 || tokens.iter().any(|token| token.len() != row) {
        return;
    }
    match packing {
        Packing::Portable => {
            let outputs = bytes.len() / inputs;
            let excess = simd.excess(tokens);
            for first in (0..outputs).step_by(LANES) {
                let Some(rows) = Rows::new(bytes, inputs, first) else { return };
                sink.take(simd, first, rows.count(), simd.rows(rows, tokens, excess));
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
                sink.take(simd, first, LANES.min(outputs - first), simd.tiles([one, two], tokens));
            }
        }
        Packing::Helium => {
            let tiles = rows(bytes, packing.matrix_bytes(LANES, inputs));
            for (first, tile) in (0..outputs).step_by(LANES).zip(tiles) {
                let sums = helium_tile(simd, tile, tokens);
                sink.take(simd, first, LANES.min(outputs - first), sums);
            }
        }
        Packing::Wide => {
            let tiles = rows(bytes, packing.matrix_bytes(WIDE_TILE, inputs));
            for (first, tile) in (0..outputs).step_by(WIDE_TILE).zip(tiles) {
                let [one, two] = simd.sixteen(tile, tokens);
                sink.take(simd, first, LANES.min(outputs - first), one);
                let first = first + LANES;
                if first < outputs {
                    sink.take(simd, first, LANES.min(outputs - first), two);
                }
            }
        }
    }
}

/// Sums of a tile of [`Packing::Helium`], whose outputs are put in order step by step: hosts only have
/// to check what chips compute with it.
#[inline(always)]
fn helium_tile<S: Simd, T: Operand>(simd: S, tile: &[i8], tokens: [&[T]; TOKENS]) -> Sums {
    const HALF: usize = LANES / 2 * HELIUM_STEP;
    let mut sums = [[0; LANES]; TOKENS];
    let (even, odd) = tile.split_at(tile.len() / 2);
    let steps = even.as_chunks::<HALF>().0.iter().zip(odd.as_chunks::<HALF>().0);
    for (step, (even, odd)) in steps.enumerate() {
        let mut weights = [0; 2 * HALF];
        for (place, row) in weights.as_chunks_mut::<HELIUM_STEP>().0.iter_mut().enumerate() {
            let half = if place % 2 == 0 { even } else { odd };
            *row = half.as_chunks().0[place / 2];
            if !T::SIGNED {
                *row = row.map(packing::flip);
            }
        }
        let inputs = tokens.map(|token| {
            let mut inputs = [T::zeroed(); HELIUM_STEP];
            let rest = token.get(step * HELIUM_STEP..).unwrap_or_default();
            inputs.iter_mut().zip(rest).for_each(|(input, &value)| *input = value);
            inputs
        });
        let rows = Rows { bytes: &weights, inputs: HELIUM_STEP, last: LANES - 1 };
        let inputs = inputs.each_ref().map(|inputs| &inputs[..]);
        let added = simd.rows(rows, inputs, simd.excess(inputs));
        sums = core::array::from_fn(|token| plus(sums[token], added[token]));
    }
    sums
}

/// [`LANES`] values from `first` on; 0 where they are missing.
#[inline(always)]
fn lanes<V: Copy + Default>(values: &[V], first: usize) -> [V; LANES] {
    let values = values.get(first..).unwrap_or_default();
    match values.first_chunk() {
        Some(lanes) => *lanes,
        None => some_lanes(values),
    }
}

/// Fewer than [`LANES`] values. Not inlined: joined with the copy of all, they become a call that
/// copies a number of bytes.
#[cold]
#[inline(never)]
fn some_lanes<V: Copy + Default>(values: &[V]) -> [V; LANES] {
    let mut lanes = [V::default(); LANES];
    lanes.iter_mut().zip(values).for_each(|(lane, &value)| *lane = value);
    lanes
}

/// Sums, lane by lane.
#[inline(always)]
fn plus(a: Lanes, b: Lanes) -> Lanes {
    let mut sums = a;
    for lane in 0..LANES {
        sums[lane] = a[lane].wrapping_add(b[lane]);
    }
    sums
}

/// Writes `count` values of a row from `first` on.
#[inline(always)]
fn put<V: Copy>(row: &mut [V], first: usize, count: usize, values: [V; LANES]) {
    let rest = row.get_mut(first..).unwrap_or_default();
    match rest.first_chunk_mut::<LANES>() {
        Some(places) if count == LANES => *places = values,
        _ => rest.iter_mut().zip(values).take(count).for_each(|(place, value)| *place = value),
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
        product::<S, i8>(simd, self.matrix, self.block, self);
    }
}

impl Sink for LinearInt8<'_, '_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, first: usize, count: usize, sums: Sums) {
        let constants = self.constants.map(|values| lanes(values, first));
        let values = simd.int8(sums, constants, self.form);
        for (row, values) in self.out.iter_mut().zip(values) {
            put(row, first, count, values);
        }
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
        product::<S, i8>(simd, self.matrix, self.block, self);
    }
}

impl Sink for LinearAdd16<'_, '_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, first: usize, count: usize, sums: Sums) {
        let [bias, mult] = self.constants.map(|values| lanes(values, first));
        for (row, sums) in self.out.iter_mut().zip(sums) {
            let residual = lanes::<i16>(row, first).map(i32::from);
            let values = simd.requant(residual, plus(sums, bias), self.shift, mult);
            put(row, first, count, simd.narrow16(values));
        }
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
        product::<S, i8>(simd, self.keys, self.queries, self);
    }
}

impl Sink for Scores<'_, '_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, _: S, first: usize, count: usize, sums: Sums) {
        for (row, sums) in self.out.iter_mut().zip(sums) {
            put(row, first, count, sums);
        }
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
        product::<S, u8>(simd, self.values, self.weights, self);
    }
}

impl Sink for WeightedSums<'_, '_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, first: usize, count: usize, sums: Sums) {
        for ((row, sums), mult) in self.out.iter_mut().zip(sums).zip(self.mults) {
            let values = simd.requant([0; LANES], sums, 0, [mult; LANES]);
            put(row, first, count, simd.narrow8(values, i8::MIN));
        }
    }
}
