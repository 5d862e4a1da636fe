//! For which kernels weights are laid out.

use picovit::format::{Packing, WINOGRAD_INPUTS, WINOGRAD_OUTPUTS};

use crate::quantize::{QGraph, QLayer, QOp};

/// How the weights of an artifact lie, which decides on which processors it is fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Order of the weights of matrix products.
    pub packing: Packing,
    /// Whether 3x3 convolutions with a stride of 1 are computed by Winograd's F(2x2, 3x3): 2.25 times
    /// fewer products, 3.6 times the bytes of weights.
    pub winograd: bool,
}

impl From<Packing> for Layout {
    /// Winograd where it is faster: vectors multiply bytes twice as fast as the halfwords that it
    /// needs, processors without either gain nothing from its additions.
    fn from(packing: Packing) -> Self {
        Self { packing, winograd: packing == Packing::CortexM }
    }
}

/// Marks the convolutions that Winograd's algorithm can compute.
pub(crate) fn mark_winograd(q: &mut QGraph) {
    for op in &mut q.ops {
        let QOp::Conv { record, layer, .. } = op else { continue };
        let whole = [record.in_channels, record.in_channels2].iter().all(|c| c.is_multiple_of(4))
            && record.all_channels().is_multiple_of(WINOGRAD_INPUTS)
            && usize::from(record.out_channels).is_multiple_of(WINOGRAD_OUTPUTS);
        let window = record.kernel == 3 && record.stride == 1 && record.low == i8::MIN;
        if whole && window && fits(layer) {
            record.winograd = 1;
        }
    }
}

/// Whether four times every sum fits 32 bits, whatever the input: on the way to it carries may be lost,
/// as they come back.
fn fits(QLayer { weights, bias, .. }: &QLayer) -> bool {
    let inputs = weights.len() / bias.len().max(1);
    weights.chunks(inputs.max(1)).zip(bias).all(|(row, bias)| {
        let products: i64 = row.iter().map(|&w| 128 * i64::from(w.unsigned_abs())).sum();
        4 * (products + i64::from(bias.unsigned_abs())) <= i64::from(i32::MAX)
    })
}
