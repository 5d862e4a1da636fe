//! The rules of `docs/format.md`, section 6, one at a time.

use bytemuck::Pod;
use picovit::format::{
    AttentionRecord, AvgPoolRecord, ClassPoolRecord, ConvRecord, EmbedRecord, FoldRecord,
    HeadRecord, Header, InvertedResidualRecord, MlpRecord, NormRecord, SeqPoolRecord,
};
use picovit::{Error, Model};
use picovit_tests::reference::{
    Aligned, ConvPlan, Layout, Op, Plan, Pooling, Scaling, Second, Stage, StreamPlan, Style, build,
    seal,
};

use crate::{artifact, network};

/// An artifact to break.
pub struct Breaker {
    pub bytes: Vec<u8>,
    pub rule: u32,
}

impl Breaker {
    /// Changes one record of the file and expects the reader to refuse it.
    fn record<R: Pod>(&self, at: usize, change: impl FnOnce(&mut R)) {
        let mut bytes = self.bytes.clone();
        let mut record: R = bytemuck::pod_read_unaligned(&bytes[at..at + 112]);
        change(&mut record);
        bytes[at..at + 112].copy_from_slice(bytemuck::bytes_of(&record));
        seal(&mut bytes);
        assert!(bytes != self.bytes, "rule {}: nothing changed", self.rule);
        let parsed = Model::parse(&Aligned::copy(&bytes)).map(|_| ());
        // The part of section 6 that the rule stands in.
        let right = match (self.rule, &parsed) {
            (_, Ok(())) => false,
            (10..=16 | 20..=23 | 27..=31, Err(error)) => matches!(error, Error::Operation { .. }),
            (17, Err(error)) => matches!(error, Error::Constant { .. }),
            (18 | 19, Err(error)) => matches!(error, Error::Buffer { .. }),
            (24..=26, Err(error)) => matches!(error, Error::Chain { .. }),
            (_, Err(_)) => true,
        };
        assert!(right, "rule {}: {parsed:?}", self.rule);
    }

    pub fn header(&self, change: impl FnOnce(&mut Header)) {
        self.record(0, change);
    }

    pub fn op<R: Pod>(&self, index: usize, change: impl FnOnce(&mut R)) {
        self.record(112 * (index + 1), change);
    }
}

/// An artifact whose buffers all lie apart, to be broken by a rule.
fn rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&network(Pooling::Sequence), Layout::Apart), rule }
}

/// The same with the pooling of a class token.
fn class_rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&network(Pooling::ClassToken), Layout::Apart), rule }
}

/// The same with a mean of all pixels.
fn average_rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&network(|_| Pooling::Average), Layout::Apart), rule }
}

pub const FIRST: usize = 0;
pub const INVERTED: usize = 1;
pub const RESIDUAL: usize = 2;
pub const UNFOLD: usize = 3;
pub const GROUPED: usize = 4;
pub const FOLD: usize = 5;
/// With a second input, a table and pooling.
pub const CONV: usize = 6;
pub const AVERAGE: usize = 7;
pub const EMBED: usize = 7;
pub const ATTENTION: usize = 8;
pub const MLP: usize = 9;
pub const POOL: usize = 10;
pub const HEAD: usize = 11;

/// The records that the rules change are what their names say.
#[test]
fn the_rules_break_what_they_mean() {
    use Op::*;
    let ops = |pooling| network(pooling).ops;
    let sequence = ops(Pooling::Sequence);
    let Conv(conv) = &sequence[CONV] else { panic!() };
    assert_eq!(conv.second, Some(Second { channels: 4, of: Some(FIRST) }));
    assert!(conv.table.is_some() && conv.pool_kernel == 2);
    let InvertedResidual(block) = &sequence[RESIDUAL] else { panic!() };
    assert!(block.residual.is_some());
    let Embed(embed) = &sequence[UNFOLD] else { panic!() };
    assert!(embed.patch == 2 && matches!(embed.scaling, Scaling::Linear { .. }));
    let Embed(embed) = &sequence[EMBED] else { panic!() };
    assert!(embed.class_token && embed.tokens == 7);
    assert!(matches!(&sequence[GROUPED], Attention(op) if op.groups == 4));
    assert!(matches!(&sequence[ATTENTION], Attention(op) if op.groups == 1));
    assert!(matches!(&sequence[MLP], Mlp(op) if op.gain16.is_some() && op.second.is_some()));
    assert!(matches!((&sequence[FIRST], &sequence[INVERTED]), (Conv(_), InvertedResidual(_))));
    assert!(matches!((&sequence[FOLD], &sequence[HEAD]), (Fold(_), Head(_))));
    assert!(matches!(sequence[POOL], SeqPool(_)));
    assert!(matches!(ops(Pooling::ClassToken)[POOL], ClassPool(_)));
    assert!(matches!(ops(|_| Pooling::Average)[AVERAGE], AvgPool(_)));
}

#[test]
fn rules_of_the_header() {
    rule(2).header(|h| h.magic[3] = b'U');
    rule(2).header(|h| h.version = 1);
    rule(2).header(|h| h.version = 2);
    rule(2).header(|h| h.version = 3);
    rule(2).header(|h| h.version = 5);
    rule(2).header(|h| h.format = 0xff);
    rule(2).header(|h| h.packing = 0xff);
    rule(3).header(|h| h.file_bytes += 16);
    rule(3).header(|h| h.file_bytes -= 16);
    rule(5).header(|h| h.reserved = 1);
    rule(5).header(|h| h.reserved_word = 1);
    rule(6).header(|h| h.op_count = 0);
    rule(6).header(|h| h.classes = 0);
    rule(6).header(|h| h.height = 0);
    rule(6).header(|h| h.width = 0);
    rule(6).header(|h| h.channels = 0);
    rule(6).header(|h| h.channels = 2);
    rule(7).header(|h| h.logit_shift = 32);
    let places: [fn(&mut Header) -> &mut u32; 4] =
        [|h| &mut h.ops, |h| &mut h.exp_table, |h| &mut h.labels, |h| &mut h.info];
    for place in places {
        rule(8).header(|h| *place(h) += 8);
        rule(8).header(|h| *place(h) = 96);
        rule(8).header(|h| *place(h) = h.file_bytes);
        rule(8).header(|h| *place(h) = u32::MAX - 15);
    }
    rule(8).header(|h| (h.labels, h.labels_bytes) = (0, 0));
    rule(8).header(|h| (h.info, h.info_bytes) = (0, 0));
    rule(8).header(|h| h.labels_bytes = u32::MAX);
    rule(8).header(|h| h.op_count = u16::MAX);
    for text in [|h: &Header| h.labels, |h: &Header| h.info] {
        let mut bytes = artifact();
        let header: Header = bytemuck::pod_read_unaligned(&bytes[..112]);
        bytes[text(&header) as usize] = 0xff;
        seal(&mut bytes);
        assert!(Model::parse(&Aligned::copy(&bytes)).is_err(), "rule 9");
    }
}

#[test]
fn rules_of_reserved_fields() {
    rule(10).op::<ConvRecord>(CONV, |r| r.head.kind = 0);
    rule(10).op::<ConvRecord>(CONV, |r| r.head.kind = 11);
    rule(10).op::<ConvRecord>(CONV, |r| r.head.reserved = 1);
    rule(10).op::<ConvRecord>(CONV, |r| r.padding_bytes[12] = 1);
    rule(10).op::<EmbedRecord>(EMBED, |r| r.head.reserved = 1);
    rule(10).op::<EmbedRecord>(EMBED, |r| r.padding_bytes[0] = 1);
    rule(10).op::<AttentionRecord>(ATTENTION, |r| r.head.reserved = 1);
    rule(10).op::<AttentionRecord>(ATTENTION, |r| r.padding_bytes[8] = 1);
    rule(10).op::<MlpRecord>(MLP, |r| r.head.reserved = 1);
    rule(10).op::<MlpRecord>(MLP, |r| r.padding_bytes[5] = 1);
    rule(10).op::<SeqPoolRecord>(POOL, |r| r.reserved[0] = 1);
    rule(10).op::<SeqPoolRecord>(POOL, |r| r.padding_bytes[12] = 1);
    rule(10).op::<HeadRecord>(HEAD, |r| r.padding_bytes[18] = 1);
    rule(10).op::<InvertedResidualRecord>(INVERTED, |r| r.head.reserved = 1);
    rule(10).op::<InvertedResidualRecord>(INVERTED, |r| r.reserved = 1);
    rule(10).op::<InvertedResidualRecord>(INVERTED, |r| r.padding_bytes[6] = 1);
    rule(10).op::<FoldRecord>(FOLD, |r| r.head.reserved = 1);
    rule(10).op::<FoldRecord>(FOLD, |r| r.padding_bytes[17] = 1);
    class_rule(10).op::<ClassPoolRecord>(POOL, |r| r.head.reserved = 1);
    class_rule(10).op::<ClassPoolRecord>(POOL, |r| r.padding_bytes[18] = 1);
    average_rule(10).op::<AvgPoolRecord>(AVERAGE, |r| r.head.reserved = 1);
    average_rule(10).op::<AvgPoolRecord>(AVERAGE, |r| r.padding_bytes[19] = 1);
}

#[test]
fn rules_of_the_sizes() {
    rule(11).op::<ConvRecord>(FIRST, |r| r.in_height = 0);
    rule(11).op::<ConvRecord>(FIRST, |r| r.in_channels = 0);
    rule(11).op::<ConvRecord>(CONV, |r| r.out_channels = 0);
    rule(11).op::<ConvRecord>(CONV, |r| r.kernel = 0);
    rule(11).op::<ConvRecord>(CONV, |r| r.stride = 0);
    rule(11).op::<EmbedRecord>(EMBED, |r| r.tokens = 0);
    rule(11).op::<EmbedRecord>(EMBED, |r| r.width = 0);
    rule(11).op::<EmbedRecord>(UNFOLD, |r| r.in_channels = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.width = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.heads = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.head_dim = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.groups = 0);
    rule(11).op::<MlpRecord>(MLP, |r| r.hidden = 0);
    rule(11).op::<SeqPoolRecord>(POOL, |r| r.tokens = 0);
    rule(11).op::<HeadRecord>(HEAD, |r| r.classes = 0);
    let sizes: [fn(&mut InvertedResidualRecord) -> &mut u16; 5] = [
        |r| &mut r.in_height,
        |r| &mut r.in_width,
        |r| &mut r.in_channels,
        |r| &mut r.hidden,
        |r| &mut r.out_channels,
    ];
    for size in sizes {
        rule(11).op::<InvertedResidualRecord>(INVERTED, |r| *size(r) = 0);
    }
    rule(11).op::<InvertedResidualRecord>(INVERTED, |r| (r.kernel, r.padding) = (0, 0));
    rule(11).op::<InvertedResidualRecord>(INVERTED, |r| r.stride = 0);
    rule(11).op::<FoldRecord>(FOLD, |r| r.height = 0);
    rule(11).op::<FoldRecord>(FOLD, |r| r.columns = 0);
    rule(11).op::<FoldRecord>(FOLD, |r| r.width = 0);
    class_rule(11).op::<ClassPoolRecord>(POOL, |r| r.tokens = 0);
    class_rule(11).op::<ClassPoolRecord>(POOL, |r| r.width = 0);
    average_rule(11).op::<AvgPoolRecord>(AVERAGE, |r| r.tokens = 0);
    average_rule(11).op::<AvgPoolRecord>(AVERAGE, |r| r.width = 0);

    rule(12).op::<EmbedRecord>(EMBED, |r| (r.width, r.in_channels) = (4097, 4097));
    rule(12).op::<AttentionRecord>(ATTENTION, |r| r.width = 4097);
    rule(12).op::<MlpRecord>(MLP, |r| (r.width, r.gain16, r.offset16) = (4097, 0, 0));
    rule(12).op::<SeqPoolRecord>(POOL, |r| r.width = 4097);
    rule(12).op::<FoldRecord>(FOLD, |r| r.width = 4097);
    class_rule(12).op::<ClassPoolRecord>(POOL, |r| r.width = 4097);
}

#[test]
fn rules_of_the_ranges() {
    for zero in [-129, 128] {
        rule(14).op::<EmbedRecord>(EMBED, |r| r.zero_in = zero);
        rule(14).op::<MlpRecord>(MLP, |r| r.zero1 = zero);
        rule(14).op::<MlpRecord>(MLP, |r| r.zero2 = zero);
        rule(14).op::<SeqPoolRecord>(POOL, |r| r.zero = zero);
        average_rule(14).op::<AvgPoolRecord>(AVERAGE, |r| r.zero_in = zero);
    }
    for (low, high) in [(0, 0), (0, 1 << 28)] {
        let epsilon = |norm: &mut NormRecord| (norm.epsilon_low, norm.epsilon_high) = (low, high);
        rule(15).op::<AttentionRecord>(ATTENTION, |r| epsilon(&mut r.norm));
        rule(15).op::<MlpRecord>(MLP, |r| epsilon(&mut r.norm));
        rule(15).op::<SeqPoolRecord>(POOL, |r| epsilon(&mut r.norm));
        rule(15).op::<FoldRecord>(FOLD, |r| epsilon(&mut r.norm));
        let set = |r: &mut ClassPoolRecord| (r.epsilon_low, r.epsilon_high) = (low, high);
        class_rule(15).op::<ClassPoolRecord>(POOL, set);
    }
    rule(16).op::<EmbedRecord>(UNFOLD, |r| r.shift = 32);
    rule(16).op::<AttentionRecord>(ATTENTION, |r| r.score_shift = 32);
    rule(16).op::<AttentionRecord>(ATTENTION, |r| r.proj_shift = 32);
    rule(16).op::<MlpRecord>(MLP, |r| r.shift = 32);
    rule(16).op::<SeqPoolRecord>(POOL, |r| r.score_shift = 32);
    rule(16).op::<SeqPoolRecord>(POOL, |r| r.out_shift = 32);
    rule(16).op::<HeadRecord>(HEAD, |r| r.shift = 32);
    average_rule(16).op::<AvgPoolRecord>(AVERAGE, |r| r.shift = 32);
}

#[test]
fn rules_of_the_operations() {
    rule(13).op::<ConvRecord>(CONV, |r| r.padding = r.kernel);
    rule(13).op::<ConvRecord>(CONV, |r| r.winograd = 4);
    rule(13).op::<ConvRecord>(CONV, |r| r.kernel = 200);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_stride = 0);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_padding = r.pool_kernel);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_padding_after = r.pool_kernel);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_kernel = 200);
    rule(13).op::<ConvRecord>(CONV, |r| (r.pool_kernel, r.pool_padding) = (0, 0));
    rule(13).op::<ConvRecord>(FIRST, |r| r.pool_padding = 1);
    rule(13).op::<ConvRecord>(FIRST, |r| r.pool_padding_after = 1);
    rule(13).op::<ConvRecord>(CONV, |r| r.low = -127);
    rule(13).op::<ConvRecord>(CONV, |r| r.in_channels2 = 0);
    rule(13).op::<ConvRecord>(FIRST, |r| r.input2 = 16);

    rule(20).op::<EmbedRecord>(EMBED, |r| r.class_token = 2);
    rule(20).op::<EmbedRecord>(EMBED, |r| r.positions = 0);
    rule(20).op::<EmbedRecord>(EMBED, |r| r.tokens = 1);
    rule(20).op::<EmbedRecord>(EMBED, |r| r.patch = 1);
    rule(20).op::<EmbedRecord>(EMBED, |r| r.columns = 3);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.columns = 0);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.columns = 5);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| (r.columns, r.patch) = (5, 1));
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.columns = 8);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.columns = 3);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.columns = 48);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.patch = 0);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.patch = 3);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.zero_in = 1);
    rule(20).op::<EmbedRecord>(UNFOLD, |r| r.mult = 1);
    rule(20).op::<EmbedRecord>(EMBED, |r| (r.bias, r.mults) = (r.positions, r.positions));
    rule(20).op::<EmbedRecord>(EMBED, |r| r.in_channels += 1);
    rule(20).op::<EmbedRecord>(EMBED, |r| r.shift = 1);

    rule(21).op::<AttentionRecord>(ATTENTION, |r| r.groups = 2);
    rule(21).op::<AttentionRecord>(ATTENTION, |r| r.groups = 14);
    rule(21).op::<MlpRecord>(MLP, |r| (r.table2, r.zero2) = (0, 1));

    rule(22).op::<InvertedResidualRecord>(INVERTED, |r| r.padding = r.kernel);
    rule(22).op::<InvertedResidualRecord>(INVERTED, |r| r.kernel = 200);
    rule(22).op::<InvertedResidualRecord>(INVERTED, |r| r.residual = 2);
    rule(22).op::<InvertedResidualRecord>(INVERTED, |r| r.zero_in = 1);
    rule(22).op::<InvertedResidualRecord>(INVERTED, |r| r.residual_mult = 1);
    rule(22).op::<InvertedResidualRecord>(RESIDUAL, |r| r.stride = 2);
    rule(22).op::<InvertedResidualRecord>(RESIDUAL, |r| r.padding = 0);
    rule(22).op::<InvertedResidualRecord>(RESIDUAL, |r| r.out_channels -= 1);

    rule(23).op::<FoldRecord>(FOLD, |r| r.patch = 3);
    rule(23).op::<FoldRecord>(FOLD, |r| r.patch = 4);
}

/// A place of a constant in a record.
type Place<R> = fn(&mut R) -> &mut u32;

fn constants<R: Pod>(op: usize, places: &[Place<R>]) {
    for place in places {
        rule(17).op::<R>(op, |r| *place(r) += 8);
        rule(17).op::<R>(op, |r| *place(r) = 96);
        rule(17).op::<R>(op, |r| *place(r) = u32::MAX - 15);
        let end = rule(17).bytes.len() as u32;
        rule(17).op::<R>(op, |r| *place(r) = end);
    }
}

#[test]
fn rules_of_the_constants() {
    constants::<ConvRecord>(
        CONV,
        &[
            |r| &mut r.zero_in,
            |r| &mut r.weights,
            |r| &mut r.bias,
            |r| &mut r.mult,
            |r| &mut r.table,
        ],
    );
    constants::<EmbedRecord>(EMBED, &[|r| &mut r.positions]);
    constants::<EmbedRecord>(UNFOLD, &[|r| &mut r.weights, |r| &mut r.bias, |r| &mut r.mults]);
    constants::<FoldRecord>(FOLD, &[|r| &mut r.norm.gain8, |r| &mut r.norm.offset8]);
    constants::<InvertedResidualRecord>(
        INVERTED,
        &[
            |r| &mut r.weights1,
            |r| &mut r.bias1,
            |r| &mut r.mult1,
            |r| &mut r.table1,
            |r| &mut r.weights2,
            |r| &mut r.bias2,
            |r| &mut r.mult2,
            |r| &mut r.table2,
            |r| &mut r.weights3,
            |r| &mut r.bias3,
            |r| &mut r.mult3,
        ],
    );
    constants::<AttentionRecord>(
        ATTENTION,
        &[
            |r| &mut r.norm.gain8,
            |r| &mut r.norm.offset8,
            |r| &mut r.qkv_weights,
            |r| &mut r.qkv_bias,
            |r| &mut r.qkv_mult,
            |r| &mut r.exp_mult,
            |r| &mut r.out_mult,
            |r| &mut r.proj_weights,
            |r| &mut r.proj_bias,
            |r| &mut r.proj_mult,
        ],
    );
    constants::<MlpRecord>(
        MLP,
        &[
            |r| &mut r.norm.gain8,
            |r| &mut r.norm.offset8,
            |r| &mut r.gain16,
            |r| &mut r.offset16,
            |r| &mut r.weights1,
            |r| &mut r.bias1,
            |r| &mut r.mult1,
            |r| &mut r.table,
            |r| &mut r.weights2,
            |r| &mut r.bias2,
            |r| &mut r.mult2,
            |r| &mut r.table2,
        ],
    );
    constants::<SeqPoolRecord>(
        POOL,
        &[|r| &mut r.norm.gain8, |r| &mut r.norm.offset8, |r| &mut r.weights],
    );
    constants::<HeadRecord>(HEAD, &[|r| &mut r.weights, |r| &mut r.bias, |r| &mut r.mult]);
    let places: [Place<ClassPoolRecord>; 2] = [|r| &mut r.gain16, |r| &mut r.offset16];
    for place in places {
        class_rule(17).op::<ClassPoolRecord>(POOL, |r| *place(r) += 8);
        class_rule(17).op::<ClassPoolRecord>(POOL, |r| *place(r) = 0);
        class_rule(17).op::<ClassPoolRecord>(POOL, |r| *place(r) = u32::MAX - 15);
    }
    rule(17).op::<EmbedRecord>(UNFOLD, |r| r.bias = 0);
    rule(17).op::<EmbedRecord>(UNFOLD, |r| r.mults = 0);
    // These two are of the record, not of what it points to.
    rule(20).op::<EmbedRecord>(EMBED, |r| r.bias = 112);
    rule(20).op::<EmbedRecord>(EMBED, |r| r.mults = 112);
    rule(17).op::<InvertedResidualRecord>(INVERTED, |r| r.table1 = 0);
    rule(17).op::<InvertedResidualRecord>(INVERTED, |r| r.table2 = 0);
    rule(17).op::<FoldRecord>(FOLD, |r| r.norm.gain8 = 0);
    rule(17).op::<MlpRecord>(MLP, |r| r.table = 0);
    rule(17).op::<MlpRecord>(MLP, |r| r.gain16 = 0);
    rule(17).op::<MlpRecord>(MLP, |r| r.offset16 = 0);
    rule(17).op::<HeadRecord>(HEAD, |r| r.weights = 0);
}

#[test]
fn rules_of_the_buffers() {
    rule(18).header(|h| h.arena_bytes = 0);
    rule(18).header(|h| h.arena_bytes -= 16);
    rule(18).op::<ConvRecord>(CONV, |r| r.head.scratch += 8);
    rule(18).op::<ConvRecord>(CONV, |r| r.head.scratch = u32::MAX - 15);
    rule(18).op::<EmbedRecord>(EMBED, |r| r.head.scratch = 8);
    rule(18).op::<EmbedRecord>(EMBED, |r| r.head.scratch = u32::MAX - 15);
    rule(19).op::<ConvRecord>(CONV, |r| r.head.output = r.head.input);
    rule(19).op::<ConvRecord>(CONV, |r| r.head.scratch = r.head.input);
    rule(19).op::<ConvRecord>(CONV, |r| r.head.scratch = r.head.output);
    rule(19).op::<EmbedRecord>(EMBED, |r| r.head.output = r.head.input);
    rule(19).op::<AttentionRecord>(ATTENTION, |r| r.head.output += 16);
    rule(19).op::<AttentionRecord>(ATTENTION, |r| r.head.scratch = r.head.input);
    rule(19).op::<MlpRecord>(MLP, |r| r.head.output += 16);
    rule(19).op::<MlpRecord>(MLP, |r| r.head.scratch = r.head.input);
    rule(19).op::<SeqPoolRecord>(POOL, |r| r.head.output = r.head.input);
    rule(19).op::<SeqPoolRecord>(POOL, |r| r.head.scratch = r.head.output);
    rule(19).op::<HeadRecord>(HEAD, |r| r.head.output = r.head.input);
    rule(18).op::<ConvRecord>(CONV, |r| r.input2 += 8);
    rule(18).op::<ConvRecord>(CONV, |r| r.input2 = u32::MAX - 15);
    rule(19).op::<ConvRecord>(CONV, |r| r.input2 = r.head.input);
    rule(19).op::<ConvRecord>(CONV, |r| r.input2 = r.head.input + 16);
    rule(19).op::<ConvRecord>(CONV, |r| r.input2 = r.head.output);
    rule(19).op::<ConvRecord>(CONV, |r| r.input2 = r.head.scratch);
    rule(18).op::<FoldRecord>(FOLD, |r| r.head.scratch = 8);
    rule(19).op::<FoldRecord>(FOLD, |r| r.head.output = r.head.input);
    rule(19).op::<InvertedResidualRecord>(INVERTED, |r| r.head.output = r.head.input);
    rule(19).op::<InvertedResidualRecord>(INVERTED, |r| r.head.scratch = r.head.output);
    rule(19).op::<InvertedResidualRecord>(INVERTED, |r| r.residual = 1);
    rule(19).op::<InvertedResidualRecord>(RESIDUAL, |r| r.head.output += 16);
    rule(19).op::<InvertedResidualRecord>(RESIDUAL, |r| r.head.scratch = r.head.input);
    class_rule(19).op::<ClassPoolRecord>(POOL, |r| r.head.output = r.head.input);
    average_rule(19).op::<AvgPoolRecord>(AVERAGE, |r| r.head.output = r.head.input);
    average_rule(19).op::<AvgPoolRecord>(AVERAGE, |r| r.head.scratch = r.head.output);
}

#[test]
fn rules_of_the_chain() {
    rule(24).header(|h| h.height += 1);
    rule(24).header(|h| h.input += 16);
    rule(24).header(|h| h.channels = 3);
    rule(25).op::<EmbedRecord>(EMBED, |r| r.tokens -= 1);
    rule(25).op::<EmbedRecord>(EMBED, |r| r.head.input += 16);
    rule(25).op::<ConvRecord>(CONV, |r| (r.in_height, r.in_width) = (r.in_width, r.in_height));
    rule(25).op::<InvertedResidualRecord>(INVERTED, |r| r.in_channels -= 1);
    rule(25).op::<InvertedResidualRecord>(RESIDUAL, |r| r.head.input += 16);
    rule(25).op::<AttentionRecord>(ATTENTION, |r| r.tokens -= 1);
    rule(25).op::<MlpRecord>(MLP, |r| r.width -= 1);
    rule(25).op::<FoldRecord>(FOLD, |r| r.height *= 2);
    rule(25).op::<FoldRecord>(FOLD, |r| r.width -= 1);
    rule(25).op::<SeqPoolRecord>(POOL, |r| r.tokens -= 1);
    class_rule(25).op::<ClassPoolRecord>(POOL, |r| r.tokens -= 1);
    average_rule(25).op::<AvgPoolRecord>(AVERAGE, |r| r.tokens -= 1);
    average_rule(25).op::<AvgPoolRecord>(AVERAGE, |r| r.width -= 1);
    rule(25).op::<HeadRecord>(HEAD, |r| r.width -= 1);
    rule(26).header(|h| h.classes -= 1);
    rule(26).header(|h| h.logits += 16);
    rule(26).header(|h| h.op_count -= 1);
    rule(26).op::<HeadRecord>(HEAD, |r| r.classes -= 1);

    // Whole operations at the wrong place.
    let original = network(Pooling::Sequence);
    for remove in [UNFOLD, FOLD, EMBED, POOL, HEAD] {
        let mut network = original.clone();
        network.ops.remove(remove);
        let bytes = Aligned::copy(&build(&network, Layout::Apart));
        assert!(Model::parse(&bytes).is_err(), "without operation {remove}");
    }
    for repeat in [FIRST, UNFOLD, FOLD, EMBED, POOL, HEAD] {
        let mut network = original.clone();
        network.ops.insert(repeat, original.ops[repeat].clone());
        let bytes = Aligned::copy(&build(&network, Layout::Apart));
        assert!(Model::parse(&bytes).is_err(), "twice operation {repeat}");
    }
}

/// Plain convolutions and a pooling.
fn convolutions(
    (height, width): (usize, usize),
    shapes: &[(usize, usize)],
    pooling: Pooling,
) -> Vec<u8> {
    let stage = |&(kernel, channels): &(usize, usize)| {
        Stage::Conv(ConvPlan {
            channels,
            kernel,
            stride: 1,
            padding: kernel / 2,
            table: false,
            second: None,
            pool: None,
        })
    };
    let stages = shapes.iter().map(stage).collect();
    let plan = Plan { height, width, channels: 1, stages, pooling, classes: 1 };
    build(&plan.network(0, Style::Typical), Layout::Tight)
}

/// One pointwise convolution and a pooling.
fn tiny(size: (usize, usize), channels: usize, pooling: Pooling) -> Vec<u8> {
    convolutions(size, &[(1, channels)], pooling)
}

/// Rule 13 of transformed weights: only where the record allows them. Where it does, it is their place that
/// is wrong here.
#[test]
fn rules_of_winograd() {
    rule(13).op::<ConvRecord>(CONV, |r| r.winograd = 1);
    rule(13).op::<ConvRecord>(CONV, |r| r.winograd = 2);
    rule(13).op::<ConvRecord>(CONV, |r| r.winograd = 3);
    let artifact = |rule, shapes: &[(usize, usize)]| Breaker {
        bytes: convolutions((8, 8), shapes, Pooling::Average),
        rule,
    };
    for (form, inputs, outputs) in [(1, 16, 4), (2, 8, 8), (3, 8, 16)] {
        let fits = [(1, inputs), (3, outputs)];
        let transformed = |r: &mut ConvRecord| (r.winograd, r.low) = (form, -128);
        artifact(17, &fits).op(1, transformed);
        artifact(13, &[(1, inputs), (1, outputs)]).op(1, transformed);
        artifact(13, &[(1, inputs), (5, outputs)]).op(1, transformed);
        artifact(13, &[(1, inputs - 1), (3, outputs)]).op(1, transformed);
        artifact(13, &[(1, inputs), (3, outputs - 1)]).op(1, transformed);
        // A whole group of outputs is needed.
        artifact(13, &[(1, inputs), (3, outputs + outputs / 2)]).op(1, transformed);
        artifact(13, &fits).op(1, |r| {
            transformed(r);
            r.stride = 2;
        });
        artifact(13, &fits).op(1, |r| {
            transformed(r);
            r.low = 0;
        });
    }
}

/// Rule 12, and nothing narrower.
#[test]
fn rule_of_the_width() {
    let wide = |channels, pooling| {
        let bytes = Aligned::copy(&tiny((1, 1), channels, pooling));
        Model::parse(&bytes).map(|_| ())
    };
    assert_eq!(wide(4096, Pooling::Sequence(StreamPlan::default())), Ok(()));
    assert_eq!(wide(4096, Pooling::ClassToken(StreamPlan::default())), Ok(()));
    assert_eq!(wide(4097, Pooling::Average), Ok(()));
}

/// Rule 25: a map is its pixels, in one row, to a convolution of one row.
#[test]
fn a_map_may_be_taken_as_one_row() {
    // Of one channel, so that the scratch memory of the longer row is no larger.
    let bytes = tiny((3, 5), 1, Pooling::Average);
    let breaker = Breaker { bytes: bytes.clone(), rule: 25 };
    breaker.op::<ConvRecord>(0, |r| (r.in_height, r.in_width) = (1, 14));
    breaker.op::<ConvRecord>(0, |r| (r.in_height, r.in_width) = (5, 3));
    let mut row = bytes;
    row[112 + 16..112 + 20].copy_from_slice(&[1, 0, 15, 0]);
    seal(&mut row);
    assert!(Model::parse(&Aligned::copy(&row)).is_ok());
}
