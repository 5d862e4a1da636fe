//! Multiply-accumulates of an operation, as the header counts them: products of convolutions, linear
//! layers, attention and sequence pooling, taps on the border included.

use super::Op;

/// Product of extents.
fn product<const N: usize>(extents: [usize; N]) -> u64 {
    extents.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent as u64))
}

/// Four projections, then scores and weighted sums within each group of tokens.
fn attention(tokens: u16, width: u16, heads: u16, head_dim: u16, groups: u16) -> u64 {
    let inner = usize::from(heads) * usize::from(head_dim);
    let tokens = usize::from(tokens);
    let attended = tokens / usize::from(groups.max(1));
    product([4, tokens, width.into(), inner]).saturating_add(product([2, tokens, attended, inner]))
}

macro_rules! conv {
    ($record:expr) => {{
        let ((height, width), kernel) = ($record.map_size(), $record.kernel.into());
        let (inputs, outputs) = ($record.all_channels(), $record.out_channels.into());
        product([height, width, kernel, kernel, inputs, outputs])
    }};
}

macro_rules! inverted_residual {
    ($record:expr) => {{
        let ((height, width), kernel) = ($record.out_size(), usize::from($record.kernel));
        let (rows, columns) = ($record.in_height.into(), $record.in_width.into());
        let hidden = usize::from($record.hidden);
        let each = kernel * kernel + usize::from($record.out_channels);
        let expansion = product([rows, columns, $record.in_channels.into(), hidden]);
        expansion.saturating_add(product([height, width, hidden, each]))
    }};
}

macro_rules! embed {
    ($record:expr) => {
        match $record.weights {
            0 => 0,
            _ => product([$record.pixels(), $record.width.into(), $record.in_channels.into()]),
        }
    };
}

impl Op<'_> {
    /// Multiply-accumulates of one run, for reports.
    #[must_use]
    pub fn macs(&self) -> u64 {
        macro_rules! attention {
            ($r:expr) => {
                attention($r.tokens, $r.width, $r.heads, $r.head_dim, $r.groups)
            };
        }
        macro_rules! mlp {
            ($r:expr) => {
                product([2, $r.tokens.into(), $r.width.into(), $r.hidden.into()])
            };
        }
        macro_rules! seq_pool {
            ($r:expr) => {
                product([2, $r.tokens.into(), $r.width.into()])
            };
        }
        match self {
            Self::Conv(op) => conv!(op.record),
            Self::Embed(op) => embed!(op.record),
            Self::Attention(op) => attention!(op.record),
            Self::Mlp(op) => mlp!(op.record),
            Self::SeqPool(op) => seq_pool!(op.record),
            Self::Head(op) => product([op.record.width.into(), op.record.classes.into()]),
            Self::InvertedResidual(op) => inverted_residual!(op.record),
            Self::Fold(_) | Self::ClassPool(_) | Self::AvgPool(_) => 0,
            #[cfg(feature = "f16")]
            Self::FloatConv(op) => conv!(op.record),
            #[cfg(feature = "f16")]
            Self::FloatEmbed(op) => embed!(op.record),
            #[cfg(feature = "f16")]
            Self::FloatAttention(op) => attention!(op.record),
            #[cfg(feature = "f16")]
            Self::FloatMlp(op) => mlp!(op.record),
            #[cfg(feature = "f16")]
            Self::FloatSeqPool(op) => seq_pool!(op.record),
            #[cfg(feature = "f16")]
            Self::FloatHead(op) => product([op.record.width.into(), op.record.classes.into()]),
            #[cfg(feature = "f16")]
            Self::FloatInvertedResidual(op) => inverted_residual!(op.record),
            #[cfg(feature = "f16")]
            Self::Convert(_)
            | Self::FloatFold(_)
            | Self::FloatClassPool(_)
            | Self::FloatAvgPool(_) => 0,
        }
    }
}
