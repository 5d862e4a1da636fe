//! Convolutions by Winograd of many tiles at a time, which are for hosts.

use picovit::format::{
    TileRows, WINOGRAD4_POSITIONS, WINOGRAD4_TILE_OUTPUTS, WINOGRAD4_TILE_SUMS,
    pack_winograd4_tiles, winograd4_weights,
};
use picovit::kernels::{TilePatches, Winograd, winograd4_tiles};

use crate::random::Random;
use crate::{Sum, token, weight};

/// Inputs at most: more than lie together.
const INPUTS: usize = 40;
/// Outputs at most.
const OUTPUTS: usize = 2 * WINOGRAD4_TILE_OUTPUTS;
/// Tiles of a row at most: more than share the weights, and no multiple of those.
const COLUMNS: usize = 6;
/// Pixels of the largest map, with those around it.
const PIXELS: usize = (4 * 2 + 2) * (4 * COLUMNS + 2);
/// Tiles that are computed at a time at most: as many rows as the largest map has.
const TILES: TileRows = TileRows::of((8, 4 * COLUMNS));

/// Memory that the kernels work on.
pub struct Memory {
    kernel: [i8; 9 * INPUTS * OUTPUTS],
    weights: [i16; winograd4_weights(OUTPUTS, INPUTS)],
    map: [i8; PIXELS * INPUTS],
    patches: [i16; TILES.patch_values(INPUTS)],
    sums: [i32; WINOGRAD4_TILE_SUMS],
    out: [i8; TILES.pixel_values(OUTPUTS)],
}

impl Memory {
    /// Of zeros.
    pub const fn new() -> Self {
        Self {
            kernel: [0; _],
            weights: [0; _],
            map: [0; _],
            patches: [0; _],
            sums: [0; _],
            out: [0; _],
        }
    }
}

/// Maps of one row of tiles or two, of one part or two.
pub fn tiles(memory: &mut Memory, random: &mut Random) -> Sum {
    let inputs = 8 * (1 + random.below(INPUTS as u32 / 8) as usize);
    let outputs = WINOGRAD4_TILE_OUTPUTS * (1 + random.below(2) as usize);
    let first = 8 * random.below(inputs as u32 / 8) as usize;
    let height = 4 * (1 + random.below(2) as usize);
    let tiles = TileRows::of((height, 4 * (1 + random.below(COLUMNS as u32) as usize)));
    let kernel = &mut memory.kernel[..9 * inputs * outputs];
    random.fill(kernel, weight);
    let weights = &mut memory.weights[..winograd4_weights(outputs, inputs)];
    pack_winograd4_tiles(kernel, inputs, weights);
    let columns = 4 * tiles.columns + 2;
    let map = &mut memory.map[..(4 * tiles.rows + 2) * columns * inputs];
    random.fill(map, token);
    // What is left of earlier cases must not matter.
    let values = &mut memory.patches[..tiles.patch_values(inputs)];
    values.fill(0x5a5a);
    let mut patches = TilePatches { values, tiles, inputs };
    for tile in 0..tiles.count() {
        let (top, left) = (4 * (tile / tiles.columns), 4 * (tile % tiles.columns));
        let part = |from: usize, to: usize| -> [&[i8]; WINOGRAD4_POSITIONS] {
            core::array::from_fn(|place| {
                let pixel = (top + place / 6) * columns + left + place % 6;
                &map[pixel * inputs..][from..to]
            })
        };
        patches.set(tile, &part(0, first), 0);
        patches.set(tile, &part(first, inputs), first);
    }
    let (mut bias, mut mult) = ([0; OUTPUTS], [0; OUTPUTS]);
    random.fill(&mut bias, |random| random.extreme(-(1 << 20), 1 << 20));
    random.fill(&mut mult, |random| random.extreme(0, 1 << 28));
    let zero = random.extreme(-128, 127);
    let layer = Winograd { weights, bias: &bias[..outputs], mult: &mult[..outputs], zero };
    let out = &mut memory.out[..tiles.pixel_values(outputs)];
    winograd4_tiles(layer, &patches, &mut memory.sums, out);
    let mut sum = Sum::EMPTY;
    sum.add_all(out);
    sum
}
