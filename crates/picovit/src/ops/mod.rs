//! The operations of an artifact, one a file: decoding with validation, and execution.

mod attention;
mod avg_pool;
mod class_pool;
mod conv;
mod embed;
#[cfg(feature = "f16")]
pub mod float;
mod fold;
mod head;
mod inverted_residual;
mod layer;
mod macs;
mod mlp;
mod norm;
mod seq_pool;
mod table;

pub use attention::Attention;
pub use avg_pool::AvgPool;
pub use class_pool::ClassPool;
pub use conv::Conv;
pub use embed::Embed;
pub use fold::Fold;
pub use head::Head;
pub use inverted_residual::InvertedResidual;
pub use mlp::Mlp;
pub use norm::Norm;
pub use seq_pool::SeqPool;

pub(crate) use layer::Layer;
pub(crate) use table::Table;

use core::ops::Range;

#[cfg(feature = "f16")]
use float::{
    Convert, FloatAttention, FloatAvgPool, FloatClassPool, FloatConv, FloatEmbed, FloatFold,
    FloatHead, FloatInvertedResidual, FloatMlp, FloatSeqPool,
};
use inverted_residual::Maps;

use crate::engine::{Probe, Tap};
use crate::error::Error;
use crate::format::{self, OpKind, RecordHead};
use crate::model::{Constants, Model};
use crate::scratch::Scratch;

/// Type and extent of what flows between operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// int8 feature map.
    Map {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
    },
    /// int16 residual stream.
    Tokens {
        /// Number of tokens.
        tokens: usize,
        /// Channels per token.
        width: usize,
    },
    /// One int16 token.
    Pooled {
        /// Channels.
        width: usize,
    },
    /// Float feature map.
    FloatMap {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
    },
    /// Float residual stream.
    FloatTokens {
        /// Number of tokens.
        tokens: usize,
        /// Channels per token.
        width: usize,
    },
    /// One float token.
    FloatPooled {
        /// Channels.
        width: usize,
    },
    /// int16 logits.
    Logits {
        /// Number of classes.
        classes: usize,
    },
}

impl Value {
    /// Whether an operation that takes `next` can be given this value. A map and the token
    /// sequence of its pixels are the same bytes.
    #[must_use]
    pub fn feeds(&self, next: &Self) -> bool {
        match (self, next) {
            (
                Self::Map { height, width, channels },
                Self::Map { height: 1, width: tokens, channels: c },
            )
            | (
                Self::FloatMap { height, width, channels },
                Self::FloatMap { height: 1, width: tokens, channels: c },
            ) => channels == c && height.checked_mul(*width) == Some(*tokens),
            _ => self == next,
        }
    }

    /// Bytes of the value, saturating.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        match *self {
            Self::Map { height, width, channels } => {
                height.saturating_mul(width).saturating_mul(channels)
            }
            Self::Tokens { tokens, width } => tokens.saturating_mul(width).saturating_mul(2),
            Self::Pooled { width } => width.saturating_mul(2),
            Self::FloatMap { height, width, channels } => {
                height.saturating_mul(width).saturating_mul(channels).saturating_mul(4)
            }
            Self::FloatTokens { tokens, width } => tokens.saturating_mul(width).saturating_mul(4),
            Self::FloatPooled { width } => width.saturating_mul(4),
            Self::Logits { classes } => classes.saturating_mul(2),
        }
    }
}

/// One operation with its constants in place.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Op<'a> {
    /// Convolution.
    Conv(Conv<'a>),
    /// Tokens to the residual stream.
    Embed(Embed<'a>),
    /// Attention sub-block.
    Attention(Attention<'a>),
    /// MLP sub-block.
    Mlp(Mlp<'a>),
    /// Sequence pooling.
    SeqPool(SeqPool<'a>),
    /// Classifier.
    Head(Head<'a>),
    /// Expansion, depthwise convolution, projection.
    InvertedResidual(InvertedResidual<'a>),
    /// Layer norm back into a map.
    Fold(Fold<'a>),
    /// Layer norm of the class token.
    ClassPool(ClassPool<'a>),
    /// Mean over all pixels.
    AvgPool(AvgPool<'a>),
    /// See [`Convert`].
    #[cfg(feature = "f16")]
    Convert(Convert<'a>),
    /// See [`FloatConv`].
    #[cfg(feature = "f16")]
    FloatConv(FloatConv<'a>),
    /// See [`FloatEmbed`].
    #[cfg(feature = "f16")]
    FloatEmbed(FloatEmbed<'a>),
    /// See [`FloatAttention`].
    #[cfg(feature = "f16")]
    FloatAttention(FloatAttention<'a>),
    /// See [`FloatMlp`].
    #[cfg(feature = "f16")]
    FloatMlp(FloatMlp<'a>),
    /// See [`FloatSeqPool`].
    #[cfg(feature = "f16")]
    FloatSeqPool(FloatSeqPool<'a>),
    /// See [`FloatHead`].
    #[cfg(feature = "f16")]
    FloatHead(FloatHead<'a>),
    /// See [`FloatInvertedResidual`].
    #[cfg(feature = "f16")]
    FloatInvertedResidual(FloatInvertedResidual<'a>),
    /// See [`FloatFold`].
    #[cfg(feature = "f16")]
    FloatFold(FloatFold<'a>),
    /// See [`FloatClassPool`].
    #[cfg(feature = "f16")]
    FloatClassPool(FloatClassPool<'a>),
    /// See [`FloatAvgPool`].
    #[cfg(feature = "f16")]
    FloatAvgPool(FloatAvgPool<'a>),
}

/// Calls the same method on whatever operation it is.
macro_rules! each {
    ($op:expr, $inner:ident => $call:expr) => {
        match $op {
            Op::Conv($inner) => $call,
            Op::Embed($inner) => $call,
            Op::Attention($inner) => $call,
            Op::Mlp($inner) => $call,
            Op::SeqPool($inner) => $call,
            Op::Head($inner) => $call,
            Op::InvertedResidual($inner) => $call,
            Op::Fold($inner) => $call,
            Op::ClassPool($inner) => $call,
            Op::AvgPool($inner) => $call,
            #[cfg(feature = "f16")]
            Op::Convert($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatConv($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatEmbed($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatAttention($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatMlp($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatSeqPool($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatHead($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatInvertedResidual($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatFold($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatClassPool($inner) => $call,
            #[cfg(feature = "f16")]
            Op::FloatAvgPool($inner) => $call,
        }
    };
}

impl<'a> Op<'a> {
    /// Decodes and validates a record of this kind.
    pub(crate) fn decode(
        kind: OpKind,
        bytes: &'a [u8],
        constants: &Constants<'a>,
    ) -> Result<Self, Error> {
        /// The operation in one's own record.
        macro_rules! decode {
            ($kind:ident) => {
                match bytemuck::try_from_bytes(bytes) {
                    Ok(record) => Self::$kind($kind::decode(record, constants)),
                    Err(_) => return Err(Error::Operation { index: constants.index() }),
                }
            };
        }
        let op = match kind {
            OpKind::Conv if conv::is_supported(bytes) => decode!(Conv),
            OpKind::Embed => decode!(Embed),
            OpKind::Attention => decode!(Attention),
            OpKind::Mlp => decode!(Mlp),
            OpKind::SeqPool => decode!(SeqPool),
            OpKind::Head => decode!(Head),
            OpKind::InvertedResidual if cfg!(feature = "mobilevit") => decode!(InvertedResidual),
            OpKind::Fold if cfg!(feature = "mobilevit") => decode!(Fold),
            OpKind::ClassPool if cfg!(feature = "class-token") => decode!(ClassPool),
            OpKind::AvgPool if cfg!(feature = "mobilevit") => decode!(AvgPool),
            #[cfg(feature = "f16")]
            OpKind::Convert => decode!(Convert),
            #[cfg(feature = "f16")]
            OpKind::FloatConv => decode!(FloatConv),
            #[cfg(feature = "f16")]
            OpKind::FloatEmbed => decode!(FloatEmbed),
            #[cfg(feature = "f16")]
            OpKind::FloatAttention => decode!(FloatAttention),
            #[cfg(feature = "f16")]
            OpKind::FloatMlp => decode!(FloatMlp),
            #[cfg(feature = "f16")]
            OpKind::FloatSeqPool => decode!(FloatSeqPool),
            #[cfg(feature = "f16")]
            OpKind::FloatHead => decode!(FloatHead),
            #[cfg(feature = "f16")]
            OpKind::FloatInvertedResidual => decode!(FloatInvertedResidual),
            #[cfg(feature = "f16")]
            OpKind::FloatFold => decode!(FloatFold),
            #[cfg(feature = "f16")]
            OpKind::FloatClassPool => decode!(FloatClassPool),
            #[cfg(feature = "f16")]
            OpKind::FloatAvgPool => decode!(FloatAvgPool),
            _ => return Err(Error::Unsupported { index: constants.index() }),
        };
        constants.outcome().map(|()| op)
    }

    /// Kind and buffer offsets.
    #[must_use]
    pub fn head(&self) -> RecordHead {
        each!(self, op => op.record.head)
    }

    /// Name of the kind of operation.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv(_) => "Conv",
            Self::Embed(_) => "Embed",
            Self::Attention(_) => "Attention",
            Self::Mlp(_) => "Mlp",
            Self::SeqPool(_) => "SeqPool",
            Self::Head(_) => "Head",
            Self::InvertedResidual(_) => "InvertedResidual",
            Self::Fold(_) => "Fold",
            Self::ClassPool(_) => "ClassPool",
            Self::AvgPool(_) => "AvgPool",
            #[cfg(feature = "f16")]
            Self::Convert(_) => "Convert",
            #[cfg(feature = "f16")]
            Self::FloatConv(_) => "FloatConv",
            #[cfg(feature = "f16")]
            Self::FloatEmbed(_) => "FloatEmbed",
            #[cfg(feature = "f16")]
            Self::FloatAttention(_) => "FloatAttention",
            #[cfg(feature = "f16")]
            Self::FloatMlp(_) => "FloatMlp",
            #[cfg(feature = "f16")]
            Self::FloatSeqPool(_) => "FloatSeqPool",
            #[cfg(feature = "f16")]
            Self::FloatHead(_) => "FloatHead",
            #[cfg(feature = "f16")]
            Self::FloatInvertedResidual(_) => "FloatInvertedResidual",
            #[cfg(feature = "f16")]
            Self::FloatFold(_) => "FloatFold",
            #[cfg(feature = "f16")]
            Self::FloatClassPool(_) => "FloatClassPool",
            #[cfg(feature = "f16")]
            Self::FloatAvgPool(_) => "FloatAvgPool",
        }
    }

    /// What the operation takes.
    #[must_use]
    pub fn input(&self) -> Value {
        each!(self, op => op.input())
    }

    /// What the operation gives.
    #[must_use]
    pub fn output(&self) -> Value {
        each!(self, op => op.output())
    }

    /// Whether the output overwrites the input.
    #[must_use]
    pub const fn in_place(&self) -> bool {
        match self {
            Self::Attention(_) | Self::Mlp(_) => true,
            Self::InvertedResidual(op) => op.record.residual == 1,
            #[cfg(feature = "f16")]
            Self::FloatAttention(_) | Self::FloatMlp(_) => true,
            #[cfg(feature = "f16")]
            Self::FloatInvertedResidual(op) => op.record.residual == 1,
            _ => false,
        }
    }

    /// Arena range and extent of the second input, if there is one.
    #[must_use]
    pub fn second_input(&self) -> Option<(Range<usize>, Value)> {
        let (start, value) = match self {
            Self::Conv(op) => (op.record.input2, op.second()?),
            #[cfg(feature = "f16")]
            Self::FloatConv(op) => (op.record.input2, op.second()?),
            _ => return None,
        };
        let start = start as usize;
        Some((start..start.saturating_add(value.bytes()), value))
    }

    /// Bytes of scratch memory.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        match self {
            Self::Conv(op) => format::scratch_bytes_conv(op.record, op.packing()),
            Self::Embed(op) => format::scratch_bytes_embed(op.record, op.packing()),
            Self::Attention(op) => format::scratch_bytes_attention(op.record, op.packing()),
            Self::Mlp(op) => format::scratch_bytes_mlp(op.record, op.packing()),
            Self::SeqPool(op) => format::scratch_bytes_seq_pool(op.record),
            Self::InvertedResidual(op) if cfg!(feature = "mobilevit") => {
                format::scratch_bytes_inverted_residual(op.record, op.packing())
            }
            Self::AvgPool(op) if cfg!(feature = "mobilevit") => {
                format::scratch_bytes_avg_pool(op.record)
            }
            #[cfg(feature = "f16")]
            Self::FloatConv(op) => format::float::scratch_bytes_conv(op.record),
            #[cfg(feature = "f16")]
            Self::FloatInvertedResidual(op) => {
                format::float::scratch_bytes_inverted_residual(op.record)
            }
            #[cfg(feature = "f16")]
            Self::FloatAttention(op) => format::float::scratch_bytes_attention(op.record),
            #[cfg(feature = "f16")]
            Self::FloatMlp(op) => format::float::scratch_bytes_mlp(op.record),
            #[cfg(feature = "f16")]
            Self::FloatSeqPool(op) => format::float::scratch_bytes_seq_pool(op.record),
            _ => 0,
        }
    }

    /// Arena ranges of input, output and scratch memory.
    #[must_use]
    pub fn buffers(&self) -> [Range<usize>; 3] {
        let range = |start: u32, bytes| {
            let start = start as usize;
            start..start.saturating_add(bytes)
        };
        let head = self.head();
        [
            range(head.input, self.input().bytes()),
            range(head.output, self.output().bytes()),
            range(head.scratch, self.scratch_bytes()),
        ]
    }

    /// Whether the buffers lie in the arena, are aligned, and do not overlap unless in place.
    pub(crate) fn buffers_fit(&self, arena_bytes: usize) -> bool {
        let [input, output, scratch] = self.buffers();
        let fits = |r: &Range<usize>| r.end <= arena_bytes && r.start.is_multiple_of(format::ALIGN);
        let apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
        let placed = if self.in_place() { input == output } else { apart(&input, &output) };
        let scratch_apart =
            scratch.is_empty() || (apart(&input, &scratch) && apart(&output, &scratch));
        let second = self.second_input().is_none_or(|(second, _)| {
            fits(&second) && [&input, &output, &scratch].iter().all(|other| apart(&second, other))
        });
        placed && scratch_apart && second && fits(&input) && fits(&output) && fits(&scratch)
    }

    /// Executes the operation in the arena.
    pub(crate) fn run<P: Probe>(&self, model: &Model<'a>, arena: &mut [u8], tap: &mut Tap<'_, P>) {
        let [input, output, scratch] = self.buffers();
        if self.in_place() {
            // Validation made these disjoint and in bounds.
            let Ok([stream, scratch]) = arena.get_disjoint_mut([input, scratch]) else { return };
            match self {
                Self::Attention(op) => {
                    op.run(model.exp_table(), cast_mut(stream), Scratch(scratch), tap);
                }
                Self::Mlp(op) => op.run(cast_mut(stream), Scratch(scratch), tap),
                Self::InvertedResidual(op) if cfg!(feature = "mobilevit") => {
                    op.run(Maps::InPlace(cast_mut(stream)), &mut Scratch(scratch), tap);
                }
                #[cfg(feature = "f16")]
                Self::FloatAttention(op) => op.run(cast_mut(stream), Scratch(scratch), tap),
                #[cfg(feature = "f16")]
                Self::FloatMlp(op) => op.run(cast_mut(stream), Scratch(scratch), tap),
                #[cfg(feature = "f16")]
                Self::FloatInvertedResidual(op) => {
                    op.run(Maps::InPlace(cast_mut(stream)), &mut Scratch(scratch), tap);
                }
                _ => {}
            }
            return;
        }
        let scratch = if scratch.is_empty() { 0..0 } else { scratch };
        let second = self.second_input().map_or(0..0, |(second, _)| second);
        let ranges = [input, output, scratch, second];
        let Ok([input, output, scratch, second]) = arena.get_disjoint_mut(ranges) else {
            return;
        };
        let mut scratch = Scratch(scratch);
        match self {
            Self::Conv(op) => {
                op.run(cast(input), cast(second), cast_mut(output), &mut scratch, tap);
            }
            Self::InvertedResidual(op) if cfg!(feature = "mobilevit") => {
                op.run(Maps::Apart(cast(input), cast_mut(output)), &mut scratch, tap);
            }
            Self::Fold(op) if cfg!(feature = "mobilevit") => {
                op.run(cast(input), cast_mut(output), tap)
            }
            Self::ClassPool(op) if cfg!(feature = "class-token") => {
                op.run(cast(input), cast_mut(output), tap)
            }
            Self::AvgPool(op) if cfg!(feature = "mobilevit") => {
                op.run(cast(input), cast_mut(output), &mut scratch, tap)
            }
            Self::Embed(op) => op.run(cast(input), cast_mut(output), &mut scratch, tap),
            Self::SeqPool(op) => {
                op.run(model.exp_table(), cast(input), cast_mut(output), &mut scratch, tap);
            }
            Self::Head(op) => op.run(cast(input), cast_mut(output), tap),
            #[cfg(feature = "f16")]
            Self::Convert(op) => op.run(input, output, tap),
            #[cfg(feature = "f16")]
            Self::FloatConv(op) => {
                op.run(input, cast(second), cast_mut(output), &mut scratch, tap);
            }
            #[cfg(feature = "f16")]
            Self::FloatInvertedResidual(op) => {
                op.run(Maps::Apart(cast(input), cast_mut(output)), &mut scratch, tap);
            }
            #[cfg(feature = "f16")]
            Self::FloatEmbed(op) => op.run(cast(input), cast_mut(output), tap),
            #[cfg(feature = "f16")]
            Self::FloatFold(op) => op.run(cast(input), cast_mut(output), tap),
            #[cfg(feature = "f16")]
            Self::FloatSeqPool(op) => op.run(cast(input), cast_mut(output), &mut scratch, tap),
            #[cfg(feature = "f16")]
            Self::FloatClassPool(op) => op.run(cast(input), cast_mut(output), tap),
            #[cfg(feature = "f16")]
            Self::FloatAvgPool(op) => op.run(cast(input), cast_mut(output), tap),
            #[cfg(feature = "f16")]
            Self::FloatHead(op) => op.run(cast(input), cast_mut(output), tap),
            // Those in place, and those that the build has no code for: none was decoded.
            _ => {}
        }
    }
}

pub(crate) fn cast<T: bytemuck::Pod>(bytes: &[u8]) -> &[T] {
    bytemuck::try_cast_slice(bytes).unwrap_or_default()
}

pub(crate) fn cast_mut<T: bytemuck::Pod>(bytes: &mut [u8]) -> &mut [T] {
    bytemuck::try_cast_slice_mut(bytes).unwrap_or_default()
}

/// Whether a window of this edge and step can slide over a map with this border.
fn slides(kernel: u8, stride: u8, padding: u8) -> bool {
    kernel > 0 && stride > 0 && padding < kernel
}

/// Whether these describe a max-pooling, or with a kernel of 0 none.
fn pools(kernel: u8, stride: u8, borders: [u8; 2]) -> bool {
    match kernel {
        0 => stride == 0 && borders == [0; 2],
        _ => borders.iter().all(|&border| slides(kernel, stride, border)),
    }
}

/// Whether a map of these rows and columns consists of whole patches; patch 0 is raster order.
fn folds(height: usize, columns: usize, patch: usize) -> bool {
    patch == 0 || (height.is_multiple_of(patch) && columns.is_multiple_of(patch))
}

/// Whether so many pixels in so many columns can be unfolded; no columns and no patch stand for
/// raster order.
fn unfolds(pixels: usize, columns: usize, patch: usize) -> bool {
    match (pixels.checked_div(columns), patch) {
        (None, 0) => true,
        (None, _) | (_, 0) => false,
        (Some(rows), _) => rows * columns == pixels && folds(rows, columns, patch),
    }
}
