//! Records of the operations on 32-bit floats with 16-bit weights, and of the conversions between
//! them and the integer ones. `docs/format.md` specifies the bytes.

use bytemuck::{Pod, Zeroable};

use super::{RECORD_BYTES, RecordHead, align_up, pooled_map, window_map};

/// A pointwise function behind a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Activation {
    /// None.
    #[default]
    Identity = 0,
    /// `max(x, 0)`.
    Relu = 1,
    /// Exact GELU.
    Gelu = 2,
    /// `x / (1 + exp(-x))`.
    Silu = 3,
}

impl Activation {
    /// The activation of this number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Identity,
            1 => Self::Relu,
            2 => Self::Gelu,
            3 => Self::Silu,
            _ => return None,
        })
    }
}

/// Between which types a [`ConvertRecord`] converts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Conversion {
    /// int8 map to float map.
    #[default]
    MapToFloat = 0,
    /// Float map to int8 map.
    MapToInt = 1,
    /// int16 tokens to float tokens.
    TokensToFloat = 2,
    /// Float tokens to int16 tokens.
    TokensToInt = 3,
    /// One int16 token to one float token.
    PooledToFloat = 4,
    /// One float token to one int16 token.
    PooledToInt = 5,
}

impl Conversion {
    /// The conversion of this number, if there is one.
    #[must_use]
    pub const fn from_u16(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::MapToFloat,
            1 => Self::MapToInt,
            2 => Self::TokensToFloat,
            3 => Self::TokensToInt,
            4 => Self::PooledToFloat,
            5 => Self::PooledToInt,
            _ => return None,
        })
    }
}

/// Between integers and floats: `real = scale * (q - zero)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ConvertRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Rows of a map, number of tokens, or 1.
    pub height: u16,
    /// Columns of a map, or 1.
    pub columns: u16,
    /// Channels.
    pub width: u16,
    /// A [`Conversion`].
    pub conversion: u16,
    /// f32 `[width]`.
    pub scale: u32,
    /// f32 `[width]`.
    pub zero: u32,
    /// Zero.
    pub padding_bytes: [u32; 20],
}

/// Convolution with activation and max-pooling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatConvRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Input rows.
    pub in_height: u16,
    /// Input columns.
    pub in_width: u16,
    /// Input channels.
    pub in_channels: u16,
    /// Output channels.
    pub out_channels: u16,
    /// Kernel edge.
    pub kernel: u8,
    /// Step.
    pub stride: u8,
    /// Border of zeros on every side.
    pub padding: u8,
    /// Pooling window edge; 0 for no pooling.
    pub pool_kernel: u8,
    /// Pooling step.
    pub pool_stride: u8,
    /// Pooling border above and to the left; never wins the maximum.
    pub pool_padding: u8,
    /// Pooling border below and to the right.
    pub pool_padding_after: u8,
    /// An [`Activation`], in front of the pooling.
    pub activation: u8,
    /// Channels of the second input; 0 for none.
    pub in_channels2: u16,
    /// Zero.
    pub reserved: u16,
    /// Arena offset of the second input.
    pub input2: u32,
    /// f16 `[out_channels][kernel][kernel][in_channels + in_channels2]`.
    pub weights: u32,
    /// f32 `[out_channels]`.
    pub bias: u32,
    /// f32 `[in_channels]`: the input is int8, `real = scale * q + offset`; 0 for a float input.
    pub scale: u32,
    /// f32 `[in_channels]`; present exactly when `scale` is.
    pub offset: u32,
    /// Zero.
    pub padding_bytes: [u32; 14],
}

/// Expansion, depthwise convolution and projection of an inverted residual, in place where the
/// input is added to the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatInvertedResidualRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Input rows.
    pub in_height: u16,
    /// Input columns.
    pub in_width: u16,
    /// Input channels.
    pub in_channels: u16,
    /// Channels between the pointwise convolutions.
    pub hidden: u16,
    /// Output channels.
    pub out_channels: u16,
    /// Edge of the depthwise kernel.
    pub kernel: u8,
    /// Step of the depthwise convolution.
    pub stride: u8,
    /// Border of zeros of the depthwise convolution on every side.
    pub padding: u8,
    /// 1 where the input is added to the output, in place.
    pub residual: u8,
    /// An [`Activation`], behind the expansion.
    pub activation1: u8,
    /// An [`Activation`], behind the depthwise convolution.
    pub activation2: u8,
    /// f16 `[hidden][in_channels]`.
    pub weights1: u32,
    /// f32 `[hidden]`.
    pub bias1: u32,
    /// f16 `[hidden][kernel][kernel]`.
    pub weights2: u32,
    /// f32 `[hidden]`.
    pub bias2: u32,
    /// f16 `[out_channels][hidden]`.
    pub weights3: u32,
    /// f32 `[out_channels]`.
    pub bias3: u32,
    /// Zero.
    pub padding_bytes: [u32; 14],
}

/// Map to residual stream, through a linear layer where there is one, plus the positional
/// embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatEmbedRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of tokens, the class token included.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Channels of the input; `width` without a linear layer.
    pub in_channels: u16,
    /// Columns of the input map where it is unfolded, else 0.
    pub columns: u16,
    /// Edge of the patches the map is unfolded into; 0 for raster order.
    pub patch: u8,
    /// 1 where the first token is a class token: it is the first row of `positions`.
    pub class_token: u8,
    /// Zero.
    pub reserved: u16,
    /// f16 `[tokens][width]`; 0 for no positional embedding.
    pub positions: u32,
    /// f16 `[width][in_channels]`; 0 for no linear layer.
    pub weights: u32,
    /// f32 `[width]`; present exactly when `weights` is.
    pub bias: u32,
    /// Zero.
    pub padding_bytes: [u32; 18],
}

/// Constants of a layer norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatNormRecord {
    /// Added to the variance; above 0.
    pub epsilon: f32,
    /// f32 `[width]`.
    pub gamma: u32,
    /// f32 `[width]`.
    pub beta: u32,
}

/// A whole attention sub-block, in place: `x += projection(attention(norm(x)))`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatAttentionRecord {
    /// Kind and buffers; input and output are the same.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Number of heads.
    pub heads: u16,
    /// Channels per head.
    pub head_dim: u16,
    /// Runs of consecutive tokens that attend within themselves; divides `tokens`.
    pub groups: u16,
    /// Zero.
    pub reserved: u16,
    /// Layer norm before the projections.
    pub norm: FloatNormRecord,
    /// Factor of the scores.
    pub scale: f32,
    /// f16 `[3][heads][head_dim][width]`: query, key, value.
    pub qkv_weights: u32,
    /// f32 `[3][heads][head_dim]`.
    pub qkv_bias: u32,
    /// f16 `[width][heads][head_dim]`.
    pub proj_weights: u32,
    /// f32 `[width]`.
    pub proj_bias: u32,
    /// Zero.
    pub padding_bytes: [u32; 13],
}

/// A whole MLP sub-block, in place: `r + f2(linear2(f1(linear1(norm(x)))))`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatMlpRecord {
    /// Kind and buffers; input and output are the same.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Channels between the two linear layers.
    pub hidden: u16,
    /// An [`Activation`], behind the first layer.
    pub activation1: u8,
    /// An [`Activation`], behind the second layer.
    pub activation2: u8,
    /// 1 where the norm's output replaces the residual stream.
    pub replaces: u32,
    /// Layer norm before the first linear layer.
    pub norm: FloatNormRecord,
    /// f16 `[hidden][width]`.
    pub weights1: u32,
    /// f32 `[hidden]`.
    pub bias1: u32,
    /// f16 `[width][hidden]`.
    pub weights2: u32,
    /// f32 `[width]`.
    pub bias2: u32,
    /// Zero.
    pub padding_bytes: [u32; 14],
}

/// Layer norm and sequence pooling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatSeqPoolRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Layer norm before the pooling.
    pub norm: FloatNormRecord,
    /// f16 `[width]`: scoring weights.
    pub weights: u32,
    /// Zero.
    pub padding_bytes: [u32; 19],
}

/// Layer norm of the class token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatClassPoolRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// The layer norm.
    pub norm: FloatNormRecord,
    /// Zero.
    pub padding_bytes: [u32; 20],
}

/// Mean over all pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatAvgPoolRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of pixels.
    pub tokens: u16,
    /// Channels.
    pub width: u16,
    /// Zero.
    pub padding_bytes: [u32; 23],
}

/// Layer norm of the residual stream, folded back into a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatFoldRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Rows of the map.
    pub height: u16,
    /// Columns of the map.
    pub columns: u16,
    /// Channels per token.
    pub width: u16,
    /// Edge of the patches; 0 for raster order.
    pub patch: u16,
    /// The layer norm.
    pub norm: FloatNormRecord,
    /// Zero.
    pub padding_bytes: [u32; 19],
}

/// Classifier: one float token to int16 logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FloatHeadRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Input channels.
    pub width: u16,
    /// Output channels (classes).
    pub classes: u16,
    /// Logit steps per unit.
    pub steps: f32,
    /// f16 `[classes][width]`.
    pub weights: u32,
    /// f32 `[classes]`.
    pub bias: u32,
    /// Zero.
    pub padding_bytes: [u32; 20],
}

impl FloatConvRecord {
    /// Height and width of the convolution's own map, before pooling.
    #[must_use]
    pub const fn map_size(&self) -> (usize, usize) {
        let window = (self.kernel, self.stride, self.padding);
        window_map((self.in_height, self.in_width), window)
    }

    /// Height and width of the output.
    #[must_use]
    pub const fn out_size(&self) -> (usize, usize) {
        let (before, after) = (self.pool_padding, self.pool_padding_after);
        pooled_map(self.map_size(), (self.pool_kernel, self.pool_stride, before, after))
    }

    /// Channels of both inputs.
    #[must_use]
    pub const fn all_channels(&self) -> usize {
        self.in_channels as usize + self.in_channels2 as usize
    }
}

impl FloatInvertedResidualRecord {
    /// Height and width of the output.
    #[must_use]
    pub const fn out_size(&self) -> (usize, usize) {
        let window = (self.kernel, self.stride, self.padding);
        window_map((self.in_height, self.in_width), window)
    }
}

impl FloatEmbedRecord {
    /// Pixels of the input.
    #[must_use]
    pub const fn pixels(&self) -> usize {
        (self.tokens as usize).saturating_sub(self.class_token as usize)
    }
}

/// Bytes of a buffer of `count` floats `times` over, aligned; saturates.
const fn floats(count: usize, times: usize) -> usize {
    align_up(count.saturating_mul(times).saturating_mul(4))
}

/// Scratch memory of a convolution: one input patch, then one row of the convolution's map.
#[must_use]
pub const fn scratch_bytes_conv(op: &FloatConvRecord) -> usize {
    let taps = op.kernel as usize * op.kernel as usize;
    floats(taps, op.all_channels())
        .saturating_add(floats(op.map_size().1, op.out_channels as usize))
}

/// Scratch memory of an inverted residual: the expanded rows one depthwise row needs, and one of
/// its pixels.
#[must_use]
pub const fn scratch_bytes_inverted_residual(op: &FloatInvertedResidualRecord) -> usize {
    let row = (op.in_width as usize).saturating_mul(op.hidden as usize);
    floats(op.kernel as usize, row).saturating_add(floats(op.hidden as usize, 1))
}

/// Scratch memory of an attention sub-block, for one group of tokens: keys and values of one head,
/// the attention output of all heads but the last, and the rows of one query.
#[must_use]
pub const fn scratch_bytes_attention(op: &FloatAttentionRecord) -> usize {
    let groups = if op.groups == 0 { 1 } else { op.groups as usize };
    let (tokens, head_dim) = (op.tokens as usize / groups, op.head_dim as usize);
    let heads = op.heads as usize;
    floats(tokens, head_dim)
        .saturating_mul(2)
        .saturating_add(floats(tokens, head_dim.saturating_mul(heads.saturating_sub(1))))
        .saturating_add(floats(op.width as usize, 1))
        .saturating_add(floats(head_dim, 1))
        .saturating_add(floats(tokens, 1))
        .saturating_add(floats(heads, head_dim))
}

/// Scratch memory of an MLP sub-block: one normalised token and one hidden token.
#[must_use]
pub const fn scratch_bytes_mlp(op: &FloatMlpRecord) -> usize {
    floats(op.width as usize, 1) + floats(op.hidden as usize, 1)
}

/// Scratch memory of sequence pooling: one normalised token and the scores.
#[must_use]
pub const fn scratch_bytes_seq_pool(op: &FloatSeqPoolRecord) -> usize {
    floats(op.width as usize, 1) + floats(op.tokens as usize, 1)
}

const _: () = {
    assert!(size_of::<ConvertRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatConvRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatInvertedResidualRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatEmbedRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatAttentionRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatMlpRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatSeqPoolRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatClassPoolRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatAvgPoolRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatFoldRecord>() == RECORD_BYTES);
    assert!(size_of::<FloatHeadRecord>() == RECORD_BYTES);
};
