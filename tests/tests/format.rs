//! The tables of `docs/format.md` are those of `picovit::format`.

use std::mem::offset_of;

use picovit::format::float::{
    Activation, Conversion, ConvertRecord, FloatAttentionRecord, FloatAvgPoolRecord,
    FloatClassPoolRecord, FloatConvRecord, FloatEmbedRecord, FloatFoldRecord, FloatHeadRecord,
    FloatInvertedResidualRecord, FloatMlpRecord, FloatNormRecord, FloatSeqPoolRecord,
};
use picovit::format::{
    AttentionRecord, AvgPoolRecord, ClassPoolRecord, ConvRecord, EmbedRecord, FORMAT_F16,
    FORMAT_INT8, FORMAT_MIXED, FoldRecord, HeadRecord, Header, InvertedResidualRecord, MlpRecord,
    NormRecord, OpKind, RecordHead, SeqPoolRecord, VERSION,
};

const SPECIFICATION: &str = include_str!("../../docs/format.md");

/// Offset, type and name of a field.
type Field = (usize, String, String);

/// The first table below a heading.
fn table(heading: &str) -> Vec<Field> {
    let (_, section) = SPECIFICATION.split_once(&format!("\n{heading}\n")).expect(heading);
    section
        .lines()
        .skip_while(|line| !line.starts_with("| Offset"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(|cell| cell.trim()).collect();
            let code = |cell: &str| cell.trim_matches('`').to_owned();
            (cells[1].parse().expect(line), code(cells[2]), code(cells[3]))
        })
        .collect()
}

/// Offset, type and name of every field of a record. Names all fields and their types, or does not
/// compile.
macro_rules! fields {
    ($record:ident { $($field:ident: $type:ty),* $(,)? }) => {{
        fn exhaustive(record: $record) {
            let $record { $($field),* } = record;
            $(let _: $type = $field;)*
        }
        let _ = exhaustive;
        let fields: Vec<Field> = vec![
            $((offset_of!($record, $field), stringify!($type).into(), stringify!($field).into())),*
        ];
        fields
    }};
}

#[test]
fn header() {
    let fields = fields!(Header {
        magic: [u8; 4],
        version: u16,
        format: u8,
        packing: u8,
        file_bytes: u32,
        checksum: u32,
        arena_bytes: u32,
        ops: u32,
        op_count: u16,
        classes: u16,
        height: u16,
        width: u16,
        channels: u16,
        reserved: u16,
        input: u32,
        logits: u32,
        exp_table: u32,
        logit_exp_mult: i32,
        logit_shift: u32,
        logit_scale: f32,
        mean: [f32; 3],
        std: [f32; 3],
        labels: u32,
        labels_bytes: u32,
        info: u32,
        info_bytes: u32,
        reserved_word: u32,
        macs: u64,
    });
    assert_eq!(table("## 3. Header"), fields);
    assert_eq!(size_of::<Header>(), 112);
}

#[test]
fn records() {
    let head =
        fields!(RecordHead { kind: u16, reserved: u16, input: u32, output: u32, scratch: u32 });
    assert_eq!(table("### `RecordHead`"), head);
    let conv = fields!(ConvRecord {
        head: RecordHead,
        in_height: u16,
        in_width: u16,
        in_channels: u16,
        out_channels: u16,
        kernel: u8,
        stride: u8,
        padding: u8,
        pool_kernel: u8,
        pool_stride: u8,
        pool_padding: u8,
        zero_out: i8,
        low: i8,
        zero_in: u32,
        weights: u32,
        bias: u32,
        mult: u32,
        table: u32,
        input2: u32,
        in_channels2: u16,
        pool_padding_after: u8,
        winograd: u8,
        padding_bytes: [u32; 13],
    });
    assert_eq!(table("### `ConvRecord`"), conv);
    let embed = fields!(EmbedRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        zero_in: i32,
        mult: i32,
        positions: u32,
        weights: u32,
        bias: u32,
        mults: u32,
        in_channels: u16,
        columns: u16,
        patch: u8,
        class_token: u8,
        shift: u16,
        padding_bytes: [u32; 15],
    });
    assert_eq!(table("### `EmbedRecord`"), embed);
    let norm =
        fields!(NormRecord { epsilon_low: u32, epsilon_high: u32, gain8: u32, offset8: u32 });
    assert_eq!(table("### `NormRecord`"), norm);
    let attention = fields!(AttentionRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        heads: u16,
        head_dim: u16,
        norm: NormRecord,
        qkv_weights: u32,
        qkv_bias: u32,
        qkv_mult: u32,
        exp_mult: u32,
        out_mult: u32,
        proj_weights: u32,
        proj_bias: u32,
        proj_mult: u32,
        score_shift: u8,
        proj_shift: u8,
        groups: u16,
        padding_bytes: [u32; 9],
    });
    assert_eq!(table("### `AttentionRecord`"), attention);
    let mlp = fields!(MlpRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        hidden: u16,
        shift: u16,
        norm: NormRecord,
        gain16: u32,
        offset16: u32,
        weights1: u32,
        bias1: u32,
        mult1: u32,
        zero1: i32,
        table: u32,
        weights2: u32,
        bias2: u32,
        mult2: u32,
        table2: u32,
        zero2: i32,
        padding_bytes: [u32; 6],
    });
    assert_eq!(table("### `MlpRecord`"), mlp);
    let seq_pool = fields!(SeqPoolRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        zero: i32,
        norm: NormRecord,
        weights: u32,
        exp_mult: i32,
        out_mult_low: u32,
        out_mult_high: u32,
        score_shift: u8,
        out_shift: u8,
        reserved: [u8; 2],
        padding_bytes: [u32; 13],
    });
    assert_eq!(table("### `SeqPoolRecord`"), seq_pool);
    let head = fields!(HeadRecord {
        head: RecordHead,
        width: u16,
        classes: u16,
        weights: u32,
        bias: u32,
        mult: u32,
        shift: u32,
        padding_bytes: [u32; 19],
    });
    assert_eq!(table("### `HeadRecord`"), head);
    let inverted_residual = fields!(InvertedResidualRecord {
        head: RecordHead,
        in_height: u16,
        in_width: u16,
        in_channels: u16,
        hidden: u16,
        out_channels: u16,
        kernel: u8,
        stride: u8,
        padding: u8,
        residual: u8,
        zero1: i8,
        border: i8,
        zero2: i8,
        zero_out: i8,
        zero_in: i8,
        reserved: u8,
        residual_mult: i32,
        weights1: u32,
        bias1: u32,
        mult1: u32,
        table1: u32,
        weights2: u32,
        bias2: u32,
        mult2: u32,
        table2: u32,
        weights3: u32,
        bias3: u32,
        mult3: u32,
        padding_bytes: [u32; 7],
    });
    assert_eq!(table("### `InvertedResidualRecord`"), inverted_residual);
    let fold = fields!(FoldRecord {
        head: RecordHead,
        height: u16,
        columns: u16,
        width: u16,
        patch: u16,
        norm: NormRecord,
        padding_bytes: [u32; 18],
    });
    assert_eq!(table("### `FoldRecord`"), fold);
    let class_pool = fields!(ClassPoolRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        epsilon_low: u32,
        epsilon_high: u32,
        gain16: u32,
        offset16: u32,
        padding_bytes: [u32; 19],
    });
    assert_eq!(table("### `ClassPoolRecord`"), class_pool);
    let avg_pool = fields!(AvgPoolRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        zero_in: i32,
        mult: i32,
        shift: u32,
        padding_bytes: [u32; 20],
    });
    assert_eq!(table("### `AvgPoolRecord`"), avg_pool);
}

#[test]
fn float_records_of_maps() {
    let fields = fields!(ConvertRecord {
        head: RecordHead,
        height: u16,
        columns: u16,
        width: u16,
        conversion: u16,
        scale: u32,
        zero: u32,
        padding_bytes: [u32; 20],
    });
    assert_eq!(table("### `ConvertRecord`"), fields);
    let fields = fields!(FloatConvRecord {
        head: RecordHead,
        in_height: u16,
        in_width: u16,
        in_channels: u16,
        out_channels: u16,
        kernel: u8,
        stride: u8,
        padding: u8,
        pool_kernel: u8,
        pool_stride: u8,
        pool_padding: u8,
        pool_padding_after: u8,
        activation: u8,
        in_channels2: u16,
        reserved: u16,
        input2: u32,
        weights: u32,
        bias: u32,
        scale: u32,
        offset: u32,
        padding_bytes: [u32; 14],
    });
    assert_eq!(table("### `FloatConvRecord`"), fields);
    let fields = fields!(FloatInvertedResidualRecord {
        head: RecordHead,
        in_height: u16,
        in_width: u16,
        in_channels: u16,
        hidden: u16,
        out_channels: u16,
        kernel: u8,
        stride: u8,
        padding: u8,
        residual: u8,
        activation1: u8,
        activation2: u8,
        weights1: u32,
        bias1: u32,
        weights2: u32,
        bias2: u32,
        weights3: u32,
        bias3: u32,
        padding_bytes: [u32; 14],
    });
    assert_eq!(table("### `FloatInvertedResidualRecord`"), fields);
    let fields = fields!(FloatEmbedRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        in_channels: u16,
        columns: u16,
        patch: u8,
        class_token: u8,
        reserved: u16,
        positions: u32,
        weights: u32,
        bias: u32,
        padding_bytes: [u32; 18],
    });
    assert_eq!(table("### `FloatEmbedRecord`"), fields);
    let fields = fields!(FloatNormRecord { epsilon: f32, gamma: u32, beta: u32 });
    assert_eq!(table("### `FloatNormRecord`"), fields);
}

#[test]
fn float_records_of_tokens() {
    let fields = fields!(FloatAttentionRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        heads: u16,
        head_dim: u16,
        groups: u16,
        reserved: u16,
        norm: FloatNormRecord,
        scale: f32,
        qkv_weights: u32,
        qkv_bias: u32,
        proj_weights: u32,
        proj_bias: u32,
        padding_bytes: [u32; 13],
    });
    assert_eq!(table("### `FloatAttentionRecord`"), fields);
    let fields = fields!(FloatMlpRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        hidden: u16,
        activation1: u8,
        activation2: u8,
        replaces: u32,
        norm: FloatNormRecord,
        weights1: u32,
        bias1: u32,
        weights2: u32,
        bias2: u32,
        padding_bytes: [u32; 14],
    });
    assert_eq!(table("### `FloatMlpRecord`"), fields);
    let fields = fields!(FloatSeqPoolRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        norm: FloatNormRecord,
        weights: u32,
        padding_bytes: [u32; 19],
    });
    assert_eq!(table("### `FloatSeqPoolRecord`"), fields);
    let fields = fields!(FloatClassPoolRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        norm: FloatNormRecord,
        padding_bytes: [u32; 20],
    });
    assert_eq!(table("### `FloatClassPoolRecord`"), fields);
    let fields = fields!(FloatAvgPoolRecord {
        head: RecordHead,
        tokens: u16,
        width: u16,
        padding_bytes: [u32; 23],
    });
    assert_eq!(table("### `FloatAvgPoolRecord`"), fields);
    let fields = fields!(FloatFoldRecord {
        head: RecordHead,
        height: u16,
        columns: u16,
        width: u16,
        patch: u16,
        norm: FloatNormRecord,
        padding_bytes: [u32; 19],
    });
    assert_eq!(table("### `FloatFoldRecord`"), fields);
    let fields = fields!(FloatHeadRecord {
        head: RecordHead,
        width: u16,
        classes: u16,
        steps: f32,
        weights: u32,
        bias: u32,
        padding_bytes: [u32; 20],
    });
    assert_eq!(table("### `FloatHeadRecord`"), fields);
}

/// Ids and names of the table below a bold title.
fn ids(title: &str) -> Vec<(u16, String)> {
    let (_, section) = SPECIFICATION.split_once(&format!("\n**{title}**")).expect(title);
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].parse().expect(line), cells[2].to_owned())
        })
        .collect()
}

#[test]
fn enumerations() {
    let activations = (0..=u8::MAX).filter_map(Activation::from_u8);
    let expected: Vec<_> = activations.map(|a| (a as u16, format!("{a:?}"))).collect();
    assert_eq!(ids("Activations"), expected);
    let conversions = (0..=u16::MAX).filter_map(Conversion::from_u16);
    let expected: Vec<_> = conversions.map(|c| (c as u16, format!("{c:?}"))).collect();
    assert_eq!(ids("Conversions"), expected);
    let formats = [(FORMAT_INT8, "int8"), (FORMAT_F16, "f16"), (FORMAT_MIXED, "mixed")];
    assert_eq!(ids("Number formats"), formats.map(|(id, name)| (id.into(), name.to_owned())));
}

/// The version of the page, in its title and in its header, is the engine's.
#[test]
fn version() {
    assert!(SPECIFICATION.starts_with(&format!("# The `.pvit` format, version {VERSION}\n")));
    assert!(SPECIFICATION.contains(&format!("| `version` | {VERSION} |")));
    let arithmetic = include_str!("../../docs/arithmetic.md");
    let title = arithmetic.lines().next().unwrap_or_default();
    assert!(title.split([' ', ',']).any(|word| word == VERSION.to_string()), "{title}");
}

/// Every kind of record has its row and its section.
#[test]
fn kinds() {
    assert_eq!((1..=10).filter_map(OpKind::from_u16).count(), 10);
    assert_eq!((17..=27).filter_map(OpKind::from_u16).count(), 11);
    for kind in (0..=u16::MAX).filter_map(OpKind::from_u16) {
        let row = format!("| {} | `{kind:?}Record` |", kind as u16);
        assert!(SPECIFICATION.contains(&row), "{row}");
        let first = format!("| 0 | `RecordHead` | `head` | Kind {}", kind as u16);
        let (_, section) =
            SPECIFICATION.split_once(&format!("\n### `{kind:?}Record`\n")).expect(&row);
        let (section, _) = section.split_once("\n##").expect(&row);
        assert!(section.contains(&first), "{first}");
    }
}
