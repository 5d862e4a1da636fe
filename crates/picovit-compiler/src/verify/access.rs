//! What a record makes the engine read and write, from the record's bytes and `docs/format.md`
//! alone.

use std::ops::Range;

use bytemuck::{AnyBitPattern, pod_read_unaligned};
use picovit::format::float::{self, Conversion};
use picovit::format::{
    AttentionRecord, AvgPoolRecord, ClassPoolRecord, ConvRecord, EmbedRecord, FoldRecord,
    HeadRecord, InvertedResidualRecord, MlpRecord, OpKind, Packing, RECORD_BYTES, RecordHead,
    SeqPoolRecord, scratch_bytes_attention, scratch_bytes_avg_pool, scratch_bytes_conv,
    scratch_bytes_embed, scratch_bytes_inverted_residual, scratch_bytes_mlp,
    scratch_bytes_seq_pool,
};
use picovit::ops::Value;

/// A value at its place in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) value: Value,
}

impl Place {
    pub(super) fn new(start: u32, value: Value) -> Self {
        let start = start as usize;
        Self { range: start..start.saturating_add(value.bytes()), value }
    }
}

/// Everything that an operation touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) kind: OpKind,
    pub(super) input: Place,
    pub(super) second: Option<Place>,
    pub(super) output: Place,
    pub(super) scratch: Range<usize>,
    /// Whether the engine writes the output over the input.
    pub(super) in_place: bool,
}

/// Values, bytes of scratch memory, and what only some operations have.
struct Form {
    input: Value,
    output: Value,
    scratch: usize,
    second: Option<(u32, Value)>,
    in_place: bool,
}

impl Form {
    fn new(input: Value, output: Value, scratch: usize) -> Self {
        Self { input, output, scratch, second: None, in_place: false }
    }

    fn in_place(value: Value, scratch: usize) -> Self {
        Self { in_place: true, ..Self::new(value, value, scratch) }
    }
}

impl Access {
    /// `None` for what is no record.
    pub(super) fn of(record: &[u8], packing: Packing) -> Option<Self> {
        let head: RecordHead = pod_read_unaligned(record.get(..size_of::<RecordHead>())?);
        let kind = OpKind::from_u16(head.kind).filter(|_| record.len() == RECORD_BYTES)?;
        let form = if (kind as u16) < OpKind::Convert as u16 {
            integer(kind, record, packing)?
        } else {
            on_floats(kind, record)?
        };
        let scratch = head.scratch as usize;
        Some(Self {
            kind,
            input: Place::new(head.input, form.input),
            second: form.second.map(|(start, value)| Place::new(start, value)),
            output: Place::new(head.output, form.output),
            scratch: scratch..scratch.saturating_add(form.scratch),
            in_place: form.in_place,
        })
    }
}

fn read<T: AnyBitPattern>(record: &[u8]) -> T {
    pod_read_unaligned(record)
}

fn map(height: impl Into<usize>, width: impl Into<usize>, channels: u16) -> Value {
    Value::Map { height: height.into(), width: width.into(), channels: channels.into() }
}

fn tokens(tokens: u16, width: u16) -> Value {
    Value::Tokens { tokens: tokens.into(), width: width.into() }
}

fn pooled(width: u16) -> Value {
    Value::Pooled { width: width.into() }
}

fn logits(classes: u16) -> Value {
    Value::Logits { classes: classes.into() }
}

/// The same values as floats.
fn floats(value: Value) -> Value {
    match value {
        Value::Map { height, width, channels } => Value::FloatMap { height, width, channels },
        Value::Tokens { tokens, width } => Value::FloatTokens { tokens, width },
        Value::Pooled { width } => Value::FloatPooled { width },
        other => other,
    }
}

fn integer(kind: OpKind, record: &[u8], packing: Packing) -> Option<Form> {
    Some(match kind {
        OpKind::Conv => {
            let r: ConvRecord = read(record);
            let (height, width) = r.out_size();
            let input = map(r.in_height, r.in_width, r.in_channels);
            let output = map(height, width, r.out_channels);
            let second = map(r.in_height, r.in_width, r.in_channels2);
            let second = (r.in_channels2 > 0).then_some((r.input2, second));
            Form { second, ..Form::new(input, output, scratch_bytes_conv(&r, packing)) }
        }
        OpKind::InvertedResidual => {
            let r: InvertedResidualRecord = read(record);
            let (height, width) = r.out_size();
            let input = map(r.in_height, r.in_width, r.in_channels);
            let output = map(height, width, r.out_channels);
            let scratch = scratch_bytes_inverted_residual(&r, packing);
            Form { in_place: r.residual == 1, ..Form::new(input, output, scratch) }
        }
        OpKind::Embed => {
            let r: EmbedRecord = read(record);
            let input = map(1usize, r.pixels(), r.in_channels);
            Form::new(input, tokens(r.tokens, r.width), scratch_bytes_embed(&r, packing))
        }
        OpKind::Attention => {
            let r: AttentionRecord = read(record);
            Form::in_place(tokens(r.tokens, r.width), scratch_bytes_attention(&r, packing))
        }
        OpKind::Mlp => {
            let r: MlpRecord = read(record);
            Form::in_place(tokens(r.tokens, r.width), scratch_bytes_mlp(&r, packing))
        }
        OpKind::Fold => {
            let r: FoldRecord = read(record);
            let pixels = usize::from(r.height) * usize::from(r.columns);
            let input = Value::Tokens { tokens: pixels, width: r.width.into() };
            Form::new(input, map(r.height, r.columns, r.width), 0)
        }
        OpKind::SeqPool => {
            let r: SeqPoolRecord = read(record);
            Form::new(tokens(r.tokens, r.width), pooled(r.width), scratch_bytes_seq_pool(&r))
        }
        OpKind::ClassPool => {
            let r: ClassPoolRecord = read(record);
            Form::new(tokens(r.tokens, r.width), pooled(r.width), 0)
        }
        OpKind::AvgPool => {
            let r: AvgPoolRecord = read(record);
            let input = map(1usize, r.tokens, r.width);
            Form::new(input, pooled(r.width), scratch_bytes_avg_pool(&r))
        }
        OpKind::Head => {
            let r: HeadRecord = read(record);
            Form::new(pooled(r.width), logits(r.classes), 0)
        }
        _ => return None,
    })
}

fn on_floats(kind: OpKind, record: &[u8]) -> Option<Form> {
    Some(match kind {
        OpKind::Convert => {
            let r: float::ConvertRecord = read(record);
            let value = match Conversion::from_u16(r.conversion)? {
                Conversion::MapToFloat | Conversion::MapToInt => map(r.height, r.columns, r.width),
                Conversion::TokensToFloat | Conversion::TokensToInt => tokens(r.height, r.width),
                Conversion::PooledToFloat | Conversion::PooledToInt => pooled(r.width),
            };
            match Conversion::from_u16(r.conversion)? {
                Conversion::MapToFloat | Conversion::TokensToFloat | Conversion::PooledToFloat => {
                    Form::new(value, floats(value), 0)
                }
                Conversion::MapToInt | Conversion::TokensToInt | Conversion::PooledToInt => {
                    Form::new(floats(value), value, 0)
                }
            }
        }
        OpKind::FloatConv => {
            let r: float::FloatConvRecord = read(record);
            let (height, width) = r.out_size();
            let input = map(r.in_height, r.in_width, r.in_channels);
            let input = if r.scale == 0 { floats(input) } else { input };
            let output = floats(map(height, width, r.out_channels));
            let second = floats(map(r.in_height, r.in_width, r.in_channels2));
            let second = (r.in_channels2 > 0).then_some((r.input2, second));
            Form { second, ..Form::new(input, output, float::scratch_bytes_conv(&r)) }
        }
        OpKind::FloatInvertedResidual => {
            let r: float::FloatInvertedResidualRecord = read(record);
            let (height, width) = r.out_size();
            let input = floats(map(r.in_height, r.in_width, r.in_channels));
            let output = floats(map(height, width, r.out_channels));
            let scratch = float::scratch_bytes_inverted_residual(&r);
            Form { in_place: r.residual == 1, ..Form::new(input, output, scratch) }
        }
        OpKind::FloatEmbed => {
            let r: float::FloatEmbedRecord = read(record);
            let input = floats(map(1usize, r.pixels(), r.in_channels));
            Form::new(input, floats(tokens(r.tokens, r.width)), 0)
        }
        OpKind::FloatAttention => {
            let r: float::FloatAttentionRecord = read(record);
            let value = floats(tokens(r.tokens, r.width));
            Form::in_place(value, float::scratch_bytes_attention(&r))
        }
        OpKind::FloatMlp => {
            let r: float::FloatMlpRecord = read(record);
            Form::in_place(floats(tokens(r.tokens, r.width)), float::scratch_bytes_mlp(&r))
        }
        OpKind::FloatFold => {
            let r: float::FloatFoldRecord = read(record);
            let pixels = usize::from(r.height) * usize::from(r.columns);
            let input = Value::FloatTokens { tokens: pixels, width: r.width.into() };
            Form::new(input, floats(map(r.height, r.columns, r.width)), 0)
        }
        OpKind::FloatSeqPool => {
            let r: float::FloatSeqPoolRecord = read(record);
            let input = floats(tokens(r.tokens, r.width));
            Form::new(input, floats(pooled(r.width)), float::scratch_bytes_seq_pool(&r))
        }
        OpKind::FloatClassPool => {
            let r: float::FloatClassPoolRecord = read(record);
            Form::new(floats(tokens(r.tokens, r.width)), floats(pooled(r.width)), 0)
        }
        OpKind::FloatAvgPool => {
            let r: float::FloatAvgPoolRecord = read(record);
            Form::new(floats(map(1usize, r.tokens, r.width)), floats(pooled(r.width)), 0)
        }
        OpKind::FloatHead => {
            let r: float::FloatHeadRecord = read(record);
            Form::new(floats(pooled(r.width)), logits(r.classes), 0)
        }
        _ => return None,
    })
}
