//! The `.pvit` artifact: plain-old-data records shared by the compiler (writer) and the engine
//! (reader). `docs/format.md` specifies the bytes.
//!
//! All numbers are little-endian; offsets into the file ("constants") and into the arena
//! ("buffers") are in bytes and 16-byte aligned. A matrix `[outputs][inputs]` of int8 weights lies in the
//! order of the artifact's packing, [`Packing::matrix_bytes`] long; other arrays are row-major.

pub mod float;
pub mod packing;
mod winograd;
mod winograd4;
mod winograd4_tiles;

use bytemuck::{Pod, Zeroable};

use packing::ROWS;
pub use packing::{Packing, TOKENS};
#[cfg(not(all(dsp, not(mve))))]
pub(crate) use winograd::winograd_input;
#[cfg(not(dsp))]
pub(crate) use winograd::winograd_place;
pub use winograd::{
    WINOGRAD_INPUTS, WINOGRAD_OUTPUTS, WINOGRAD_POSITIONS, WINOGRAD_SUMS, pack_winograd,
    winograd_patches, winograd_weights,
};
#[cfg(not(mve))]
pub(crate) use winograd4::winograd4_place;
pub use winograd4::{
    WINOGRAD4_INPUTS, WINOGRAD4_NINTH, WINOGRAD4_OUTPUTS, WINOGRAD4_POSITIONS, WINOGRAD4_SHIFTS,
    WINOGRAD4_SUM_BITS, WINOGRAD4_SUMS, pack_winograd4, winograd4_patch, winograd4_weights,
};
pub(crate) use winograd4_tiles::{PATCH_CHANNELS, winograd4_tile_place};
pub use winograd4_tiles::{
    TileRows, WINOGRAD4_TILE_OUTPUTS, WINOGRAD4_TILE_SUMS, pack_winograd4_tiles,
};

/// First four bytes of every artifact.
pub const MAGIC: [u8; 4] = *b"PVIT";
/// Version of the format described here. A reader accepts exactly its own version.
pub const VERSION: u16 = 4;
/// [`Header::format`]: int8 weights and activations, int16 residual stream.
pub const FORMAT_INT8: u8 = 0;
/// [`Header::format`]: f16 weights, f32 activations.
pub const FORMAT_F16: u8 = 1;
/// [`Header::format`]: some operations of either kind.
pub const FORMAT_MIXED: u8 = 2;
/// Alignment of the artifact, of the arena and of every offset in the file.
pub const ALIGN: usize = 16;
/// Entries of the table of exponentials; entry `i` is `round(255 * exp(-i / EXP_STEPS))`.
pub const EXP_ENTRIES: usize = 1024;
/// Table entries per unit of the exponent.
pub const EXP_STEPS: u32 = 128;
/// Entries of an activation table.
pub const TABLE_ENTRIES: usize = 256;
/// Widest token a layer norm accepts (keeps every intermediate within its integer type).
pub const MAX_WIDTH: usize = 4096;

/// Whether this build of the engine has the operations of a number format: f16 and mixed artifacts
/// need the feature `f16`.
#[must_use]
pub const fn readable(format: u8) -> bool {
    format == FORMAT_INT8 || (cfg!(feature = "f16") && matches!(format, FORMAT_F16 | FORMAT_MIXED))
}

/// Rounds up to [`ALIGN`].
#[must_use]
pub const fn align_up(bytes: usize) -> usize {
    bytes.saturating_add(ALIGN - 1) & !(ALIGN - 1)
}

/// First record of the file.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`VERSION`].
    pub version: u16,
    /// Number format: [`FORMAT_INT8`], [`FORMAT_F16`] or [`FORMAT_MIXED`].
    pub format: u8,
    /// Order of the weights, a [`Packing`].
    pub packing: u8,
    /// Length of the file.
    pub file_bytes: u32,
    /// CRC-32/ISO-HDLC of the file without this field.
    pub checksum: u32,
    /// Bytes of working memory one inference needs.
    pub arena_bytes: u32,
    /// File offset of the operation records.
    pub ops: u32,
    /// Number of operation records.
    pub op_count: u16,
    /// Number of classes (logits).
    pub classes: u16,
    /// Input height in pixels.
    pub height: u16,
    /// Input width in pixels.
    pub width: u16,
    /// Input channels (1 grey, 3 RGB).
    pub channels: u16,
    /// Zero.
    pub reserved: u16,
    /// Arena offset of the input, int8 `[height][width][channels]`.
    pub input: u32,
    /// Arena offset of the logits, int16 `[classes]`.
    pub logits: u32,
    /// File offset of the table of exponentials, `[u8; EXP_ENTRIES]`.
    pub exp_table: u32,
    /// Multiplier from logit difference (shifted left by [`Self::logit_shift`]) to table index.
    pub logit_exp_mult: i32,
    /// Left shift before [`Self::logit_exp_mult`].
    pub logit_shift: u32,
    /// Real value of one logit step. For reports; the int8 engine never touches it.
    pub logit_scale: f32,
    /// Channel means the network was trained with, 0..1 units. For reports.
    pub mean: [f32; 3],
    /// Channel standard deviations, 0..1 units. For reports.
    pub std: [f32; 3],
    /// File offset of the class names: UTF-8, one per line.
    pub labels: u32,
    /// Length of the class names.
    pub labels_bytes: u32,
    /// File offset of the description: UTF-8 JSON for host tools. The engine ignores it.
    pub info: u32,
    /// Length of the description.
    pub info_bytes: u32,
    /// Zero.
    pub reserved_word: u32,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
}

/// Kind of an operation record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum OpKind {
    /// [`ConvRecord`].
    Conv = 1,
    /// [`EmbedRecord`].
    Embed = 2,
    /// [`AttentionRecord`].
    Attention = 3,
    /// [`MlpRecord`].
    Mlp = 4,
    /// [`SeqPoolRecord`].
    SeqPool = 5,
    /// [`HeadRecord`].
    Head = 6,
    /// [`InvertedResidualRecord`].
    InvertedResidual = 7,
    /// [`FoldRecord`].
    Fold = 8,
    /// [`ClassPoolRecord`].
    ClassPool = 9,
    /// [`AvgPoolRecord`].
    AvgPool = 10,
    /// [`float::ConvertRecord`].
    Convert = 17,
    /// [`float::FloatConvRecord`].
    FloatConv = 18,
    /// [`float::FloatEmbedRecord`].
    FloatEmbed = 19,
    /// [`float::FloatAttentionRecord`].
    FloatAttention = 20,
    /// [`float::FloatMlpRecord`].
    FloatMlp = 21,
    /// [`float::FloatSeqPoolRecord`].
    FloatSeqPool = 22,
    /// [`float::FloatHeadRecord`].
    FloatHead = 23,
    /// [`float::FloatInvertedResidualRecord`].
    FloatInvertedResidual = 24,
    /// [`float::FloatFoldRecord`].
    FloatFold = 25,
    /// [`float::FloatClassPoolRecord`].
    FloatClassPool = 26,
    /// [`float::FloatAvgPoolRecord`].
    FloatAvgPool = 27,
}

impl OpKind {
    /// Whether a record of this kind may be in an artifact of a number format.
    #[must_use]
    pub const fn belongs_to(kind: u16, format: u8) -> bool {
        match format {
            FORMAT_INT8 => kind < Self::Convert as u16,
            FORMAT_F16 => kind > Self::Convert as u16,
            _ => true,
        }
    }

    /// The kind of this number, if there is one.
    #[must_use]
    pub const fn from_u16(kind: u16) -> Option<Self> {
        Some(match kind {
            1 => Self::Conv,
            2 => Self::Embed,
            3 => Self::Attention,
            4 => Self::Mlp,
            5 => Self::SeqPool,
            6 => Self::Head,
            7 => Self::InvertedResidual,
            8 => Self::Fold,
            9 => Self::ClassPool,
            10 => Self::AvgPool,
            17 => Self::Convert,
            18 => Self::FloatConv,
            19 => Self::FloatEmbed,
            20 => Self::FloatAttention,
            21 => Self::FloatMlp,
            22 => Self::FloatSeqPool,
            23 => Self::FloatHead,
            24 => Self::FloatInvertedResidual,
            25 => Self::FloatFold,
            26 => Self::FloatClassPool,
            27 => Self::FloatAvgPool,
            _ => return None,
        })
    }
}

/// Start of every operation record: what it is and where its buffers lie in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RecordHead {
    /// An [`OpKind`].
    pub kind: u16,
    /// Zero.
    pub reserved: u16,
    /// Arena offset of the input.
    pub input: u32,
    /// Arena offset of the output; equals `input` for operations that work in place.
    pub output: u32,
    /// Arena offset of the scratch memory.
    pub scratch: u32,
}

/// Bytes of one operation record. Every kind is padded to this.
pub const RECORD_BYTES: usize = 112;

/// Convolution with fused clamp (ReLU) or activation table and max-pooling: int8 map to int8 map.
/// A second input of the same extent may give further channels, behind those of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ConvRecord {
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
    /// Border on every side, filled with `zero_in`.
    pub padding: u8,
    /// Pooling window edge; 0 for no pooling.
    pub pool_kernel: u8,
    /// Pooling step.
    pub pool_stride: u8,
    /// Pooling border above and to the left; never wins the maximum.
    pub pool_padding: u8,
    /// Zero point of the output.
    pub zero_out: i8,
    /// Smallest output value (the zero point after a ReLU).
    pub low: i8,
    /// int8 `[in_channels + in_channels2]`: the value of the border in each channel.
    pub zero_in: u32,
    /// Matrix `[out_channels][kernel * kernel * (in_channels + in_channels2)]`: row, column, channel; with
    /// `winograd` what [`pack_winograd`], [`pack_winograd4`] or [`pack_winograd4_tiles`] makes of it.
    pub weights: u32,
    /// int32 `[out_channels]`.
    pub bias: u32,
    /// int32 `[out_channels]`.
    pub mult: u32,
    /// int8 `[256]`: activation, indexed by value + 128; 0 for none.
    pub table: u32,
    /// Arena offset of the second input.
    pub input2: u32,
    /// Channels of the second input; 0 for none.
    pub in_channels2: u16,
    /// Pooling border below and to the right.
    pub pool_padding_after: u8,
    /// 1 where it is computed by Winograd's F(2x2, 3x3), 2 where by F(4x4, 3x3), 3 where by that in many
    /// tiles at a time, else 0.
    pub winograd: u8,
    /// Zero.
    pub padding_bytes: [u32; 13],
}

/// int8 map to the int16 residual stream, through a linear layer where there is one, plus the
/// positional embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct EmbedRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of tokens, the class token included.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Zero point of the input; 0 where `bias` is present.
    pub zero_in: i32,
    /// Multiplier of `(x - zero_in) << 16`; 0 where `bias` is present.
    pub mult: i32,
    /// int16 `[tokens][width]`; 0 for no positional embedding.
    pub positions: u32,
    /// Matrix `[width][in_channels]`; 0 for no linear layer.
    pub weights: u32,
    /// int32 `[width]`: bias of the linear layer; where `weights` is 0, zero point of each channel, or 0
    /// where all channels have `zero_in` and `mult`.
    pub bias: u32,
    /// int32 `[width]`: multipliers of the linear layer, or where `weights` is 0 of each channel's
    /// `(x - zero) << 16`; 0 where `bias` is.
    pub mults: u32,
    /// Channels of the input; `width` without a linear layer.
    pub in_channels: u16,
    /// Columns of the input map where it is unfolded, else 0.
    pub columns: u16,
    /// Edge of the patches the map is unfolded into; 0 for raster order.
    pub patch: u8,
    /// 1 where the first token is a class token: it is the first row of `positions`.
    pub class_token: u8,
    /// Left shift of the linear layer's accumulators before `mults`.
    pub shift: u16,
    /// Zero.
    pub padding_bytes: [u32; 15],
}

/// Constants of a layer norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NormRecord {
    /// `epsilon * width^2 / scale^2`, low half; at least 1 in all.
    pub epsilon_low: u32,
    /// High half.
    pub epsilon_high: u32,
    /// int32 `[width]` for the int8 output.
    pub gain8: u32,
    /// int32 `[width]` for the int8 output.
    pub offset8: u32,
}

impl NormRecord {
    /// The whole epsilon term.
    #[must_use]
    pub const fn epsilon(&self) -> u64 {
        (self.epsilon_high as u64) << 32 | self.epsilon_low as u64
    }
}

/// A whole attention sub-block, in place on the int16 residual stream:
/// `x += projection(attention(norm(x)))`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct AttentionRecord {
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
    /// Layer norm before the projections.
    pub norm: NormRecord,
    /// Matrices `[head_dim][width]`, `[3][heads]` of them: query, key, value.
    pub qkv_weights: u32,
    /// int32 `[3][heads][head_dim]`.
    pub qkv_bias: u32,
    /// int32 `[3][heads][head_dim]`.
    pub qkv_mult: u32,
    /// int32 `[heads]`: score difference, shifted, to table index.
    pub exp_mult: u32,
    /// uint64 `[heads]`: numerator of the row multiplier.
    pub out_mult: u32,
    /// Matrix `[width][heads * head_dim]`.
    pub proj_weights: u32,
    /// int32 `[width]`.
    pub proj_bias: u32,
    /// int32 `[width]`.
    pub proj_mult: u32,
    /// Left shift of score differences before `exp_mult`.
    pub score_shift: u8,
    /// Left shift of projection accumulators before `proj_mult`.
    pub proj_shift: u8,
    /// Runs of consecutive tokens that attend within themselves; divides `tokens`.
    pub groups: u16,
    /// Zero.
    pub padding_bytes: [u32; 9],
}

/// A whole MLP sub-block, in place on the int16 residual stream:
/// `r + table2(linear2(table(linear1(norm(x)))))`, where `r` is `x`, or `norm(x)` where
/// `gain16` is present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MlpRecord {
    /// Kind and buffers; input and output are the same.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Channels between the two linear layers.
    pub hidden: u16,
    /// Left shift of the second layer's accumulators before `mult2`.
    pub shift: u16,
    /// Layer norm before the first linear layer.
    pub norm: NormRecord,
    /// int32 `[width]`: when not 0, the norm's int16 output replaces the residual stream.
    pub gain16: u32,
    /// int32 `[width]`.
    pub offset16: u32,
    /// Matrix `[hidden][width]`.
    pub weights1: u32,
    /// int32 `[hidden]`.
    pub bias1: u32,
    /// int32 `[hidden]`.
    pub mult1: u32,
    /// Zero point of the first layer's output.
    pub zero1: i32,
    /// int8 `[256]`: activation, indexed by value + 128.
    pub table: u32,
    /// Matrix `[width][hidden]`.
    pub weights2: u32,
    /// int32 `[width]`.
    pub bias2: u32,
    /// int32 `[width]`.
    pub mult2: u32,
    /// int16 `[256]`: activation after the second layer, indexed by value + 128, in steps of the
    /// residual stream; 0 for none.
    pub table2: u32,
    /// Zero point of the second layer's int8 output; 0 without `table2`.
    pub zero2: i32,
    /// Zero.
    pub padding_bytes: [u32; 6],
}

/// Layer norm and sequence pooling: int16 residual stream to one int16 token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SeqPoolRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// Zero point of the norm's output.
    pub zero: i32,
    /// Layer norm before the pooling.
    pub norm: NormRecord,
    /// int8 `[width]`: scoring weights.
    pub weights: u32,
    /// Score difference, shifted, to table index.
    pub exp_mult: i32,
    /// Numerator of the multiplier, low half.
    pub out_mult_low: u32,
    /// High half.
    pub out_mult_high: u32,
    /// Left shift of score differences before `exp_mult`.
    pub score_shift: u8,
    /// Left shift of the weighted sums before the multiplier.
    pub out_shift: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Zero.
    pub padding_bytes: [u32; 13],
}

/// Classifier: one int16 token to int16 logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeadRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Input channels.
    pub width: u16,
    /// Output channels (classes).
    pub classes: u16,
    /// int8 `[classes][width]`.
    pub weights: u32,
    /// int32 `[classes]`.
    pub bias: u32,
    /// int32 `[classes]`.
    pub mult: u32,
    /// Left shift of the accumulators before `mult`.
    pub shift: u32,
    /// Zero.
    pub padding_bytes: [u32; 19],
}

/// Expansion, depthwise convolution and projection of an inverted residual: int8 map to int8 map,
/// in place where the input is added to the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InvertedResidualRecord {
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
    /// Border of the depthwise convolution on every side, filled with `border`.
    pub padding: u8,
    /// 1 where the input is added to the output, in place.
    pub residual: u8,
    /// Zero point of the expansion's output.
    pub zero1: i8,
    /// Zero of the values behind the first activation.
    pub border: i8,
    /// Zero point of the depthwise convolution's output.
    pub zero2: i8,
    /// Zero point of the output.
    pub zero_out: i8,
    /// Zero point of the input; 0 without the addition.
    pub zero_in: i8,
    /// Zero.
    pub reserved: u8,
    /// Multiplier of `(x - zero_in) << 16` to output steps; 0 without the addition.
    pub residual_mult: i32,
    /// Matrix `[hidden][in_channels]`.
    pub weights1: u32,
    /// int32 `[hidden]`.
    pub bias1: u32,
    /// int32 `[hidden]`.
    pub mult1: u32,
    /// int8 `[256]`: activation of the expansion, indexed by value + 128.
    pub table1: u32,
    /// int8 `[kernel][kernel][hidden]`.
    pub weights2: u32,
    /// int32 `[hidden]`.
    pub bias2: u32,
    /// int32 `[hidden]`.
    pub mult2: u32,
    /// int8 `[256]`: activation of the depthwise convolution.
    pub table2: u32,
    /// Matrix `[out_channels][hidden]`.
    pub weights3: u32,
    /// int32 `[out_channels]`.
    pub bias3: u32,
    /// int32 `[out_channels]`.
    pub mult3: u32,
    /// Zero.
    pub padding_bytes: [u32; 7],
}

/// Layer norm of the residual stream, folded back into an int8 map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FoldRecord {
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
    pub norm: NormRecord,
    /// Zero.
    pub padding_bytes: [u32; 18],
}

/// Layer norm of the class token: int16 residual stream to one int16 token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ClassPoolRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of tokens.
    pub tokens: u16,
    /// Channels per token.
    pub width: u16,
    /// `epsilon * width^2 / scale^2`, low half; at least 1 in all.
    pub epsilon_low: u32,
    /// High half.
    pub epsilon_high: u32,
    /// int32 `[width]`.
    pub gain16: u32,
    /// int32 `[width]`.
    pub offset16: u32,
    /// Zero.
    pub padding_bytes: [u32; 19],
}

/// Mean over all pixels: int8 map to one int16 token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct AvgPoolRecord {
    /// Kind and buffers.
    pub head: RecordHead,
    /// Number of pixels.
    pub tokens: u16,
    /// Channels.
    pub width: u16,
    /// Zero point of the input.
    pub zero_in: i32,
    /// Multiplier of the shifted sum.
    pub mult: i32,
    /// Left shift of the sum before `mult`.
    pub shift: u32,
    /// Zero.
    pub padding_bytes: [u32; 20],
}

/// Rows and columns after a windowed step: `(size + 2 * padding - kernel) / stride + 1`, or 0 where
/// the window does not fit.
#[must_use]
pub const fn window_steps(size: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    pool_steps(size, kernel, stride, padding, padding)
}

/// Rows and columns of what a window `(kernel, stride, padding)` makes of a map.
const fn window_map(
    (height, width): (u16, u16),
    (kernel, stride, padding): (u8, u8, u8),
) -> (usize, usize) {
    let (k, s, p) = (kernel as usize, stride as usize, padding as usize);
    (window_steps(height as usize, k, s, p), window_steps(width as usize, k, s, p))
}

/// Rows and columns behind a max-pooling `(kernel, stride, border before, border after)`; with a
/// kernel of 0 those of the map.
const fn pooled_map(
    map: (usize, usize),
    (kernel, stride, before, after): (u8, u8, u8, u8),
) -> (usize, usize) {
    if kernel == 0 {
        return map;
    }
    let (k, s, b, a) = (kernel as usize, stride as usize, before as usize, after as usize);
    (pool_steps(map.0, k, s, b, a), pool_steps(map.1, k, s, b, a))
}

/// As [`window_steps`], with borders of two extents.
#[must_use]
pub const fn pool_steps(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    padding_after: usize,
) -> usize {
    match (size + padding + padding_after).checked_sub(kernel) {
        Some(room) if stride > 0 => room / stride + 1,
        _ => 0,
    }
}

impl ConvRecord {
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

impl EmbedRecord {
    /// Pixels of the input.
    #[must_use]
    pub const fn pixels(&self) -> usize {
        (self.tokens as usize).saturating_sub(self.class_token as usize)
    }
}

impl InvertedResidualRecord {
    /// Height and width of the output.
    #[must_use]
    pub const fn out_size(&self) -> (usize, usize) {
        let window = (self.kernel, self.stride, self.padding);
        window_map((self.in_height, self.in_width), window)
    }

    /// Values of a row of the expanded map with the border on either side.
    #[must_use]
    pub const fn expanded_row(&self) -> usize {
        let columns = self.in_width as usize + 2 * self.padding as usize;
        columns.saturating_mul(self.hidden as usize)
    }

    /// Sums that something is added to at a time: of two pixels, or of a row of them; none without.
    pub(crate) const fn sums(&self, packing: Packing) -> usize {
        let pixels = match (self.residual, packing.by_rows()) {
            (1, true) => self.out_size().1,
            (1, false) => TOKENS,
            _ => 0,
        };
        pixels.saturating_mul(self.out_channels as usize)
    }
}

/// Index in raster order of token `index` of a map unfolded into `patch x patch` squares: tokens
/// are `(place in the square, square)`, both in raster order. `patch` 0 is raster order itself.
#[must_use]
pub const fn unfolded_index(index: usize, patch: usize, rows: usize, columns: usize) -> usize {
    if patch == 0 {
        return index;
    }
    let across = columns / patch;
    let squares = across * (rows / patch);
    if across == 0 || squares == 0 {
        return index;
    }
    let (place, square) = (index / squares, index % squares);
    let row = square / across * patch + place / patch;
    row * columns + square % across * patch + place % patch
}

/// Bytes of a buffer of `count` times `each` values, aligned; saturates.
const fn buffer(count: usize, each: usize) -> usize {
    align_up(count.saturating_mul(each))
}

/// Scratch memory of a convolution: one input patch, the block of a matrix product, then one row of
/// the convolution's map where it is pooled. By Winograd: transformed patches, two, one or
/// those of some rows of tiles, sums and the pixels of their outputs.
#[must_use]
pub const fn scratch_bytes_conv(op: &ConvRecord, packing: Packing) -> usize {
    // Only hosts take these; for chips it would be code for nothing.
    if Packing::ALL_TAKEN && op.winograd == 3 {
        let tiles = TileRows::of(op.map_size());
        let patches = tiles.patch_values(op.all_channels()).saturating_mul(size_of::<i16>());
        let sums = align_up(WINOGRAD4_TILE_SUMS * size_of::<i32>());
        let pixels = align_up(tiles.pixel_values(op.out_channels as usize));
        return align_up(patches).saturating_add(sums).saturating_add(pixels);
    }
    if op.winograd == 2 {
        let patch = winograd4_patch(op.all_channels()).saturating_mul(size_of::<i16>());
        let sums = align_up(WINOGRAD4_SUMS * size_of::<i32>());
        let pixels = buffer(16, op.out_channels as usize);
        return align_up(patch).saturating_add(sums).saturating_add(pixels);
    }
    if op.winograd != 0 {
        let patches = winograd_patches(op.all_channels()).saturating_mul(size_of::<i16>());
        let sums = align_up(WINOGRAD_SUMS * size_of::<i32>());
        let pixels = buffer(4 * TOKENS, op.out_channels as usize);
        return align_up(patches).saturating_add(sums).saturating_add(pixels);
    }
    let taps = op.kernel as usize * op.kernel as usize;
    let patch = taps.saturating_mul(op.all_channels());
    let width = op.map_size().1;
    let row = match op.pool_kernel {
        0 => 0,
        _ => buffer(width, op.out_channels as usize),
    };
    align_up(patch).saturating_add(packing.row_block_bytes(patch, width)).saturating_add(row)
}

/// Scratch memory of an embedding: the block of a matrix product, where there is one.
#[must_use]
pub const fn scratch_bytes_embed(op: &EmbedRecord, packing: Packing) -> usize {
    match op.weights {
        0 => 0,
        _ => packing.block_bytes(op.in_channels as usize),
    }
}

/// Scratch memory of an attention sub-block, for one group of tokens: keys and values of one head,
/// the attention output of all heads but the last, scores and their weights, rows, and the blocks of
/// two matrix products. With [`Packing::Wide`] room for many tokens at a time as well, whichever takes
/// more: builds for hosts compute those, others two, and both run the same artifacts.
#[must_use]
pub const fn scratch_bytes_attention(op: &AttentionRecord, packing: Packing) -> usize {
    let groups = if op.groups == 0 { 1 } else { op.groups as usize };
    let (tokens, head_dim) = (op.tokens as usize / groups, op.head_dim as usize);
    let (width, heads) = (op.width as usize, op.heads as usize);
    let inner = heads.saturating_mul(head_dim);
    let stored = head_dim.saturating_mul(heads.saturating_sub(1));
    let pairs = align_up(packing.matrix_bytes(tokens, head_dim))
        .saturating_add(align_up(packing.matrix_bytes(head_dim, tokens)))
        .saturating_add(buffer(tokens, stored))
        .saturating_add(buffer(tokens, 4 * TOKENS))
        .saturating_add(buffer(tokens, 1))
        .saturating_add(align_up(max(width, head_dim.saturating_mul(TOKENS).saturating_add(inner))))
        .saturating_add(packing.block_bytes(max(width, inner)))
        .saturating_add(packing.block_bytes(max(head_dim, tokens)));
    if !packing.by_rows() {
        return pairs;
    }
    let rows = align_up(packing.matrix_bytes(tokens, head_dim))
        .saturating_add(align_up(packing.matrix_bytes(head_dim, tokens)))
        .saturating_add(packing.row_block_bytes(width, tokens))
        .saturating_add(packing.row_block_bytes(inner, tokens))
        .saturating_add(packing.row_block_bytes(head_dim, tokens))
        .saturating_add(packing.row_block_bytes(tokens, ROWS))
        .saturating_add(buffer(tokens, 4 * ROWS))
        .saturating_add(buffer(tokens, head_dim));
    max(pairs, rows)
}

/// Scratch memory of an MLP sub-block: rows of two tokens, of sixteen with [`Packing::Wide`], and the blocks
/// of both layers.
#[must_use]
pub const fn scratch_bytes_mlp(op: &MlpRecord, packing: Packing) -> usize {
    let (width, hidden) = (op.width as usize, op.hidden as usize);
    if packing.by_rows() {
        return buffer(max(width, hidden), ROWS)
            + packing.row_block_bytes(width, ROWS)
            + packing.row_block_bytes(hidden, ROWS);
    }
    buffer(max(width, hidden), TOKENS) + packing.block_bytes(width) + packing.block_bytes(hidden)
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Scratch memory of sequence pooling: one normalised token, the scores, their weights, the sums.
#[must_use]
pub const fn scratch_bytes_seq_pool(op: &SeqPoolRecord) -> usize {
    buffer(op.width as usize, 1)
        + buffer(op.tokens as usize, 4)
        + buffer(op.tokens as usize, 1)
        + buffer(op.width as usize, 4)
}

/// Scratch memory of an inverted residual: the expanded rows one depthwise row needs, the blocks of
/// both matrix products, and sums of two pixels, or a row of them, where something is added to them.
#[must_use]
pub const fn scratch_bytes_inverted_residual(
    op: &InvertedResidualRecord,
    packing: Packing,
) -> usize {
    let narrow = packing.row_block_bytes(op.in_channels as usize, op.in_width as usize);
    let wide = packing.row_block_bytes(op.hidden as usize, op.out_size().1);
    buffer(op.kernel as usize, op.expanded_row())
        .saturating_add(narrow)
        .saturating_add(wide)
        .saturating_add(buffer(4, op.sums(packing)))
}

/// Scratch memory of the mean over all pixels: the sums.
#[must_use]
pub const fn scratch_bytes_avg_pool(op: &AvgPoolRecord) -> usize {
    buffer(op.width as usize, 4)
}

const _: () = {
    assert!(size_of::<InvertedResidualRecord>() == RECORD_BYTES);
    assert!(size_of::<FoldRecord>() == RECORD_BYTES);
    assert!(size_of::<ClassPoolRecord>() == RECORD_BYTES);
    assert!(size_of::<AvgPoolRecord>() == RECORD_BYTES);
    assert!(size_of::<Header>() == 112);
    assert!(size_of::<ConvRecord>() == RECORD_BYTES);
    assert!(size_of::<EmbedRecord>() == RECORD_BYTES);
    assert!(size_of::<AttentionRecord>() == RECORD_BYTES);
    assert!(size_of::<MlpRecord>() == RECORD_BYTES);
    assert!(size_of::<SeqPoolRecord>() == RECORD_BYTES);
    assert!(size_of::<HeadRecord>() == RECORD_BYTES);
    assert!(RECORD_BYTES.is_multiple_of(ALIGN));
};
