//! How the weights of matrix products lie in an artifact.

#[cfg(wide)]
mod wide;

use super::align_up;
use crate::rows::{rows, rows_mut};
#[cfg(wide)]
pub(crate) use wide::{set_all_inputs, set_all_outputs};

/// Tokens, or pixels, that a matrix product takes at a time.
pub const TOKENS: usize = 2;

/// Channels that a tile of [`Packing::CortexM`] holds.
const TILE: usize = 4;

/// Outputs that a tile of [`Packing::Helium`] holds.
pub(crate) const HELIUM_TILE: usize = 8;

/// Inputs of one vector of [`Packing::Helium`].
pub(crate) const HELIUM_STEP: usize = 16;

/// Tokens that MLPs, and queries that attention takes at a time in [`Packing::Wide`].
pub(crate) const ROWS: usize = 16;

/// Outputs that a tile of [`Packing::Wide`] holds.
pub(crate) const WIDE_TILE: usize = 16;

/// Inputs of an output that lie together in [`Packing::Wide`].
pub(crate) const WIDE_QUAD: usize = 4;

/// Order of the weights of matrix products. It decides for which kernels an artifact is fast, and
/// how much scratch memory operations need; the results are the same.
///
/// A build that takes one packing only, see [`Self::ALL_TAKEN`], has no code for the others: the methods
/// then give sizes and orders of [`Self::NATIVE`], whatever `self` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Packing {
    /// Row-major.
    #[default]
    Portable = 0,
    /// For the DSP instructions of Armv7E-M and Armv8-M: tiles of four channels, two of which share
    /// a halfword.
    CortexM = 1,
    /// For Helium, the vectors of Cortex-M55: tiles of eight channels, the even ones in front of the
    /// odd ones, in steps of sixteen inputs.
    Helium = 2,
    /// For the vectors of hosts: tiles of sixteen outputs, four inputs of each beside each other.
    Wide = 3,
}

impl Packing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Portable, Self::CortexM, Self::Helium, Self::Wide];

    /// What the build's instruction set is fast for; 64-bit Arm takes rows as they are.
    pub const NATIVE: Self = if cfg!(mve) {
        Self::Helium
    } else if cfg!(dsp) {
        Self::CortexM
    } else if cfg!(any(target_arch = "x86_64", target_feature = "simd128")) {
        Self::Wide
    } else {
        Self::Portable
    };

    /// Whether the build takes all of them: without the feature `every-packing` a chip has the code for
    /// its own only.
    pub const ALL_TAKEN: bool = cfg!(any(feature = "every-packing", wide));

    /// The packing itself; a constant where only one is taken, so that code for the others is left out.
    #[inline(always)]
    pub(crate) const fn known(self) -> Self {
        if Self::ALL_TAKEN { self } else { Self::NATIVE }
    }

    /// The packing of [`Header::packing`](super::Header::packing), of those that the build takes.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        if !Self::ALL_TAKEN && id != Self::NATIVE as u8 {
            return None;
        }
        match id {
            0 => Some(Self::Portable),
            1 => Some(Self::CortexM),
            2 => Some(Self::Helium),
            3 => Some(Self::Wide),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::CortexM => "cortex-m-dsp",
            Self::Helium => "cortex-m-helium",
            Self::Wide => "wide",
        }
    }

    /// Bytes of a matrix of so many outputs and inputs; saturates.
    #[must_use]
    pub const fn matrix_bytes(self, outputs: usize, inputs: usize) -> usize {
        match self.known() {
            Self::Portable => outputs.saturating_mul(inputs),
            Self::CortexM => round(outputs, TILE).saturating_mul(round(inputs, 4)),
            Self::Helium => round(outputs, HELIUM_TILE).saturating_mul(round(inputs, HELIUM_STEP)),
            Self::Wide => round(outputs, WIDE_TILE).saturating_mul(round(inputs, WIDE_QUAD)),
        }
    }

    /// Bytes that [`TOKENS`] tokens of so many inputs take in front of a product, aligned;
    /// saturates.
    #[must_use]
    pub const fn block_bytes(self, inputs: usize) -> usize {
        match self.known() {
            Self::Portable => align_up(inputs.saturating_mul(TOKENS)),
            Self::CortexM => align_up(round(inputs, 4).saturating_mul(2 * TOKENS)),
            Self::Helium => align_up(round(inputs, HELIUM_STEP).saturating_mul(TOKENS)),
            Self::Wide => align_up(round(inputs, WIDE_QUAD).saturating_mul(TOKENS)),
        }
    }

    /// Whether products take many tokens, convolutions the patches of a whole row of their map, at
    /// once. Hosts have the memory, and weights come from memory less often.
    #[must_use]
    pub(crate) const fn by_rows(self) -> bool {
        matches!(self.known(), Self::Wide)
    }

    /// Bytes that so many tokens, or a convolution's patches of a row of so many pixels, take in front
    /// of a product that takes them at once on hosts, of two elsewhere; saturates.
    #[must_use]
    pub const fn row_block_bytes(self, inputs: usize, pixels: usize) -> usize {
        if !self.by_rows() {
            return self.block_bytes(inputs);
        }
        // The portable kernels take two at a time.
        let tokens = round(pixels, TOKENS);
        align_up(self.row_bytes(inputs).saturating_mul(tokens))
    }

    /// Bytes from one token of a block to the next, where a block keeps its rows as they were written.
    #[must_use]
    pub(crate) const fn row_bytes(self, inputs: usize) -> usize {
        match self.known() {
            Self::Wide => round(inputs, WIDE_QUAD),
            _ => inputs,
        }
    }

    /// Inputs that lie together in front of a product: whole steps of them can be written by
    /// themselves.
    #[must_use]
    pub const fn step(self) -> usize {
        match self.known() {
            Self::Portable | Self::Wide => 1,
            Self::CortexM => 4,
            Self::Helium => HELIUM_STEP,
        }
    }

    /// Packs a row-major matrix `[outputs][inputs]` of values in `-127..=127`. What pads it is 0.
    ///
    /// `packed` has [`Self::matrix_bytes`]; values that find no place in it are left out.
    pub fn pack(self, matrix: &[i8], inputs: usize, packed: &mut [i8]) {
        packed.fill(0);
        for (output, row) in rows(matrix, inputs).enumerate() {
            for (input, &value) in row.iter().enumerate() {
                self.set(packed, inputs, (output, input), value);
            }
        }
    }

    /// Writes outputs `output` and `output + 1` of a packed matrix, whose row the second is; `output`
    /// is even. Without a second row, the second output becomes anything.
    pub(crate) fn set_outputs(
        self,
        packed: &mut [i8],
        inputs: usize,
        output: usize,
        [first, second]: [&[i8]; TOKENS],
    ) {
        match self.known() {
            Self::Portable => {
                let places = packed.get_mut(output * inputs..).unwrap_or_default();
                copy(first, places);
                copy(second, places.get_mut(first.len()..).unwrap_or_default());
            }
            Self::CortexM => {
                let second = if second.is_empty() { first } else { second };
                let start = cortex_m_place(inputs, output, 0);
                // Chips have little room for two ways to do it fast.
                #[cfg(all(dsp, not(mve)))]
                if !crate::kernels::pack_rows(packed, start, [first, second]) {
                    for (row, output) in [first, second].into_iter().zip(output..) {
                        for (input, &value) in row.iter().enumerate() {
                            self.set(packed, inputs, (output, input), value);
                        }
                    }
                }
                #[cfg(not(all(dsp, not(mve))))]
                pack_rows(packed.get_mut(start..).unwrap_or_default(), [first, second]);
            }
            Self::Helium => {
                for (row, output) in [first, second].into_iter().zip(output..) {
                    let mut place = helium_place(inputs, output, 0);
                    #[cfg(mve)]
                    if crate::kernels::output(packed.get_mut(place..).unwrap_or_default(), row) {
                        continue;
                    }
                    let (steps, rest) = row.as_chunks::<HELIUM_STEP>();
                    for values in steps.iter().map(|step| &step[..]).chain([rest]) {
                        let places = packed.get_mut(place..place + values.len());
                        copy(values, places.unwrap_or_default());
                        place += HELIUM_TILE / 2 * HELIUM_STEP;
                    }
                }
            }
            Self::Wide => {
                let second = if second.is_empty() { first } else { second };
                let start = wide_place(inputs, output, 0);
                let places = packed.get_mut(start..).unwrap_or_default();
                let rows = Quads(first).zip(Quads(second));
                // The last step is a part of one.
                for (place, (first, second)) in places.chunks_mut(WIDE_TILE * WIDE_QUAD).zip(rows) {
                    if let Some(place) = place.first_chunk_mut() {
                        *place =
                            bytemuck::must_cast::<_, [i8; TOKENS * WIDE_QUAD]>([first, second]);
                    }
                }
            }
        }
    }

    /// Writes inputs `input` and `input + 1` of a packed matrix, one value for each output; `input`
    /// is even. Without a second row, the second input becomes anything.
    ///
    /// The matrix is for products with unsigned operands, see [`Self::flips`].
    pub(crate) fn set_inputs(
        self,
        packed: &mut [i8],
        inputs: usize,
        input: usize,
        [first, second]: [&[i8]; TOKENS],
    ) {
        match self.known() {
            Self::Portable => {
                #[cfg(target_arch = "aarch64")]
                if crate::kernels::columns(packed, inputs, input, [first, second]) == first.len() {
                    return;
                }
                for (values, column) in [first, second].into_iter().zip(input..) {
                    for (row, &value) in rows_mut(packed, inputs).zip(values) {
                        if let Some(place) = row.get_mut(column) {
                            *place = value;
                        }
                    }
                }
            }
            Self::CortexM => {
                let second = if second.is_empty() { first } else { second };
                #[cfg(all(dsp, not(mve)))]
                if !crate::kernels::pack_columns(packed, (inputs, input), [first, second]) {
                    for (column, input) in [first, second].into_iter().zip(input..inputs) {
                        for (output, &value) in column.iter().enumerate() {
                            self.set(packed, inputs, (output, input), value);
                        }
                    }
                }
                #[cfg(not(all(dsp, not(mve))))]
                pack_columns(packed, (inputs, input), [first, second]);
            }
            Self::Helium => {
                let second = if second.is_empty() { first } else { second };
                #[cfg(mve)]
                if crate::kernels::columns(packed, inputs, input, [first, second]) == first.len() {
                    return;
                }
                for (output, pair) in first.iter().zip(second).enumerate() {
                    let place = helium_place(inputs, output, input);
                    if let Some([one, two, ..]) = packed.get_mut(place..) {
                        (*one, *two) = (flip(*pair.0), flip(*pair.1));
                    }
                }
            }
            Self::Wide => {
                let second = if second.is_empty() { first } else { second };
                let tiles = rows_mut(packed, self.matrix_bytes(WIDE_TILE, inputs));
                let step = input / WIDE_QUAD * WIDE_TILE * WIDE_QUAD;
                for (index, tile) in tiles.enumerate() {
                    let first = first.get(index * WIDE_TILE..).unwrap_or_default();
                    let second = second.get(index * WIDE_TILE..).unwrap_or_default();
                    let quads = tile.get_mut(step..).unwrap_or_default();
                    let quads = quads.as_chunks_mut::<WIDE_QUAD>().0.iter_mut().take(WIDE_TILE);
                    for (quad, (&one, &two)) in quads.zip(first.iter().zip(second)) {
                        if input.is_multiple_of(WIDE_QUAD) {
                            [quad[0], quad[1]] = [one, two];
                        } else {
                            [quad[2], quad[3]] = [one, two];
                        }
                    }
                }
            }
        }
    }

    /// Whether matrices for products with unsigned operands hold each value's sign bit flipped, which
    /// is the value plus 128 as an unsigned byte: Helium only multiplies like signs.
    #[must_use]
    pub const fn flips(self) -> bool {
        matches!(self.known(), Self::Helium)
    }

    /// As [`Self::pack`], for products with unsigned operands.
    pub fn pack_unsigned(self, matrix: &[i8], inputs: usize, packed: &mut [i8]) {
        self.pack(matrix, inputs, packed);
        if self.flips() {
            packed.iter_mut().for_each(|value| *value = flip(*value));
        }
    }

    /// Writes one value of a packed matrix.
    pub(crate) fn set(
        self,
        packed: &mut [i8],
        inputs: usize,
        (output, input): (usize, usize),
        value: i8,
    ) {
        match self.known() {
            Self::Portable => {
                if let Some(place) = packed.get_mut(output * inputs + input) {
                    *place = value;
                }
            }
            Self::CortexM => {
                let place = cortex_m_place(inputs, output, input);
                let Some(half) = packed.get_mut(place..).and_then(|rest| rest.first_chunk_mut())
                else {
                    return;
                };
                let [low, high] = split(*half);
                *half = if output.is_multiple_of(2) { join(value, high) } else { join(low, value) };
            }
            Self::Helium => {
                if let Some(place) = packed.get_mut(helium_place(inputs, output, input)) {
                    *place = value;
                }
            }
            Self::Wide => {
                if let Some(place) = packed.get_mut(wide_place(inputs, output, input)) {
                    *place = value;
                }
            }
        }
    }
}

/// Writes two outputs of [`Packing::CortexM`], the even one first, from where their first halfword
/// lies.
#[cfg(not(all(dsp, not(mve))))]
fn pack_rows(places: &mut [i8], [first, second]: [&[i8]; TOKENS]) {
    let mut words = places.as_chunks_mut::<4>().0.iter_mut();
    for (first, second) in Quads(first).zip(Quads(second)) {
        let [even, _, odd, _] = [(); 4].map(|()| words.next());
        let (Some(even), Some(odd)) = (even, odd) else { return };
        let half = |input: usize| join(first[input], second[input]);
        *even = word(half(0), half(2));
        *odd = word(half(1), half(3));
    }
}

/// Writes two inputs of [`Packing::CortexM`], the even one first, of all outputs.
#[cfg(not(all(dsp, not(mve))))]
fn pack_columns(
    packed: &mut [i8],
    (inputs, input): (usize, usize),
    [first, second]: [&[i8]; TOKENS],
) {
    let tiles = rows_mut(packed, Packing::CortexM.matrix_bytes(TILE, inputs));
    let quad = input / 4 * 16;
    for (tile, (first, second)) in tiles.zip(Quads(first).zip(Quads(second))) {
        let quad = tile.get_mut(quad..).and_then(|rest| rest.first_chunk_mut::<16>());
        let Some(quad) = quad else { return };
        // Halfwords of the other two inputs lie between.
        let halves = [first, second].map(|v| [join(v[0], v[1]), join(v[2], v[3])]);
        let words = quad.as_chunks_mut::<4>().0.iter_mut();
        for (word, half) in words.zip(halves.into_iter().flatten()) {
            if input.is_multiple_of(4) {
                [word[0], word[1]] = half;
            } else {
                [word[2], word[3]] = half;
            }
        }
    }
}

/// A row, four values at a time; the last are filled up with 0.
struct Quads<'a>(&'a [i8]);

impl Iterator for Quads<'_> {
    type Item = [i8; 4];

    #[inline]
    fn next(&mut self) -> Option<[i8; 4]> {
        if let Some((quad, rest)) = self.0.split_first_chunk() {
            self.0 = rest;
            return Some(*quad);
        }
        let mut quad = [0; 4];
        quad.iter_mut().zip(self.0).for_each(|(value, &v)| *value = v);
        (!core::mem::take(&mut self.0).is_empty()).then_some(quad)
    }
}

#[cfg(not(all(dsp, not(mve))))]
const fn word([a, b]: [i8; 2], [c, d]: [i8; 2]) -> [i8; 4] {
    [a, b, c, d]
}

/// Where the halfword of a value starts in a packed matrix: `[tile of 4 channels][quad of 4
/// inputs][inputs 0 and 2, or 1 and 3][channels 0 and 1, or 2 and 3][first or second of these
/// inputs]`.
const fn cortex_m_place(inputs: usize, output: usize, input: usize) -> usize {
    let tile = output / TILE * TILE * round(inputs, 4);
    tile + input / 4 * 16 + input % 2 * 8 + output % TILE / 2 * 4 + input % 4 / 2 * 2
}

/// Where a value of [`Packing::Helium`] is: `[tile of 8 outputs][even or odd ones][step of 16
/// inputs][output][input]`.
pub(crate) const fn helium_place(inputs: usize, output: usize, input: usize) -> usize {
    let (half, step) = (HELIUM_TILE / 2, input / HELIUM_STEP);
    let halves = output / HELIUM_TILE * 2 + output % 2;
    let start = halves * half * round(inputs, HELIUM_STEP) + step * half * HELIUM_STEP;
    start + output % HELIUM_TILE / 2 * HELIUM_STEP + input % HELIUM_STEP
}

/// Where a value of [`Packing::Wide`] is: `[tile of 16 outputs][quad of 4 inputs][output][input]`.
pub(crate) const fn wide_place(inputs: usize, output: usize, input: usize) -> usize {
    let tile = output / WIDE_TILE * WIDE_TILE * round(inputs, WIDE_QUAD);
    let quad = input / WIDE_QUAD * WIDE_TILE + output % WIDE_TILE;
    tile + quad * WIDE_QUAD + input % WIDE_QUAD
}

/// A value with its sign bit flipped.
pub(crate) const fn flip(value: i8) -> i8 {
    value ^ i8::MIN
}

/// Copies as much as there is.
fn copy(source: &[i8], target: &mut [i8]) {
    target.iter_mut().zip(source).for_each(|(target, &value)| *target = value);
}

/// The values of two channels, `[even, odd]`, from their halfword `256 * odd + even`.
pub(crate) const fn split([low, high]: [i8; 2]) -> [i8; 2] {
    // A negative even channel has borrowed from the odd one.
    [low, high.wrapping_add((low < 0) as i8)]
}

/// The halfword of two channels.
const fn join(even: i8, odd: i8) -> [i8; 2] {
    [even, odd.wrapping_sub((even < 0) as i8)]
}

/// `count` rounded up to whole steps; saturates.
const fn round(count: usize, step: usize) -> usize {
    count.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn halfwords_hold_two_channels() {
        for even in -127..=127 {
            for odd in -127..=127 {
                let half = join(even, odd);
                let bytes = half.map(|v| v as u8);
                assert_eq!(i16::from_le_bytes(bytes), i16::from(odd) * 256 + i16::from(even));
                assert_eq!(split(half), [even, odd]);
            }
        }
    }

    #[test]
    fn places_fill_the_matrix() {
        for (outputs, inputs) in [(4, 4), (8, 12), (4, 64)] {
            let mut seen = [false; 256];
            for (output, input) in
                (0..outputs).step_by(2).flat_map(|o| (0..inputs).map(move |i| (o, i)))
            {
                let place = cortex_m_place(inputs, output, input);
                assert_eq!(place, cortex_m_place(inputs, output + 1, input));
                assert!(!core::mem::replace(&mut seen[place / 2], true));
            }
            let bytes = Packing::CortexM.matrix_bytes(outputs, inputs);
            assert!(seen[..bytes / 2].iter().all(|&seen| seen));
        }
    }

    /// Sets a matrix two rows at a time, and another two columns at a time.
    fn set_all(
        packing: Packing,
        (outputs, inputs): (usize, usize),
        (row, column): (impl Fn(usize) -> Vec<i8>, impl Fn(usize) -> Vec<i8>),
        [by_rows, by_columns]: [&mut [i8]; 2],
    ) {
        for output in (0..outputs).step_by(2) {
            let rows = [row(output), row(output + 1)];
            packing.set_outputs(by_rows, inputs, output, [&rows[0], &rows[1]]);
        }
        for input in (0..inputs).step_by(2) {
            let columns = [column(input), column(input + 1)];
            packing.set_inputs(by_columns, inputs, input, [&columns[0], &columns[1]]);
        }
    }

    /// One value of a packed matrix.
    fn value_at(
        packing: Packing,
        packed: &[i8],
        inputs: usize,
        (output, input): (usize, usize),
    ) -> i8 {
        match packing {
            Packing::Portable => packed[output * inputs + input],
            Packing::CortexM => {
                let place = cortex_m_place(inputs, output, input);
                split([packed[place], packed[place + 1]])[output % 2]
            }
            Packing::Helium => packed[helium_place(inputs, output, input)],
            Packing::Wide => packed[wide_place(inputs, output, input)],
        }
    }

    /// The last row or column may have none beside it: only what it takes the place of becomes anything.
    #[test]
    fn odd_numbers_of_rows_and_columns_are_packed_alike() {
        let value = |output: usize, input: usize| (output * 31 + input * 7) as i8 % 127;
        for packing in Packing::ALL {
            for (outputs, inputs) in [(1, 1), (3, 5), (9, 17), (49, 64), (64, 49), (17, 31)] {
                let row = |output| match output < outputs {
                    true => (0..inputs).map(|i| value(output, i)).collect::<Vec<_>>(),
                    false => Vec::new(),
                };
                let column = |input| match input < inputs {
                    true => (0..outputs).map(|o| value(o, input)).collect::<Vec<_>>(),
                    false => Vec::new(),
                };
                let bytes = packing.matrix_bytes(outputs, inputs);
                let (mut by_rows, mut by_columns) = (vec![0; bytes], vec![0; bytes]);
                set_all(packing, (outputs, inputs), (row, column), [&mut by_rows, &mut by_columns]);
                for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                    let expected = value(o, i);
                    let at = |packed: &[i8]| value_at(packing, packed, inputs, (o, i));
                    assert_eq!(at(&by_rows), expected, "{packing:?} {outputs} {inputs}: {o} {i}");
                    let unsigned = if packing.flips() { flip(expected) } else { expected };
                    assert_eq!(
                        at(&by_columns),
                        unsigned,
                        "{packing:?} {outputs} {inputs}: {o} {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn whole_rows_and_single_values_are_packed_alike() {
        let value = |output: usize, input: usize| (output * 31 + input * 7) as i8 % 127;
        for packing in Packing::ALL {
            for (outputs, inputs) in [(2, 2), (10, 18), (8, 16), (12, 40), (66, 34)] {
                let bytes = packing.matrix_bytes(outputs, inputs);
                let row = |output| (0..inputs).map(|i| value(output, i)).collect::<Vec<_>>();
                let column = |input| (0..outputs).map(|o| value(o, input)).collect::<Vec<_>>();
                let all: Vec<i8> = (0..outputs).flat_map(row).collect();
                let (mut signed, mut unsigned) = (vec![0; bytes], vec![0; bytes]);
                packing.pack(&all, inputs, &mut signed);
                packing.pack_unsigned(&all, inputs, &mut unsigned);
                let (mut by_rows, mut by_columns) = (vec![0; bytes], vec![0; bytes]);
                packing.pack_unsigned(&vec![0; all.len()], inputs, &mut by_columns);
                set_all(packing, (outputs, inputs), (row, column), [&mut by_rows, &mut by_columns]);
                assert!(by_rows == signed && by_columns == unsigned, "{packing:?}");
            }
        }
    }

    #[cfg(wide)]
    #[test]
    fn many_rows_are_packed_like_one() {
        let value = |output: usize, input: usize| (output * 31 + input * 7) as i8 % 127;
        for (outputs, inputs) in [(1, 1), (3, 5), (10, 18), (16, 16), (33, 40), (64, 65)] {
            let all: Vec<i8> =
                (0..outputs * inputs).map(|i| value(i / inputs, i % inputs)).collect();
            let turned: Vec<i8> =
                (0..outputs * inputs).map(|i| value(i % outputs, i / outputs)).collect();
            let bytes = Packing::Wide.matrix_bytes(outputs, inputs);
            let [mut expected, mut by_rows, mut by_columns] = [(); 3].map(|()| vec![0; bytes]);
            Packing::Wide.pack(&all, inputs, &mut expected);
            set_all_outputs(&mut by_rows, &all, inputs);
            set_all_inputs(&mut by_columns, &turned, outputs);
            assert_eq!(by_columns, expected, "{outputs} {inputs}");
            for (output, input) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                let place = wide_place(inputs, output, input);
                assert_eq!(by_rows[place], value(output, input), "{outputs} {inputs}");
            }
        }
    }

    #[cfg(any(feature = "every-packing", wide))]
    #[test]
    fn names_and_ids_are_theirs_alone() {
        for packing in Packing::ALL {
            assert_eq!(Packing::from_id(packing as u8), Some(packing));
        }
        assert_eq!(Packing::from_id(Packing::ALL.len() as u8), None);
    }
}
