//! For which kernels weights are laid out.

use picovit::format::{
    ConvRecord, Packing, WINOGRAD_INPUTS, WINOGRAD_OUTPUTS, WINOGRAD4_INPUTS, WINOGRAD4_OUTPUTS,
    WINOGRAD4_SUM_BITS, WINOGRAD4_TILE_OUTPUTS,
};

use crate::quantize::{QGraph, QLayer, QOp};

/// How the weights of an artifact lie, which decides on which processors it is fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Order of the weights of matrix products.
    pub packing: Packing,
    /// Whether 3x3 convolutions with a stride of 1 are computed by Winograd's algorithm: F(2x2, 3x3)
    /// for [`Packing::CortexM`], 2.25 times fewer products, 3.6 times the bytes of weights; F(4x4, 3x3)
    /// for [`Packing::Helium`], [`Packing::Wide`] and [`Packing::Portable`], 4 times fewer, 8 times the
    /// bytes, where a map has enough tiles.
    pub winograd: bool,
}

impl From<Packing> for Layout {
    /// Winograd where it is faster. Vectors multiply bytes twice as fast as the halfwords that it
    /// needs, so that only the larger tiles gain there; processors without either gain nothing from its
    /// additions, nor does AArch64 with dot products. Without them, as on a Cortex-A53 or A72, it takes
    /// fewer instructions, for those who ask for it.
    fn from(packing: Packing) -> Self {
        Self { packing, winograd: packing != Packing::Portable }
    }
}

/// Marks the convolutions that Winograd's algorithm can compute, and gains something.
pub(crate) fn mark_winograd(q: &mut QGraph, packing: Packing) {
    for op in &mut q.ops {
        let QOp::Conv { record, layer, .. } = op else { continue };
        let window = record.kernel == 3 && record.stride == 1 && record.low == i8::MIN;
        if !window {
            continue;
        }
        record.winograd = match packing {
            Packing::CortexM => u8::from(takes_tiles_of_2(record) && fits(layer, 30)),
            Packing::Helium => {
                2 * u8::from(takes_tiles_of_4(record) && fits(layer, WINOGRAD4_SUM_BITS))
            }
            Packing::Wide | Packing::Portable => {
                3 * u8::from(takes_many_tiles(record) && fits(layer, WINOGRAD4_SUM_BITS))
            }
            _ => 0,
        };
    }
}

/// Whether there are any of many tiles at a time.
pub(crate) fn has_many_tiles(q: &QGraph) -> bool {
    q.ops.iter().any(|op| matches!(op, QOp::Conv { record, .. } if record.winograd == 3))
}

fn takes_tiles_of_2(record: &ConvRecord) -> bool {
    [record.in_channels, record.in_channels2].iter().all(|c| c.is_multiple_of(4))
        && record.all_channels().is_multiple_of(WINOGRAD_INPUTS)
        && usize::from(record.out_channels).is_multiple_of(WINOGRAD_OUTPUTS)
}

/// Channels come in whole vectors, and the map in tiles that are full, or nearly so, and enough of them
/// for the bytes of the weights.
fn takes_tiles_of_4(record: &ConvRecord) -> bool {
    let (height, width) = record.map_size();
    let tiles = height.div_ceil(4) * width.div_ceil(4);
    channels_fit(record, WINOGRAD4_OUTPUTS) && tiles >= 8 && 16 * tiles * 4 <= 5 * height * width
}

/// As above, of larger vectors: tiles may be less full, as products are the smaller part.
fn takes_many_tiles(record: &ConvRecord) -> bool {
    let (height, width) = record.map_size();
    let tiles = height.div_ceil(4) * width.div_ceil(4);
    channels_fit(record, WINOGRAD4_TILE_OUTPUTS)
        && tiles >= 8
        && 16 * tiles * 2 <= 3 * height * width
}

/// Whether inputs, and outputs to this multiple, come in whole vectors.
fn channels_fit(record: &ConvRecord, outputs: usize) -> bool {
    let inputs = [record.in_channels, record.in_channels2];
    inputs.iter().all(|&c| usize::from(c).is_multiple_of(WINOGRAD4_INPUTS))
        && usize::from(record.out_channels).is_multiple_of(outputs)
}

/// Whether every sum, the bias among them, has so many bits and a sign at most, whatever the input: on
/// the way to it carries may be lost, as they come back.
fn fits(QLayer { weights, bias, .. }: &QLayer, bits: u32) -> bool {
    let inputs = weights.len() / bias.len().max(1);
    weights.chunks(inputs.max(1)).zip(bias).all(|(row, bias)| {
        let products: i64 = row.iter().map(|&w| 128 * i64::from(w.unsigned_abs())).sum();
        products + i64::from(bias.unsigned_abs()) < 1 << (bits - 1)
    })
}
