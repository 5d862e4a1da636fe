//! Every instruction set's kernels against the portable ones, over shapes that fill no step and over
//! extreme values.

mod common;

use common::{agree, with_every_isa};
use picovit::format::{
    EXP_ENTRIES, Packing, TABLE_ENTRIES, TOKENS, TileRows, WINOGRAD_SUMS, WINOGRAD4_POSITIONS,
    WINOGRAD4_SUMS, WINOGRAD4_TILE_SUMS, pack_winograd, pack_winograd4, pack_winograd4_tiles,
    winograd_patches, winograd_weights, winograd4_patch as winograd4_values, winograd4_weights,
};
use picovit::kernels::{
    Block, Int8, Isa, Matrix, Operand, PixelRow, TilePatches, Window, Winograd, add_scaled,
    add_scaled_channels, convolve_row, dot, dot_i16, linear_add16, linear_add16_rows, linear_int8,
    linear_int8_rows, look_up, max_into_row, mulhi_add, multiply_add, normalize, patch_into_block,
    requant8, residual_add, sat16, scores, scores_rows, softmax_weights, weighted_sums,
    weighted_sums_rows, winograd, winograd_patch, winograd4, winograd4_patch, winograd4_tiles,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Often one of the extremes.
fn extreme<T: Clone + std::fmt::Debug + 'static>(
    range: impl Strategy<Value = T> + 'static,
    extremes: &[T],
) -> impl Strategy<Value = T> {
    prop_oneof![2 => range, 1 => select(extremes.to_vec())]
}

fn weight() -> impl Strategy<Value = i8> {
    extreme(-127..=127i8, &[-127, 127, 0])
}

fn token() -> impl Strategy<Value = i8> {
    extreme(any::<i8>(), &[-128, 127])
}

fn sum() -> impl Strategy<Value = i32> {
    extreme(-(1 << 20)..1 << 20, &[i32::MIN, i32::MAX, 0])
}

/// Outputs, inputs, a packing, weights, two tokens, bias, multipliers.
type Case<T> = (usize, usize, Packing, Vec<i8>, [Vec<T>; TOKENS], Vec<i32>, Vec<i32>);

fn case<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Case<T>> {
    let shape = (1..40usize, prop_oneof![1..150usize, 500..700usize], select(&Packing::ALL[..]));
    shape.prop_flat_map(move |(outputs, inputs, packing)| {
        let tokens = [vec(value.clone(), inputs), vec(value.clone(), inputs)];
        (
            Just(outputs),
            Just(inputs),
            Just(packing),
            vec(weight(), outputs * inputs),
            tokens,
            vec(sum(), outputs),
            vec(extreme(0..1 << 28, &[0, i32::MAX, i32::MIN]), outputs),
        )
    })
}

fn packed(outputs: usize, inputs: usize, packing: Packing, weights: &[i8]) -> Vec<i8> {
    let mut bytes = vec![0; packing.matrix_bytes(outputs, inputs)];
    packing.pack(weights, inputs, &mut bytes);
    bytes
}

/// Sums of a product `[tokens][outputs]` by its definition, of row-major weights.
fn sums<T: Copy + Into<i32>>(weights: &[i8], tokens: &[T], inputs: usize) -> Vec<i32> {
    let sum = |weights: &[i8], token: &[T]| {
        weights.iter().zip(token).map(|(&w, &x)| i32::from(w) * x.into()).sum()
    };
    let of_token = |token| weights.chunks(inputs).map(move |weights| sum(weights, token));
    tokens.chunks(inputs).flat_map(of_token).collect()
}

/// Memory of a block for so many tokens, whose old contents must not matter.
fn row_memory(inputs: usize, count: usize) -> Vec<u8> {
    vec![0x5a; Packing::Wide.row_block_bytes(inputs, count)]
}

/// A block of many tokens.
fn row_block<'m, T: Operand>(memory: &'m mut [u8], tokens: &[T], inputs: usize) -> Block<'m> {
    let mut block = Block::new(Packing::Wide, inputs, memory);
    for (i, token) in tokens.chunks(inputs).enumerate() {
        block.set(i, token);
    }
    block
}

fn filled<T: Operand>(block: &mut Block<'_>, tokens: &[Vec<T>; TOKENS]) {
    for (i, token) in tokens.iter().enumerate() {
        block.set(i, token);
    }
}

/// All outputs of a pixel by the definition of a 3x3 convolution, of kernels `[outputs][3][3][inputs]`.
fn direct<'p>(
    layer: Winograd<'_>,
    kernel: &[i8],
    inputs: usize,
    pixel: impl Fn(usize) -> &'p [i8],
) -> Vec<i8> {
    let output = |(output, kernel): (usize, &[i8])| {
        let taps = kernel.chunks(inputs).enumerate();
        let products = taps.flat_map(|(tap, weights)| {
            weights.iter().zip(pixel(tap)).map(|(&w, &x)| i32::from(w) * i32::from(x))
        });
        let sum = products.sum::<i32>() + layer.bias[output];
        mulhi_add(layer.zero, sum, layer.mult[output]).clamp(-128, 127) as i8
    };
    kernel.chunks(9 * inputs).enumerate().map(output).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn linear_layers(
        (outputs, inputs, packing, weights, tokens, bias, mult) in case(token().boxed()),
        (zero, low, shift) in (-128..=127, extreme(any::<i8>(), &[-128, 0]), 0..12u32),
        residual in vec(extreme(any::<i16>(), &[i16::MIN, i16::MAX]), 2 * 40),
        second in any::<bool>(),
    ) {
        let bytes = packed(outputs, inputs, packing, &weights);
        let matrix = Matrix { packing, outputs, inputs, bytes: &bytes };
        let mut memory = vec![0; packing.block_bytes(inputs)];
        let mut block = Block::new(packing, inputs, &mut memory);
        filled(&mut block, &tokens);
        let constants = [&bias[..], &mult];
        let width = if second { outputs } else { 0 };
        agree(|| {
            let (mut one, mut two) = (vec![1; outputs], vec![2; width]);
            let form = Int8 { zero, low, shift };
            linear_int8(matrix, constants, form, &block, [&mut one, &mut two]);
            (one, two)
        })?;
        agree(|| {
            let mut one = residual[..outputs].to_vec();
            let mut two = residual[outputs..outputs + width].to_vec();
            linear_add16(matrix, constants, shift, &block, [&mut one, &mut two]);
            (one, two)
        })?;
        agree(|| {
            let (mut one, mut two) = (vec![1; outputs], vec![2; width]);
            scores(matrix, &block, [&mut one, &mut two]);
            (one, two)
        })?;
    }

    /// Against the definition of a convolution.
    #[test]
    fn convolutions_by_winograd_in_larger_tiles(
        (outputs, inputs, kernel, pixels, bias, mult) in (1..3usize, 1..7usize).prop_flat_map(|(o, i)| {
            let (outputs, inputs) = (8 * o, 8 * i);
            (
                Just(outputs),
                Just(inputs),
                vec(weight(), outputs * 9 * inputs),
                vec(token(), WINOGRAD4_POSITIONS * inputs),
                vec(-(1 << 20)..1 << 20, outputs),
                vec(extreme(0..1 << 28, &[0, i32::MAX]), outputs),
            )
        }),
        zero in -128..=127,
        split in 0..7usize,
    ) {
        let mut weights = vec![0; winograd4_weights(outputs, inputs)];
        pack_winograd4(&kernel, inputs, &mut weights);
        let layer = Winograd { weights: &weights, bias: &bias, mult: &mult, zero };
        let split = (8 * split).min(inputs);
        let results = with_every_isa(|| {
            let mut patch = vec![0x5a; winograd4_values(inputs)];
            let mut sums = [0x5a; WINOGRAD4_SUMS];
            let part = |from: usize, to: usize| -> [&[i8]; WINOGRAD4_POSITIONS] {
                std::array::from_fn(|place| &pixels[place * inputs..][from..to])
            };
            winograd4_patch(&part(0, split), (inputs, 0), &mut sums, &mut patch);
            winograd4_patch(&part(split, inputs), (inputs, split), &mut sums, &mut patch);
            let mut out = vec![0; 16 * outputs];
            winograd4(layer, &patch, &mut sums, &mut out);
            out
        });
        let mut expected = Vec::new();
        for place in 0..16 {
            expected.extend(direct(layer, &kernel, inputs, |tap| {
                &pixels[((place / 4 + tap / 3) * 6 + place % 4 + tap % 3) * inputs..][..inputs]
            }));
        }
        for (isa, result) in results {
            prop_assert_eq!(&result, &expected, "{}", isa);
        }
    }

    /// Against the definition of a convolution, of all tiles of a map.
    #[test]
    fn convolutions_by_winograd_in_many_tiles(
        (tiles, outputs, inputs, kernel, map, bias, mult) in
            (1..18usize, 1..80usize, 1..4usize, 1..11usize).prop_flat_map(|(rows, columns, o, i)| {
                let tiles = TileRows::of((4 * rows, columns));
                let (outputs, inputs) = (16 * o, 8 * i);
                let pixels = (4 * tiles.rows + 2) * (4 * tiles.columns + 2);
                (
                    Just(tiles),
                    Just(outputs),
                    Just(inputs),
                    vec(weight(), outputs * 9 * inputs),
                    vec(token(), pixels * inputs),
                    vec(-(1 << 20)..1 << 20, outputs),
                    vec(extreme(0..1 << 28, &[0, i32::MAX]), outputs),
                )
            }),
        zero in -128..=127,
        split in 0..11usize,
    ) {
        let mut weights = vec![0; winograd4_weights(outputs, inputs)];
        pack_winograd4_tiles(&kernel, inputs, &mut weights);
        let layer = Winograd { weights: &weights, bias: &bias, mult: &mult, zero };
        let split = (8 * split).min(inputs);
        let columns = 4 * tiles.columns + 2;
        let pixel = |y: usize, x: usize| &map[(y * columns + x) * inputs..][..inputs];
        let results = with_every_isa(|| {
            let mut values = vec![0x5a; tiles.patch_values(inputs)];
            let mut patches = TilePatches { values: &mut values, tiles, inputs };
            for tile in 0..tiles.count() {
                let (top, left) = (4 * (tile / tiles.columns), 4 * (tile % tiles.columns));
                let part = |from: usize, to: usize| -> [&[i8]; WINOGRAD4_POSITIONS] {
                    std::array::from_fn(|place| &pixel(top + place / 6, left + place % 6)[from..to])
                };
                patches.set(tile, &part(0, split), 0);
                patches.set(tile, &part(split, inputs), split);
            }
            let mut sums = vec![0x5a; WINOGRAD4_TILE_SUMS];
            let mut out = vec![0; tiles.pixel_values(outputs)];
            winograd4_tiles(layer, &patches, &mut sums, &mut out);
            out
        });
        let mut expected = Vec::new();
        for (y, x) in (0..4 * tiles.rows).flat_map(|y| (0..4 * tiles.columns).map(move |x| (y, x))) {
            expected.extend(direct(layer, &kernel, inputs, |tap| pixel(y + tap / 3, x + tap % 3)));
        }
        for (isa, result) in results {
            prop_assert!(result == expected, "{}, {:?}", isa, tiles);
        }
    }

    /// Whatever weights and memory hold, of any number of tiles: sums wrap, and nothing panics.
    #[test]
    fn any_weights_of_many_tiles(
        (rows, columns) in (1..9usize, 1..30usize),
        weights in vec(extreme(any::<i16>(), &[i16::MIN, i16::MAX]), winograd4_weights(16, 8)),
        (pixels, mult) in (vec(token(), WINOGRAD4_POSITIONS * 8), vec(any::<i32>(), 16)),
    ) {
        let tiles = TileRows::of((rows, columns));
        let layer = Winograd { weights: &weights, bias: &mult, mult: &mult, zero: 3 };
        agree(|| {
            let mut values = vec![i16::MIN; tiles.patch_values(8)];
            let mut patches = TilePatches { values: &mut values, tiles, inputs: 8 };
            patches.set(0, &std::array::from_fn(|place| &pixels[8 * place..][..8]), 0);
            let mut sums = vec![0; WINOGRAD4_TILE_SUMS];
            let mut out = vec![0; tiles.pixel_values(16)];
            winograd4_tiles(layer, &patches, &mut sums, &mut out);
            out
        })?;
    }

    /// Against the definition of a convolution.
    #[test]
    fn convolutions_by_winograd(
        (outputs, inputs, kernel, pixels, bias, mult) in (1..5usize, 1..4usize).prop_flat_map(|(o, i)| {
            let (outputs, inputs) = (4 * o, 16 * i);
            (
                Just(outputs),
                Just(inputs),
                vec(weight(), outputs * 9 * inputs),
                vec(token(), TOKENS * 16 * inputs),
                vec(-(1 << 20)..1 << 20, outputs),
                vec(extreme(0..1 << 28, &[0, i32::MAX]), outputs),
            )
        }),
        zero in -128..=127,
        split in 0..4usize,
    ) {
        let mut weights = vec![0; winograd_weights(outputs, inputs)];
        pack_winograd(&kernel, inputs, &mut weights);
        let pixel = |token: usize, place: usize| &pixels[(token * 16 + place) * inputs..][..inputs];
        let layer = Winograd { weights: &weights, bias: &bias, mult: &mult, zero };
        let results = with_every_isa(|| {
            let mut patches = vec![0x5a; winograd_patches(inputs)];
            for token in 0..TOKENS {
                let part = |from: usize, to: usize| {
                    std::array::from_fn(|place| &pixel(token, place)[from..to])
                };
                winograd_patch(part(0, 4 * split), (inputs, 0, token), &mut patches);
                winograd_patch(part(4 * split, inputs), (inputs, 4 * split, token), &mut patches);
            }
            let (mut sums, mut out) = ([0; WINOGRAD_SUMS], vec![0; TOKENS * 4 * outputs]);
            winograd(layer, &patches, &mut sums, &mut out);
            out
        });
        let mut expected = Vec::new();
        for (token, place) in (0..TOKENS).flat_map(|t| [0, 1, 4, 5].map(|place| (t, place))) {
            expected.extend(direct(layer, &kernel, inputs, |tap| {
                pixel(token, place + tap / 3 * 4 + tap % 3)
            }));
        }
        for (isa, out) in results {
            prop_assert_eq!(&out, &expected, "{}", isa);
        }
    }

    #[test]
    fn weights_of_a_softmax(
        (outputs, inputs, packing, weights, tokens, _, mult) in case(extreme(any::<u8>(), &[0, 255]).boxed()),
    ) {
        let mut bytes = vec![0; packing.matrix_bytes(outputs, inputs)];
        packing.pack_unsigned(&weights, inputs, &mut bytes);
        let values = Matrix { packing, outputs, inputs, bytes: &bytes };
        let mut memory = vec![0; packing.block_bytes(inputs)];
        let mut block = Block::new(packing, inputs, &mut memory);
        filled(&mut block, &tokens);
        let mults = [mult[0], mult[outputs - 1]];
        agree(|| {
            let (mut one, mut two) = (vec![1; outputs], vec![2; outputs]);
            weighted_sums(values, &block, mults, [&mut one, &mut two]);
            (one, two)
        })?;
    }

    /// -128 is no weight, and plain NEON adds products in 16 bits because of that.
    #[test]
    fn any_bytes_are_row_major_weights(
        (inputs, bytes) in (1..80usize, vec(extreme(any::<i8>(), &[-128]), 80 * 9)),
        tokens in [vec(token(), 80), vec(token(), 80)],
    ) {
        let outputs = bytes.len() / inputs;
        let mut memory = vec![0; Packing::Portable.block_bytes(inputs)];
        let mut block = Block::new(Packing::Portable, inputs, &mut memory);
        filled(&mut block, &tokens.map(|token| token[..inputs].to_vec()));
        let products = |bytes: &[i8]| {
            let keys = Matrix { packing: Packing::Portable, outputs, inputs, bytes };
            let (mut one, mut two) = (vec![1; outputs], vec![2; outputs]);
            scores(keys, &block, [&mut one, &mut two]);
            (one, two)
        };
        let weights: Vec<i8> = bytes.iter().map(|&v| v.max(-127)).collect();
        agree(|| products(&weights))?;
        let results = with_every_isa(|| products(&bytes));
        for (name, result) in &results[1..] {
            if *name != Isa::Neon.name() {
                prop_assert_eq!(&results[0].1, result, "{}", name);
            }
        }
    }

    #[test]
    fn norms(
        (x, gain, offset) in (1..300usize).prop_flat_map(|width| (
            vec(extreme(any::<i16>(), &[i16::MIN, i16::MAX, 0]), width),
            vec(sum(), width),
            vec(sum(), width),
        )),
        (quiet, epsilon) in (0..15, extreme(1..1u64 << 40, &[1, (1 << 60) - 1])),
    ) {
        let x: Vec<i16> = x.iter().map(|v| v >> quiet).collect();
        agree(|| {
            let row = normalize(&x, epsilon);
            let (mut narrow, mut wide) = (vec![0; x.len()], x.clone());
            row.write8(&x, &gain, &offset, &mut narrow);
            row.write16(&gain, &offset, &mut wide);
            let (mut both8, mut both16) = (vec![0; x.len()], x.clone());
            row.write_both(&mut both16, [&gain, &offset], [&offset, &gain], &mut both8);
            (row, narrow, wide, both8, both16)
        })?;
    }

    #[test]
    fn softmaxes(
        scores in vec(extreme(-(1 << 18)..1 << 18, &[i32::MIN, i32::MAX, 0]), 0..100),
        (shift, mult) in (0..14u32, extreme(0..1 << 28, &[i32::MAX])),
        table in vec(any::<u8>(), EXP_ENTRIES),
    ) {
        let table: [u8; EXP_ENTRIES] = table.try_into().expect("that many");
        agree(|| {
            let mut weights = vec![1; scores.len()];
            let sum = softmax_weights(&scores, shift, mult, &table, &mut weights);
            (sum, weights)
        })?;
    }

    #[test]
    fn pooling(
        (columns, channels, kernel, stride, padding) in (
            1..12usize,
            prop_oneof![1..70usize, select(vec![16, 48, 64])],
            1..4usize,
            1..4usize,
            0..2usize,
        ),
        values in vec(token(), 70 * 40),
    ) {
        let width = values.len() / channels / 2;
        let (row, out) = values.split_at(width * channels);
        let columns = columns.min(out.len() / channels);
        let window = Window { kernel, stride, padding: padding.min(kernel - 1) };
        agree(|| {
            let mut out = out[..columns * channels].to_vec();
            max_into_row(row, channels, window, &mut out);
            out
        })?;
    }

    #[test]
    fn tables(
        values in vec(any::<i8>(), 0..100),
        table in vec(any::<i8>(), TABLE_ENTRIES),
    ) {
        let table: [i8; TABLE_ENTRIES] = table.try_into().expect("that many");
        let entries = values.iter().map(|&v| table[(i16::from(v) + 128) as usize]);
        let entries: Vec<i8> = entries.collect();
        for (isa, result) in with_every_isa(|| {
            let mut values = values.clone();
            look_up(&mut values, &table);
            values
        }) {
            prop_assert_eq!(&result, &entries, "{}", isa);
        }
    }

    /// Rows of a convolution's map, at the border and inside.
    #[test]
    fn convolved_rows(
        (height, width, channels) in (1..8usize, 1..42usize, 1..13usize),
        (kernel, stride, padding, y) in (1..4usize, 1..3usize, 0..3usize, 0..8usize),
        outputs in prop_oneof![1..40usize, select(vec![64, 80, 128])],
        map in vec(token(), 7 * 41 * 12),
        (zero, weights) in (vec(token(), 12), vec(weight(), 128 * 9 * 12)),
        (bias, mult) in (vec(sum(), 128), vec(extreme(0..1 << 28, &[0, i32::MAX]), 128)),
    ) {
        let map = &map[..height * width * channels];
        let padding = padding.min(kernel - 1);
        let steps = |size: usize| (size + 2 * padding).checked_sub(kernel).map(|s| s / stride + 1);
        let (Some(rows), Some(columns)) = (steps(height), steps(width)) else { return Ok(()) };
        let inputs = kernel * kernel * channels;
        let bytes = packed(outputs, inputs, Packing::Wide, &weights[..outputs * inputs]);
        let matrix = Matrix { packing: Packing::Wide, outputs, inputs, bytes: &bytes };
        let source = PixelRow {
            map,
            extent: (height, width, channels),
            window: Window { kernel, stride, padding },
            y: y.min(rows - 1),
            zero: &zero[..channels],
        };
        let constants = [&bias[..outputs], &mult[..outputs]];
        let form = Int8 { shift: 3, ..Int8::around(-7) };
        agree(|| {
            let mut memory = vec![0x5a; Packing::Wide.row_block_bytes(inputs, columns)];
            let mut block = Block::new(Packing::Wide, inputs, &mut memory);
            let mut out = vec![1; columns * outputs];
            convolve_row(matrix, constants, form, source, &mut block, &mut out);
            out
        })?;
    }

    /// Against the definition of a convolution.
    #[test]
    fn patches(
        (height, width, channels) in (1..8usize, 1..8usize, 1..30usize),
        (kernel, padding, y, x) in (1..4usize, 0..3usize, 0..8usize, 0..8usize),
        map in vec(token(), 7 * 7 * 29),
        zero in vec(token(), 29),
        packing in select(&[Packing::Portable, Packing::Wide][..]),
    ) {
        let map = &map[..height * width * channels];
        let padding = padding.min(kernel - 1);
        // The last corner of a map of this extent.
        let fits = |size: usize| (size + 2 * padding).checked_sub(kernel);
        let (Some(last_y), Some(last_x)) = (fits(height), fits(width)) else { return Ok(()) };
        let corner = (y.min(last_y), x.min(last_x));
        let taps = (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx)));
        let direct: Vec<i8> = taps.flat_map(|(ky, kx)| {
            let row = (corner.0 + ky).checked_sub(padding).filter(|&row| row < height);
            let column = (corner.1 + kx).checked_sub(padding).filter(|&column| column < width);
            match (row, column) {
                (Some(row), Some(column)) => &map[(row * width + column) * channels..][..channels],
                _ => &zero[..channels],
            }
        }).copied().collect();
        let window = Window { kernel, stride: 1, padding };
        let inputs = direct.len();
        // What is left of earlier work must not matter.
        let mut memory = vec![0x5a; packing.block_bytes(inputs)];
        let mut block = Block::new(packing, inputs, &mut memory);
        for token in 0..TOKENS {
            let extent = (height, width, channels);
            patch_into_block(map, extent, window, corner, &zero[..channels], (&mut block, token));
        }
        // Each value by itself, by way of a product with the identity.
        let identity: Vec<i8> = (0..inputs * inputs).map(|i| (i / inputs == i % inputs) as i8).collect();
        let mut bytes = vec![1; packing.matrix_bytes(inputs, inputs)];
        packing.pack(&identity, inputs, &mut bytes);
        let matrix = Matrix { packing, outputs: inputs, inputs, bytes: &bytes };
        let expected: Vec<i32> = direct.into_iter().map(i32::from).collect();
        for (isa, rows) in with_every_isa(|| {
            let (mut one, mut two) = (vec![0; inputs], vec![0; inputs]);
            scores(matrix, &block, [&mut one, &mut two]);
            [one, two]
        }) {
            prop_assert_eq!(&rows, &[expected.clone(), expected.clone()], "{}", isa);
        }
    }
}

/// Tokens of a product of many, at most.
const MANY: usize = 70;
/// Outputs of such a product: fewer than a tile of sixteen, whole tiles and groups of four, one more or
/// less than these.
const WIDTHS: [usize; 9] = [1, 15, 16, 17, 48, 63, 64, 65, 128];
/// Inputs of such a product, at most.
const DEPTH: usize = 90;

proptest! {
    // Values for all shapes at once: a smaller case of that tells nothing.
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(2) })]

    /// Against the definition of the products.
    #[test]
    fn products_of_many_tokens(
        weights in vec(weight(), 128 * DEPTH),
        (tokens, unsigned) in (vec(token(), MANY * DEPTH), vec(any::<u8>(), MANY * DEPTH)),
        residual in vec(extreme(any::<i16>(), &[i16::MIN, i16::MAX]), MANY * 128),
        (bias, mult) in (vec(sum(), 128), vec(extreme(0..1 << 28, &[0, i32::MAX, i32::MIN]), 128)),
        (zero, low, shift) in (-128..=127, extreme(any::<i8>(), &[-128, 0]), 0..12u32),
        start in 0..DEPTH,
    ) {
        let shapes = WIDTHS.into_iter().flat_map(|outputs| (1..=MANY).map(move |n| (outputs, n)));
        for (index, (outputs, count)) in shapes.enumerate() {
            let inputs = 1 + (start + 7 * index) % DEPTH;
            let (weights, tokens) = (&weights[..outputs * inputs], &tokens[..count * inputs]);
            let unsigned = &unsigned[..count * inputs];
            let residual = &residual[..count * outputs];
            let constants = [&bias[..outputs], &mult[..outputs]];
            let bytes = packed(outputs, inputs, Packing::Wide, weights);
            let matrix = Matrix { packing: Packing::Wide, outputs, inputs, bytes: &bytes };
            let form = Int8 { zero, low, shift };
            let results = with_every_isa(|| {
                let mut memory = row_memory(inputs, count);
                let mut block = row_block(&mut memory, tokens, inputs);
                let (mut narrow, mut wide) = (vec![1; count * outputs], residual.to_vec());
                let (mut plain, mut weighted) = (vec![2; count * outputs], vec![3; count * outputs]);
                linear_int8_rows(matrix, constants, form, &mut block, &mut narrow);
                linear_add16_rows(matrix, constants, shift, &mut block, &mut wide);
                scores_rows(matrix, &mut block, &mut plain);
                let mut memory = row_memory(inputs, count);
                let mut block = row_block(&mut memory, unsigned, inputs);
                weighted_sums_rows(matrix, &mut block, &mult[..count], &mut weighted);
                (narrow, wide, plain, weighted)
            });
            let plain = sums(weights, tokens, inputs);
            let with_bias = |place: usize| plain[place].wrapping_add(bias[place % outputs]);
            let narrow = (0..plain.len()).map(|place| {
                let sum = with_bias(place).wrapping_shl(shift);
                let value = mulhi_add(zero, sum, mult[place % outputs]);
                value.min(127).max(low.into()) as i8
            });
            let wide = residual.iter().enumerate().map(|(place, &x)| {
                residual_add(x, with_bias(place), shift, mult[place % outputs])
            });
            let weighted = sums(weights, unsigned, inputs).into_iter().enumerate();
            let weighted = weighted.map(|(place, sum)| requant8(sum, mult[place / outputs], 0));
            let (narrow, wide): (Vec<i8>, Vec<i16>) = (narrow.collect(), wide.collect());
            let expected = (narrow, wide, plain, weighted.collect::<Vec<i8>>());
            for (isa, result) in results {
                let shape = format!("{isa}, {count} tokens, {inputs} to {outputs}");
                prop_assert!(result.0 == expected.0, "int8, {}", shape);
                prop_assert!(result.1 == expected.1, "int16, {}", shape);
                prop_assert!(result.2 == expected.2, "scores, {}", shape);
                prop_assert!(result.3 == expected.3, "weighted sums, {}", shape);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Against their definitions. What is behind the shorter of two slices stays as it is.
    #[test]
    fn multiples_that_are_added(
        (x, channels) in (1..=70usize, 0..4usize).prop_flat_map(|(width, more)| {
            let zero = extreme(-128..=128, &[-128, 128, i32::MIN]);
            let mult = extreme(0..1 << 28, &[0, i32::MAX, i32::MIN]);
            let stream = extreme(any::<i16>(), &[i16::MIN, i16::MAX]);
            (vec(token(), width), vec((zero, mult, stream, sum()), width + more))
        }),
        factor in extreme(-255..=255, &[0, i32::MAX, i32::MIN]),
    ) {
        let zeros: Vec<i32> = channels.iter().map(|c| c.0).collect();
        let mults: Vec<i32> = channels.iter().map(|c| c.1).collect();
        let stream: Vec<i16> = channels.iter().map(|c| c.2).collect();
        let sums: Vec<i32> = channels.iter().map(|c| c.3).collect();
        let results = with_every_isa(|| {
            let [mut same, mut each] = [stream.clone(), stream.clone()];
            let mut added = sums.clone();
            add_scaled(&x, zeros[0], mults[0], &mut same);
            add_scaled_channels(&x, &zeros, &mults, &mut each);
            multiply_add(&x, factor, &mut added);
            (same, each, added)
        });
        let scaled = |i: usize, channel: usize| {
            let centred = i32::from(x[i]).wrapping_sub(zeros[channel]).wrapping_shl(16);
            sat16(mulhi_add(stream[i].into(), centred, mults[channel]))
        };
        let (mut same, mut each, mut added) = (stream.clone(), stream.clone(), sums.clone());
        for (i, &x) in x.iter().enumerate() {
            (same[i], each[i]) = (scaled(i, 0), scaled(i, i));
            added[i] = added[i].wrapping_add(factor.wrapping_mul(x.into()));
        }
        for (isa, result) in results {
            prop_assert_eq!(&result, &(same.clone(), each.clone(), added.clone()), "{}", isa);
        }
    }

    /// Against their definition.
    #[test]
    fn dot_products(
        values in vec((token(), token(), extreme(any::<i16>(), &[i16::MIN, i16::MAX])), 0..300),
        start in sum(),
    ) {
        let w: Vec<i8> = values.iter().map(|v| v.0).collect();
        let x: Vec<i8> = values.iter().map(|v| v.1).collect();
        let wide: Vec<i16> = values.iter().map(|v| v.2).collect();
        let narrow = w.iter().zip(&x).map(|(&w, &x)| i32::from(w) * i32::from(x));
        let products = w.iter().zip(&wide).map(|(&w, &x)| i32::from(w) * i32::from(x));
        let expected = [
            narrow.fold(start, i32::wrapping_add),
            products.fold(start, i32::wrapping_add),
        ];
        for (isa, result) in with_every_isa(|| [dot(start, &w, &x), dot_i16(start, &w, &wide)]) {
            prop_assert_eq!(result, expected, "{}", isa);
        }
    }
}
