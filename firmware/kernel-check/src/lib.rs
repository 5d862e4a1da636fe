//! What the kernels of the engine and its pre-processing give for random shapes and values, summed
//! up. A chip and a host whose sums are equal compute the same; the host's can be those of the
//! portable kernels.

#![no_std]

mod floats;
mod frames;
mod random;
#[cfg(not(target_os = "none"))]
mod tiles;

use picovit::format::{
    EXP_ENTRIES, Packing, TABLE_ENTRIES, TOKENS, WINOGRAD_POSITIONS, WINOGRAD_SUMS,
    WINOGRAD4_POSITIONS, WINOGRAD4_SUMS, pack_winograd, pack_winograd4, winograd_patches,
    winograd_weights, winograd4_patch as winograd4_values, winograd4_weights,
};
use picovit::kernels::{
    Block, Depthwise, Int8, Matrix, PatchPairs, Shortcut, Window, Winograd, add_scaled,
    add_scaled_channels, copy_patch, depthwise, dot, dot_i16, linear_add16, linear_int8, look_up,
    max_into_row, multiply_add, normalize, residual_add8, scores, softmax_weights, weighted_sums,
    winograd, winograd_patch, winograd4, winograd4_patch,
};
use random::Random;

/// Outputs at most.
const OUTPUTS: usize = 40;
/// Inputs at most.
const INPUTS: usize = 704;
/// Values of a packed matrix at most: whatever a packing rounds up to fits.
const MATRIX: usize = OUTPUTS.next_multiple_of(16) * INPUTS;
/// Values of a matrix, packed and not, or of the largest convolution by Winograd.
const VALUES: usize =
    if winograd4_bytes(8, 136) > 2 * MATRIX { winograd4_bytes(8, 136) } else { 2 * MATRIX };

/// Bytes of a kernel, of a patch, of what both are transformed to.
const fn winograd4_bytes(outputs: usize, inputs: usize) -> usize {
    let untransformed = 9 * inputs * outputs + WINOGRAD4_POSITIONS * inputs;
    untransformed + 2 * winograd4_values(inputs) + 2 * winograd4_weights(outputs, inputs)
}

/// Aligned as an artifact and its arena are.
#[repr(align(16))]
struct Aligned<T>(T);

/// Memory that the kernels work on.
pub struct Memory {
    values: Aligned<[i8; VALUES]>,
    block: Aligned<[u8; 2 * TOKENS * INPUTS]>,
    tokens: Aligned<[[i8; INPUTS]; TOKENS]>,
    #[cfg(not(target_os = "none"))]
    tiles: tiles::Memory,
}

impl Memory {
    /// Of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            values: Aligned([0; VALUES]),
            block: Aligned([0; 2 * TOKENS * INPUTS]),
            tokens: Aligned([[0; INPUTS]; TOKENS]),
            #[cfg(not(target_os = "none"))]
            tiles: tiles::Memory::new(),
        }
    }
}

impl Aligned<[i8; VALUES]> {
    /// Memory for a matrix and for what it is packed to.
    fn matrices(&mut self) -> (&mut [i8], &mut [i8]) {
        self.0.split_at_mut(MATRIX)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// A sum of everything that it was given (FNV-1a, 32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum(u32);

impl Sum {
    /// Of nothing.
    const EMPTY: Self = Self(0x811c_9dc5);

    fn add(&mut self, value: i32) {
        for byte in value.to_le_bytes() {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn add_all<T: Copy + Into<i32>>(&mut self, values: &[T]) {
        values.iter().for_each(|&value| self.add(value.into()));
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0
    }
}

/// Sums up a case.
type Case = fn(&mut Memory, &mut Random) -> Sum;

/// Cases of each group that are worth the time.
pub const CASES: u32 = 300;

/// How many groups there are on boards: the first.
pub const ON_BOARDS: usize = 16;

#[cfg(target_os = "none")]
const _: () = assert!(GROUPS.len() == ON_BOARDS);

/// The groups of kernels, by name.
pub const GROUPS: &[(&str, Case)] = &[
    ("products, portable", |memory, random| products(memory, random, Packing::Portable)),
    ("products, cortex-m-dsp", |memory, random| products(memory, random, Packing::CortexM)),
    ("products, cortex-m-helium", |memory, random| products(memory, random, Packing::Helium)),
    ("products, wide", |memory, random| products(memory, random, Packing::Wide)),
    ("norms", |_, random| norms(random)),
    ("softmaxes", |memory, random| softmaxes(memory, random)),
    ("tables", |_, random| tables(random)),
    ("windows", |memory, random| windows(memory, random)),
    ("pairs of patches", |memory, random| patch_pairs(memory, random)),
    ("winograd", |memory, random| winograd_tiles(memory, random)),
    ("winograd, larger tiles", |memory, random| winograd4_tiles(memory, random)),
    ("depthwise", |memory, random| depthwise_rows(memory, random)),
    ("shortcuts", |_, random| shortcuts(random)),
    ("multiples", |_, random| multiples(random)),
    ("floats", |memory, random| floats::floats(memory, random)),
    ("frames", |memory, random| frames::frames(memory, random)),
    // Chips have neither the memory nor the kernels.
    #[cfg(not(target_os = "none"))]
    ("winograd, many tiles", |memory, random| tiles::tiles(&mut memory.tiles, random)),
];

/// Sums up so many cases of a group.
pub fn run(group: usize, cases: u32, memory: &mut Memory) -> Sum {
    let mut sum = Sum::EMPTY;
    let mut random = Random::new(1);
    for _ in 0..cases {
        sum.add(GROUPS[group].1(memory, &mut random).value() as i32);
    }
    sum
}

fn weight(random: &mut Random) -> i8 {
    random.extreme(-127, 127) as i8
}

fn token(random: &mut Random) -> i8 {
    random.extreme(-128, 127) as i8
}

/// Linear layers of any extent, with and without a second token, scores and weighted sums.
fn products(memory: &mut Memory, random: &mut Random, packing: Packing) -> Sum {
    let outputs = 1 + random.below(OUTPUTS as u32) as usize;
    let inputs = match random.below(4) {
        0 => 16 * (1 + random.below(INPUTS as u32 / 16) as usize),
        1 => 1 + random.below(INPUTS as u32) as usize,
        _ => 1 + random.below(150) as usize,
    };
    let Memory { values, block: bytes, tokens, .. } = memory;
    let (matrix, packed) = values.matrices();
    let matrix = &mut matrix[..outputs * inputs];
    let packed = &mut packed[..packing.matrix_bytes(outputs, inputs)];
    random.fill(matrix, weight);
    packing.pack(matrix, inputs, packed);
    let (mut bias, mut mult) = ([0; OUTPUTS], [0; OUTPUTS]);
    random.fill(&mut bias, |random| random.extreme(-(1 << 20), 1 << 20));
    random.fill(&mut mult, |random| random.extreme(0, 1 << 28));
    // What is left of earlier cases must not matter.
    let bytes = &mut bytes.0[..packing.block_bytes(inputs)];
    bytes.fill(0x5a);
    let mut block = Block::new(packing, inputs, bytes);
    for (i, token_values) in tokens.0.iter_mut().enumerate() {
        random.fill(&mut token_values[..inputs], token);
        block.set(i, &token_values[..inputs]);
    }
    let mut sum = Sum::EMPTY;
    let second = if random.below(3) == 0 { 0 } else { outputs };
    let form = Int8 {
        zero: random.extreme(-128, 127),
        low: random.extreme(-128, 10) as i8,
        shift: if random.below(2) == 0 { 0 } else { random.below(8) },
    };
    let weights = Matrix { packing, outputs, inputs, bytes: packed };
    let constants = [&bias[..outputs], &mult[..outputs]];
    let (mut one, mut two) = ([1i8; OUTPUTS], [2i8; OUTPUTS]);
    linear_int8(weights, constants, form, &block, [&mut one[..outputs], &mut two[..second]]);
    sum.add_all(&one);
    sum.add_all(&two);

    let (mut one, mut two) = ([0i16; OUTPUTS], [0i16; OUTPUTS]);
    random.fill(&mut one, |random| random.extreme(-32768, 32767) as i16);
    random.fill(&mut two, |random| random.extreme(-32768, 32767) as i16);
    let shift = random.below(8);
    linear_add16(weights, constants, shift, &block, [&mut one[..outputs], &mut two[..second]]);
    sum.add_all(&one);
    sum.add_all(&two);

    let (mut one, mut two) = ([1i32; OUTPUTS], [2i32; OUTPUTS]);
    scores(weights, &block, [&mut one[..outputs], &mut two[..outputs]]);
    sum.add_all(&one);
    sum.add_all(&two);

    packing.pack_unsigned(matrix, inputs, packed);
    for (i, token_values) in tokens.0.iter().enumerate() {
        let mut unsigned = [0u8; INPUTS];
        unsigned.iter_mut().zip(token_values).for_each(|(place, &value)| *place = value as u8);
        block.set(i, &unsigned[..inputs]);
    }
    let weights = Matrix { packing, outputs, inputs, bytes: packed };
    let (mut one, mut two) = ([1i8; OUTPUTS], [2i8; OUTPUTS]);
    let mults = [random.extreme(0, 1 << 28), random.extreme(0, 1 << 28)];
    weighted_sums(weights, &block, mults, [&mut one[..outputs], &mut two[..outputs]]);
    sum.add_all(&one);
    sum.add_all(&two);
    sum
}

/// Layer norms of quiet and loud tokens.
fn norms(random: &mut Random) -> Sum {
    const WIDTH: usize = 300;
    let width = 1 + random.below(WIDTH as u32) as usize;
    let quiet = random.below(15);
    let (mut x, mut gain, mut offset) = ([0i16; WIDTH], [0i32; WIDTH], [0i32; WIDTH]);
    random.fill(&mut x, |random| random.extreme(-32768, 32767) as i16 >> quiet);
    random.fill(&mut gain, |random| random.extreme(-(1 << 24), 1 << 24));
    random.fill(&mut offset, |random| random.extreme(-(1 << 20), 1 << 20));
    let (x, gain, offset) = (&mut x[..width], &gain[..width], &offset[..width]);
    let row = normalize(x, 1 + u64::from(random.bits() >> random.below(32)));
    let mut narrow = [0i8; WIDTH];
    row.write8(x, gain, offset, &mut narrow[..width]);
    row.write16(gain, offset, x);
    let mut sum = Sum::EMPTY;
    sum.add_all(&narrow);
    sum.add_all(x);
    sum
}

/// Weights of scores, whose differences fit what a model's scales allow.
fn softmaxes(memory: &mut Memory, random: &mut Random) -> Sum {
    const SCORES: usize = 100;
    let count = 1 + random.below(SCORES as u32) as usize;
    let (table, _) = memory.block.0.split_first_chunk_mut::<EXP_ENTRIES>().expect("there is room");
    random.fill(table, |random| random.bits() as u8);
    let mut scores = [0i32; SCORES];
    random.fill(&mut scores, |random| random.extreme(-(1 << 18), 1 << 18));
    let mut weights = [0u8; SCORES];
    let (shift, mult) = (random.below(12), random.extreme(0, 1 << 28));
    let (scores, weights) = (&scores[..count], &mut weights[..count]);
    let total = softmax_weights(scores, shift, mult, table, weights);
    let mut sum = Sum::EMPTY;
    sum.add(total as i32);
    sum.add_all(weights);
    sum
}

/// Tables.
fn tables(random: &mut Random) -> Sum {
    let (mut table, mut values) = ([0i8; TABLE_ENTRIES], [0i8; 100]);
    random.fill(&mut table, token);
    random.fill(&mut values, token);
    let count = random.below(100) as usize;
    look_up(&mut values[..count], &table);
    let mut sum = Sum::EMPTY;
    sum.add_all(&values);
    sum
}

/// Patches of convolutions and maxima of pools.
fn windows(memory: &mut Memory, random: &mut Random) -> Sum {
    const CHANNELS: usize = 40;
    let channels = 1 + random.below(CHANNELS as u32) as usize;
    let kernel = 1 + random.below(3) as usize;
    let window = Window {
        kernel,
        stride: 1 + random.below(3) as usize,
        padding: random.below(kernel as u32) as usize,
    };
    let (height, width) = (3 + random.below(5) as usize, 3 + random.below(5) as usize);
    let map = &mut memory.values.0[..height * width * channels];
    random.fill(map, token);
    let mut zero = [0i8; CHANNELS];
    random.fill(&mut zero, token);
    let corner = (random.below(height as u32) as usize, random.below(width as u32) as usize);
    let mut patch = [0i8; 9 * CHANNELS];
    let patch = &mut patch[..kernel * kernel * channels];
    copy_patch(map, (height, width, channels), window, corner, &zero[..channels], patch);
    let mut sum = Sum::EMPTY;
    sum.add_all(patch);
    let steps = (width + 2 * window.padding).saturating_sub(kernel) / window.stride + 1;
    let mut out = [i8::MIN; 8 * CHANNELS];
    max_into_row(&map[..width * channels], channels, window, &mut out[..steps.min(8) * channels]);
    sum.add_all(&out);
    sum
}

/// Patches that a kernel may write to a block two at once, and what is behind them in their last step.
fn patch_pairs(memory: &mut Memory, random: &mut Random) -> Sum {
    const CHANNELS: usize = 10;
    // Wide enough for patches whose values lie too far from each other.
    const EDGES: [u32; 2] = [8, 90];
    let kernel = 1 + random.below(5) as usize;
    // Few channels for large kernels, so that about half of the patches are small enough for it.
    let most = (40 / (kernel * kernel)).clamp(1, CHANNELS);
    let channels = 1 + random.below(most as u32) as usize;
    let window = Window {
        kernel,
        stride: 1 + random.below(3) as usize,
        padding: random.below(kernel as u32) as usize,
    };
    let [height, width] = EDGES.map(|edge| kernel + random.below(edge) as usize);
    let extent = (height, width, channels);
    let packing = Packing::Helium;
    let values = kernel * kernel * channels;
    let inputs = values.next_multiple_of(packing.step());
    let Memory { values: bytes, block, .. } = memory;
    let (matrix, packed) = bytes.matrices();
    let (weights, map) = matrix.split_at_mut(inputs);
    let map = &mut map[..height * width * channels];
    random.fill(map, token);
    random.fill(weights, weight);
    let packed = &mut packed[..packing.matrix_bytes(1, inputs)];
    packing.pack(weights, inputs, packed);
    let weights = Matrix { packing, outputs: 1, inputs, bytes: packed };
    let mut zero = [0i8; CHANNELS];
    random.fill(&mut zero, token);
    let zero = &zero[..channels];
    let steps = |size| (size + 2 * window.padding - kernel) / window.stride + 1;
    // The second patch may be behind the last.
    let [y, x] = [height, width].map(|size| random.extreme(0, steps(size) as i32 - 1) as usize);
    let bytes = &mut block.0[..packing.block_bytes(inputs)];
    bytes.fill(0x5a);
    let mut block = Block::new(packing, inputs, bytes);
    match PatchPairs::new(packing, map, extent, window, zero) {
        Some(pairs) => pairs.write((y, x), &mut block),
        None => {
            for token in 0..TOKENS {
                let corner = (y * window.stride, (x + token) * window.stride);
                let mut patch = [0i8; INPUTS];
                copy_patch(map, extent, window, corner, zero, &mut patch[..values]);
                block.set(token, &patch[..inputs]);
            }
        }
    }
    let (mut one, mut two) = ([0; 1], [0; 1]);
    scores(weights, &block, [&mut one, &mut two]);
    let mut sum = Sum::EMPTY;
    sum.add_all(&[one[0], two[0]]);
    sum
}

/// Tiles of convolutions by Winograd, of one map or two.
fn winograd_tiles(memory: &mut Memory, random: &mut Random) -> Sum {
    const CHANNELS: usize = 32;
    const TILES: usize = 16;
    let inputs = 16 * (1 + random.below(2) as usize);
    let outputs = 4 * (1 + random.below(4) as usize);
    let first = 4 * random.below(inputs as u32 / 4) as usize;
    let (kernel, weights) = memory.values.matrices();
    let kernel = &mut kernel[..9 * inputs * outputs];
    random.fill(kernel, weight);
    let weights = &mut weights[..2 * winograd_weights(outputs, inputs)];
    let weights = bytemuck::cast_slice_mut(weights);
    pack_winograd(kernel, inputs, weights);
    // What is left of earlier cases must not matter.
    let patches = &mut memory.block.0[..2 * winograd_patches(inputs)];
    patches.fill(0x5a);
    let patches: &mut [i16] = bytemuck::cast_slice_mut(patches);
    for token in 0..TOKENS {
        let mut pixels = [[0i8; CHANNELS]; WINOGRAD_POSITIONS];
        pixels.iter_mut().for_each(|pixel| random.fill(pixel, self::token));
        let part = |from: usize, to: usize| pixels.each_ref().map(|pixel| &pixel[from..to]);
        winograd_patch(part(0, first), (inputs, 0, token), patches);
        winograd_patch(part(first, inputs), (inputs, first, token), patches);
    }
    let (mut bias, mut mult) = ([0; TILES], [0; TILES]);
    random.fill(&mut bias, |random| random.extreme(-(1 << 20), 1 << 20));
    random.fill(&mut mult, |random| random.extreme(0, 1 << 28));
    let zero = random.extreme(-128, 127);
    let layer = Winograd { weights, bias: &bias[..outputs], mult: &mult[..outputs], zero };
    let (mut sums, mut out) = ([0; WINOGRAD_SUMS], [0; 8 * TILES]);
    winograd(layer, patches, &mut sums, &mut out[..8 * outputs]);
    let mut sum = Sum::EMPTY;
    sum.add_all(&out);
    sum
}

/// Larger tiles of convolutions by Winograd, of one map or two.
fn winograd4_tiles(memory: &mut Memory, random: &mut Random) -> Sum {
    // Kernels take eight inputs in a step and eight steps in a round of their loop: less than a round,
    // rounds that are begun at any step, two of them and more.
    const MANY: [usize; 6] = [40, 64, 72, 80, 88, 136];
    const OUTPUTS: usize = 16;
    let inputs = match random.below(3) {
        0 => 8 * (1 + random.below(4) as usize),
        1 => 8 * (1 + random.below(11) as usize),
        _ => MANY[random.below(MANY.len() as u32) as usize],
    };
    // As many weights as there is memory for.
    let groups = if winograd4_bytes(OUTPUTS, inputs) <= VALUES { OUTPUTS / 8 } else { 1 };
    let outputs = 8 * (1 + random.below(groups as u32) as usize);
    let first = 8 * random.below(inputs as u32 / 8) as usize;
    let (kernel, rest) = memory.values.0.split_at_mut(9 * inputs * outputs);
    random.fill(kernel, weight);
    let (pixels, rest) = rest.split_at_mut(WINOGRAD4_POSITIONS * inputs);
    random.fill(pixels, token);
    let (patch, weights) = rest.split_at_mut(2 * winograd4_values(inputs));
    let weights = &mut weights[..2 * winograd4_weights(outputs, inputs)];
    let weights = bytemuck::cast_slice_mut(weights);
    pack_winograd4(kernel, inputs, weights);
    // What is left of earlier cases must not matter.
    patch.fill(0x5a);
    let patch: &mut [i16] = bytemuck::cast_slice_mut(patch);
    let mut sums = [0x5a; WINOGRAD4_SUMS];
    let pixels = &*pixels;
    let part = |from: usize, to: usize| -> [&[i8]; WINOGRAD4_POSITIONS] {
        core::array::from_fn(|place| &pixels[place * inputs..][from..to])
    };
    winograd4_patch(&part(0, first), (inputs, 0), &mut sums, patch);
    winograd4_patch(&part(first, inputs), (inputs, first), &mut sums, patch);
    let (mut bias, mut mult) = ([0; OUTPUTS], [0; OUTPUTS]);
    random.fill(&mut bias, |random| random.extreme(-(1 << 20), 1 << 20));
    random.fill(&mut mult, |random| random.extreme(0, 1 << 28));
    let zero = random.extreme(-128, 127);
    let layer = Winograd { weights, bias: &bias[..outputs], mult: &mult[..outputs], zero };
    let mut out = [0; 16 * OUTPUTS];
    winograd4(layer, patch, &mut sums, &mut out[..16 * outputs]);
    let mut sum = Sum::EMPTY;
    sum.add_all(&out);
    sum
}

/// Rows of depthwise convolutions, of 3x3 kernels and others, in place.
fn depthwise_rows(memory: &mut Memory, random: &mut Random) -> Sum {
    const CHANNELS: usize = 48;
    let channels = match random.below(4) {
        0 => 1 + random.below(CHANNELS as u32) as usize,
        1 => 4 * (1 + random.below(CHANNELS as u32 / 4) as usize),
        _ => 8 * (1 + random.below(CHANNELS as u32 / 8) as usize),
    };
    let kernel = if random.below(4) == 0 { 1 + random.below(5) as usize } else { 3 };
    let stride = 1 + random.below(3) as usize;
    let outputs = 1 + random.below(9) as usize;
    // Pixels that no output needs are behind the last.
    let columns = (outputs - 1) * stride + kernel + random.below(3) as usize;
    let (ring, weights) = memory.values.matrices();
    let weights = &mut weights[..kernel * kernel * channels];
    random.fill(weights, weight);
    let ring = &mut ring[..kernel * columns * channels];
    random.fill(ring, token);
    let (mut bias, mut mult) = ([0; CHANNELS], [0; CHANNELS]);
    random.fill(&mut bias, |random| random.extreme(-(1 << 20), 1 << 20));
    random.fill(&mut mult, |random| random.extreme(0, 1 << 28));
    let layer = Depthwise {
        weights,
        bias: &bias[..channels],
        mult: &mult[..channels],
        zero: random.extreme(-128, 127),
        kernel,
        stride,
    };
    depthwise(layer, ring, random.below(kernel as u32) as usize, outputs);
    let mut sum = Sum::EMPTY;
    sum.add_all(ring);
    sum
}

/// Sums as outputs, added to values.
fn shortcuts(random: &mut Random) -> Sum {
    const WIDTH: usize = 100;
    let (mut sums, mut bias, mut mult) = ([0; WIDTH], [0; WIDTH], [0; WIDTH]);
    random.fill(&mut sums, |random| random.extreme(-(1 << 22), 1 << 22));
    random.fill(&mut bias, |random| random.extreme(-(1 << 20), 1 << 20));
    random.fill(&mut mult, |random| random.extreme(0, 1 << 28));
    let mut x = [0i8; WIDTH];
    random.fill(&mut x, token);
    let shortcut = Shortcut {
        zero_in: random.extreme(-128, 127),
        mult: random.extreme(0, 1 << 20),
        zero_out: random.extreme(-128, 127),
    };
    let count = random.below(WIDTH as u32) as usize;
    residual_add8(&sums, [&bias, &mult], shortcut, &mut x[..count]);
    let mut sum = Sum::EMPTY;
    sum.add_all(&x);
    sum
}

/// Multiples of values, added to the residual stream and to sums, and products added up. What is behind
/// the values stays as it is.
fn multiples(random: &mut Random) -> Sum {
    const WIDTH: usize = 70;
    let width = 1 + random.below(WIDTH as u32) as usize;
    let (mut x, mut weights) = ([0i8; WIDTH], [0i8; WIDTH]);
    random.fill(&mut x, token);
    random.fill(&mut weights, weight);
    let x = &x[..width];
    let mut stream = [[0i16; WIDTH]; 2];
    random.fill(stream.as_flattened_mut(), |random| random.extreme(-32768, 32767) as i16);
    let (mut zeros, mut mults, mut sums) = ([0; WIDTH], [0; WIDTH], [0; WIDTH]);
    random.fill(&mut zeros, |random| random.extreme(-128, 128));
    // The larger ones saturate.
    let most = i32::MAX >> random.below(12);
    random.fill(&mut mults, |random| random.extreme(0, most));
    random.fill(&mut sums, |random| random.extreme(-(1 << 30), 1 << 30));
    let [same, each] = &mut stream;
    add_scaled(x, zeros[0], mults[0], same);
    add_scaled_channels(x, &zeros, &mults, each);
    multiply_add(x, random.extreme(-255, 255), &mut sums);
    let start = random.extreme(-(1 << 20), 1 << 20);
    let mut sum = Sum::EMPTY;
    sum.add(dot(start, &weights[..width], x));
    sum.add(dot_i16(start, &weights, same));
    sum.add_all(stream.as_flattened());
    sum.add_all(&sums);
    sum
}
