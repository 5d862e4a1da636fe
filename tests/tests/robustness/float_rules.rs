//! The rules of `docs/format.md`, section 6, for operations on floats and number formats.

use bytemuck::Pod;
use picovit::format::float::{
    Conversion, ConvertRecord, FloatAttentionRecord, FloatAvgPoolRecord, FloatClassPoolRecord,
    FloatConvRecord, FloatEmbedRecord, FloatFoldRecord, FloatHeadRecord,
    FloatInvertedResidualRecord, FloatMlpRecord, FloatNormRecord, FloatSeqPoolRecord,
};
use picovit::format::{FORMAT_F16, FORMAT_INT8, FORMAT_MIXED};
use picovit::{Error, Model};
use picovit_tests::reference::floats::{Convert, FloatOp};
use picovit_tests::reference::{Aligned, Layout, Network, Numbers, Op, Pooling, build, seal};

use crate::rules::{
    ATTENTION, AVERAGE, Breaker, CONV, EMBED, FIRST, FOLD, GROUPED, HEAD, INVERTED, MLP, POOL,
    RESIDUAL, UNFOLD,
};
use crate::{MakePooling, network, network_of, parse_and_run};

fn floats(pooling: MakePooling) -> Network {
    network_of(Numbers::F16, pooling)
}

fn rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&floats(Pooling::Sequence), Layout::Apart), rule }
}

fn class_rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&floats(Pooling::ClassToken), Layout::Apart), rule }
}

fn average_rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&floats(|_| Pooling::Average), Layout::Apart), rule }
}

/// To integers, and back in the operation behind.
const MAP: usize = EMBED;
const TOKENS: usize = POOL + 2;
const POOLED: usize = HEAD + 4;

/// The network on floats, with a way through integers at every kind of place.
fn converted() -> Network {
    let mut network = floats(Pooling::Sequence);
    network.format = FORMAT_MIXED;
    let Op::Float(FloatOp::Conv(conv)) = &network.ops[CONV] else { panic!() };
    let (height, columns) = conv.out_size();
    let width = conv.out_channels();
    let Op::Float(FloatOp::Embed(embed)) = &network.ops[EMBED] else { panic!() };
    let tokens = embed.tokens;
    assert_eq!(embed.width, width);
    let convert = |conversion, height, columns| {
        let (scale, zero) = (vec![0.25; width], vec![1.0; width]);
        Op::Float(FloatOp::Convert(Convert { conversion, height, columns, scale, zero }))
    };
    use Conversion::*;
    let pooled = [PooledToInt, PooledToFloat].map(|c| convert(c, 1, 1));
    let stream = [TokensToInt, TokensToFloat].map(|c| convert(c, tokens, 1));
    let map = [MapToInt, MapToFloat].map(|c| convert(c, height, columns));
    network.ops.splice(HEAD..HEAD, pooled);
    network.ops.splice(POOL..POOL, stream);
    network.ops.splice(EMBED..EMBED, map);
    network
}

fn mixed_rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&converted(), Layout::Apart), rule }
}

/// The records that the rules change are what their names say.
#[test]
fn the_float_rules_break_what_they_mean() {
    let ops = |pooling| -> Vec<FloatOp> {
        let float = |op| match op {
            Op::Float(op) => op,
            _ => panic!("integers"),
        };
        floats(pooling).ops.into_iter().map(float).collect()
    };
    let sequence = ops(Pooling::Sequence);
    assert!(matches!(&sequence[FIRST], FloatOp::Conv(op) if op.int8.is_some()));
    let FloatOp::Conv(conv) = &sequence[CONV] else { panic!() };
    assert!(conv.second.is_some() && conv.pool.is_some());
    assert!(matches!(&sequence[INVERTED], FloatOp::InvertedResidual(op) if !op.residual));
    assert!(matches!(&sequence[RESIDUAL], FloatOp::InvertedResidual(op) if op.residual));
    let FloatOp::Embed(embed) = &sequence[UNFOLD] else { panic!() };
    assert!(embed.patch == 2 && embed.linear.is_some());
    assert!(
        matches!(&sequence[EMBED], FloatOp::Embed(op) if op.class_token && op.linear.is_none())
    );
    assert!(matches!(&sequence[GROUPED], FloatOp::Attention(op) if op.groups == 4));
    assert!(matches!(&sequence[ATTENTION], FloatOp::Attention(op) if op.groups == 1));
    assert!(matches!((&sequence[MLP], &sequence[FOLD]), (FloatOp::Mlp(_), FloatOp::Fold(_))));
    assert!(matches!((&sequence[POOL], &sequence[HEAD]), (FloatOp::SeqPool(_), FloatOp::Head(_))));
    assert!(matches!(ops(Pooling::ClassToken)[POOL], FloatOp::ClassPool(_)));
    assert!(matches!(ops(|_| Pooling::Average)[AVERAGE], FloatOp::AvgPool(_)));
    parse_and_run(&Aligned::copy(&mixed_rule(0).bytes)).unwrap();
}

/// A number format has its kinds of operations and no others.
#[test]
fn rules_of_the_number_formats() {
    let parsed = |network: &Network, format| {
        let mut bytes = build(network, Layout::Tight);
        bytes[6] = format;
        seal(&mut bytes);
        Model::parse(&Aligned::copy(&bytes)).map(|_| ())
    };
    let [int8, f16, both] = [network(Pooling::Sequence), floats(Pooling::Sequence), converted()];
    let first = Err(Error::Operation { index: 0 });
    assert_eq!(parsed(&int8, FORMAT_INT8), Ok(()));
    assert_eq!(parsed(&int8, FORMAT_F16), first);
    assert_eq!(parsed(&int8, FORMAT_MIXED), Ok(()));
    assert_eq!(parsed(&f16, FORMAT_INT8), first);
    assert_eq!(parsed(&f16, FORMAT_F16), Ok(()));
    assert_eq!(parsed(&f16, FORMAT_MIXED), Ok(()));
    assert_eq!(parsed(&both, FORMAT_INT8), first);
    let conversion = Err(Error::Operation { index: MAP as u16 });
    assert_eq!(parsed(&both, FORMAT_F16), conversion);
    assert_eq!(parsed(&both, FORMAT_MIXED), Ok(()));
    for network in [&int8, &f16, &both] {
        assert_eq!(parsed(network, 3), Err(Error::Format { found: 3 }));
    }
    for kind in [11, 16, 28] {
        mixed_rule(10).op::<ConvertRecord>(MAP, |r| r.head.kind = kind);
    }
}

#[test]
fn rules_of_reserved_fields_of_floats() {
    rule(10).op::<FloatConvRecord>(CONV, |r| r.head.reserved = 1);
    rule(10).op::<FloatConvRecord>(CONV, |r| r.reserved = 1);
    rule(10).op::<FloatConvRecord>(CONV, |r| r.padding_bytes[13] = 1);
    rule(10).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.head.reserved = 1);
    rule(10).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.padding_bytes[13] = 1);
    rule(10).op::<FloatEmbedRecord>(EMBED, |r| r.head.reserved = 1);
    rule(10).op::<FloatEmbedRecord>(EMBED, |r| r.reserved = 1);
    rule(10).op::<FloatEmbedRecord>(EMBED, |r| r.padding_bytes[17] = 1);
    rule(10).op::<FloatAttentionRecord>(ATTENTION, |r| r.head.reserved = 1);
    rule(10).op::<FloatAttentionRecord>(ATTENTION, |r| r.reserved = 1);
    rule(10).op::<FloatAttentionRecord>(ATTENTION, |r| r.padding_bytes[12] = 1);
    rule(10).op::<FloatMlpRecord>(MLP, |r| r.head.reserved = 1);
    rule(10).op::<FloatMlpRecord>(MLP, |r| r.padding_bytes[13] = 1);
    rule(10).op::<FloatFoldRecord>(FOLD, |r| r.head.reserved = 1);
    rule(10).op::<FloatFoldRecord>(FOLD, |r| r.padding_bytes[18] = 1);
    rule(10).op::<FloatSeqPoolRecord>(POOL, |r| r.head.reserved = 1);
    rule(10).op::<FloatSeqPoolRecord>(POOL, |r| r.padding_bytes[18] = 1);
    rule(10).op::<FloatHeadRecord>(HEAD, |r| r.head.reserved = 1);
    rule(10).op::<FloatHeadRecord>(HEAD, |r| r.padding_bytes[19] = 1);
    class_rule(10).op::<FloatClassPoolRecord>(POOL, |r| r.head.reserved = 1);
    class_rule(10).op::<FloatClassPoolRecord>(POOL, |r| r.padding_bytes[19] = 1);
    average_rule(10).op::<FloatAvgPoolRecord>(AVERAGE, |r| r.head.reserved = 1);
    average_rule(10).op::<FloatAvgPoolRecord>(AVERAGE, |r| r.padding_bytes[22] = 1);
    mixed_rule(10).op::<ConvertRecord>(MAP, |r| r.head.reserved = 1);
    mixed_rule(10).op::<ConvertRecord>(MAP, |r| r.padding_bytes[19] = 1);
}

/// A size in a record.
type Size<R> = fn(&mut R) -> &mut u16;

fn sizes<R: Pod>(breaker: &Breaker, op: usize, sizes: &[Size<R>]) {
    for size in sizes {
        breaker.op::<R>(op, |r| *size(r) = 0);
    }
}

#[test]
fn rules_of_the_sizes_of_floats() {
    let one = rule(11);
    sizes::<FloatConvRecord>(
        &one,
        FIRST,
        &[
            |r| &mut r.in_height,
            |r| &mut r.in_width,
            |r| &mut r.in_channels,
            |r| &mut r.out_channels,
        ],
    );
    one.op::<FloatConvRecord>(CONV, |r| (r.kernel, r.padding) = (0, 0));
    one.op::<FloatConvRecord>(CONV, |r| r.stride = 0);
    sizes::<FloatInvertedResidualRecord>(
        &one,
        INVERTED,
        &[
            |r| &mut r.in_height,
            |r| &mut r.in_width,
            |r| &mut r.in_channels,
            |r| &mut r.hidden,
            |r| &mut r.out_channels,
        ],
    );
    one.op::<FloatInvertedResidualRecord>(INVERTED, |r| (r.kernel, r.padding) = (0, 0));
    one.op::<FloatInvertedResidualRecord>(INVERTED, |r| r.stride = 0);
    let embed: [Size<FloatEmbedRecord>; 3] =
        [|r| &mut r.tokens, |r| &mut r.width, |r| &mut r.in_channels];
    sizes(&one, UNFOLD, &embed);
    sizes::<FloatAttentionRecord>(
        &one,
        ATTENTION,
        &[
            |r| &mut r.tokens,
            |r| &mut r.width,
            |r| &mut r.heads,
            |r| &mut r.head_dim,
            |r| &mut r.groups,
        ],
    );
    let mlp: [Size<FloatMlpRecord>; 3] = [|r| &mut r.tokens, |r| &mut r.width, |r| &mut r.hidden];
    sizes(&one, MLP, &mlp);
    let fold: [Size<FloatFoldRecord>; 3] =
        [|r| &mut r.height, |r| &mut r.columns, |r| &mut r.width];
    sizes(&one, FOLD, &fold);
    sizes::<FloatSeqPoolRecord>(&one, POOL, &[|r| &mut r.tokens, |r| &mut r.width]);
    sizes::<FloatHeadRecord>(&one, HEAD, &[|r| &mut r.width, |r| &mut r.classes]);
    sizes::<FloatClassPoolRecord>(&class_rule(11), POOL, &[|r| &mut r.tokens, |r| &mut r.width]);
    let average: [Size<FloatAvgPoolRecord>; 2] = [|r| &mut r.tokens, |r| &mut r.width];
    sizes(&average_rule(11), AVERAGE, &average);
    let convert: [Size<ConvertRecord>; 3] =
        [|r| &mut r.height, |r| &mut r.columns, |r| &mut r.width];
    sizes(&mixed_rule(11), MAP, &convert);

    rule(12).op::<FloatEmbedRecord>(EMBED, |r| (r.width, r.in_channels) = (4097, 4097));
    rule(12).op::<FloatAttentionRecord>(ATTENTION, |r| r.width = 4097);
    rule(12).op::<FloatMlpRecord>(MLP, |r| r.width = 4097);
    rule(12).op::<FloatSeqPoolRecord>(POOL, |r| r.width = 4097);
    rule(12).op::<FloatFoldRecord>(FOLD, |r| r.width = 4097);
    class_rule(12).op::<FloatClassPoolRecord>(POOL, |r| r.width = 4097);
}

#[test]
fn rules_of_the_operations_on_floats() {
    rule(13).op::<FloatConvRecord>(CONV, |r| r.padding = r.kernel);
    rule(13).op::<FloatConvRecord>(CONV, |r| r.kernel = 200);
    rule(13).op::<FloatConvRecord>(CONV, |r| r.pool_stride = 0);
    rule(13).op::<FloatConvRecord>(CONV, |r| r.pool_padding = r.pool_kernel);
    rule(13).op::<FloatConvRecord>(CONV, |r| r.pool_padding_after = r.pool_kernel);
    rule(13).op::<FloatConvRecord>(CONV, |r| r.pool_kernel = 200);
    rule(13).op::<FloatConvRecord>(CONV, |r| (r.pool_kernel, r.pool_padding) = (0, 0));
    rule(13).op::<FloatConvRecord>(FIRST, |r| r.pool_padding = 1);
    rule(13).op::<FloatConvRecord>(FIRST, |r| r.pool_padding_after = 1);
    rule(13).op::<FloatConvRecord>(CONV, |r| r.in_channels2 = 0);
    rule(13).op::<FloatConvRecord>(FIRST, |r| r.input2 = 16);

    rule(20).op::<FloatEmbedRecord>(EMBED, |r| r.class_token = 2);
    rule(20).op::<FloatEmbedRecord>(EMBED, |r| r.positions = 0);
    rule(20).op::<FloatEmbedRecord>(EMBED, |r| r.tokens = 1);
    rule(20).op::<FloatEmbedRecord>(EMBED, |r| r.patch = 1);
    rule(20).op::<FloatEmbedRecord>(EMBED, |r| r.columns = 3);
    for columns in [0, 3, 5, 8, 48] {
        rule(20).op::<FloatEmbedRecord>(UNFOLD, |r| r.columns = columns);
    }
    rule(20).op::<FloatEmbedRecord>(UNFOLD, |r| (r.columns, r.patch) = (5, 1));
    rule(20).op::<FloatEmbedRecord>(UNFOLD, |r| r.patch = 0);
    rule(20).op::<FloatEmbedRecord>(UNFOLD, |r| r.patch = 3);
    rule(20).op::<FloatEmbedRecord>(EMBED, |r| r.in_channels += 1);

    rule(21).op::<FloatAttentionRecord>(ATTENTION, |r| r.groups = 2);
    rule(21).op::<FloatAttentionRecord>(ATTENTION, |r| r.groups = 14);

    rule(22).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.padding = r.kernel);
    rule(22).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.kernel = 200);
    rule(22).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.residual = 2);
    rule(22).op::<FloatInvertedResidualRecord>(RESIDUAL, |r| r.stride = 2);
    rule(22).op::<FloatInvertedResidualRecord>(RESIDUAL, |r| r.padding = 0);
    rule(22).op::<FloatInvertedResidualRecord>(RESIDUAL, |r| r.out_channels -= 1);

    rule(23).op::<FloatFoldRecord>(FOLD, |r| r.patch = 3);
    rule(23).op::<FloatFoldRecord>(FOLD, |r| r.patch = 4);

    rule(27).op::<FloatConvRecord>(CONV, |r| r.activation = 4);
    rule(27).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.activation1 = 4);
    rule(27).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.activation2 = 255);
    rule(27).op::<FloatMlpRecord>(MLP, |r| r.activation1 = 4);
    rule(27).op::<FloatMlpRecord>(MLP, |r| r.activation2 = 4);
    mixed_rule(27).op::<ConvertRecord>(MAP, |r| r.conversion = 6);
    mixed_rule(28).op::<ConvertRecord>(TOKENS, |r| r.columns = 2);
    mixed_rule(28).op::<ConvertRecord>(TOKENS + 1, |r| r.columns = 0);
    mixed_rule(28).op::<ConvertRecord>(POOLED, |r| r.height = 2);
    mixed_rule(28).op::<ConvertRecord>(POOLED + 1, |r| r.columns = 2);
    for epsilon in [0.0, -1.0, f32::MAX, f32::INFINITY, f32::NAN] {
        let set = |norm: &mut FloatNormRecord| norm.epsilon = epsilon;
        rule(29).op::<FloatAttentionRecord>(ATTENTION, |r| set(&mut r.norm));
        rule(29).op::<FloatMlpRecord>(MLP, |r| set(&mut r.norm));
        rule(29).op::<FloatSeqPoolRecord>(POOL, |r| set(&mut r.norm));
        rule(29).op::<FloatFoldRecord>(FOLD, |r| set(&mut r.norm));
        class_rule(29).op::<FloatClassPoolRecord>(POOL, |r| set(&mut r.norm));
    }
    rule(30).op::<FloatConvRecord>(FIRST, |r| r.scale = 0);
    rule(30).op::<FloatConvRecord>(FIRST, |r| r.offset = 0);
    rule(30).op::<FloatConvRecord>(CONV, |r| (r.scale, r.offset) = (r.bias, r.bias));
    rule(31).op::<FloatMlpRecord>(MLP, |r| r.replaces = 2);
}

/// A place of a constant in a record.
type Place<R> = fn(&mut R) -> &mut u32;

fn constants<R: Pod>(breaker: &Breaker, op: usize, places: &[Place<R>]) {
    for place in places {
        breaker.op::<R>(op, |r| *place(r) += 8);
        breaker.op::<R>(op, |r| *place(r) = 96);
        breaker.op::<R>(op, |r| *place(r) = u32::MAX - 15);
        let end = breaker.bytes.len() as u32;
        breaker.op::<R>(op, |r| *place(r) = end);
    }
}

#[test]
fn rules_of_the_constants_of_floats() {
    let one = rule(17);
    constants::<FloatConvRecord>(
        &one,
        FIRST,
        &[|r| &mut r.weights, |r| &mut r.bias, |r| &mut r.scale, |r| &mut r.offset],
    );
    constants::<FloatInvertedResidualRecord>(
        &one,
        INVERTED,
        &[
            |r| &mut r.weights1,
            |r| &mut r.bias1,
            |r| &mut r.weights2,
            |r| &mut r.bias2,
            |r| &mut r.weights3,
            |r| &mut r.bias3,
        ],
    );
    constants::<FloatEmbedRecord>(&one, EMBED, &[|r| &mut r.positions]);
    constants::<FloatEmbedRecord>(&one, UNFOLD, &[|r| &mut r.weights, |r| &mut r.bias]);
    one.op::<FloatEmbedRecord>(UNFOLD, |r| r.weights = 0);
    one.op::<FloatEmbedRecord>(UNFOLD, |r| r.bias = 0);
    one.op::<FloatEmbedRecord>(EMBED, |r| r.bias = 112);
    constants::<FloatAttentionRecord>(
        &one,
        ATTENTION,
        &[
            |r| &mut r.norm.gamma,
            |r| &mut r.norm.beta,
            |r| &mut r.qkv_weights,
            |r| &mut r.qkv_bias,
            |r| &mut r.proj_weights,
            |r| &mut r.proj_bias,
        ],
    );
    constants::<FloatMlpRecord>(
        &one,
        MLP,
        &[
            |r| &mut r.norm.gamma,
            |r| &mut r.norm.beta,
            |r| &mut r.weights1,
            |r| &mut r.bias1,
            |r| &mut r.weights2,
            |r| &mut r.bias2,
        ],
    );
    let fold: [Place<FloatFoldRecord>; 2] = [|r| &mut r.norm.gamma, |r| &mut r.norm.beta];
    constants(&one, FOLD, &fold);
    constants::<FloatSeqPoolRecord>(
        &one,
        POOL,
        &[|r| &mut r.norm.gamma, |r| &mut r.norm.beta, |r| &mut r.weights],
    );
    constants::<FloatHeadRecord>(&one, HEAD, &[|r| &mut r.weights, |r| &mut r.bias]);
    let class: [Place<FloatClassPoolRecord>; 2] = [|r| &mut r.norm.gamma, |r| &mut r.norm.beta];
    constants(&class_rule(17), POOL, &class);
    constants::<ConvertRecord>(&mixed_rule(17), MAP, &[|r| &mut r.scale, |r| &mut r.zero]);
    mixed_rule(17).op::<ConvertRecord>(MAP, |r| r.scale = 0);
    one.op::<FloatHeadRecord>(HEAD, |r| r.weights = 0);
}

#[test]
fn rules_of_the_buffers_of_floats() {
    rule(18).header(|h| h.arena_bytes -= 16);
    rule(18).op::<FloatConvRecord>(CONV, |r| r.head.scratch += 8);
    rule(18).op::<FloatConvRecord>(CONV, |r| r.input2 += 8);
    rule(19).op::<FloatConvRecord>(CONV, |r| r.input2 = r.head.input);
    rule(19).op::<FloatConvRecord>(CONV, |r| r.input2 = r.head.scratch);
    rule(19).op::<FloatConvRecord>(CONV, |r| r.head.output = r.head.input);
    rule(19).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.residual = 1);
    rule(19).op::<FloatInvertedResidualRecord>(RESIDUAL, |r| r.head.output += 16);
    rule(19).op::<FloatInvertedResidualRecord>(RESIDUAL, |r| r.head.scratch = r.head.input);
    rule(19).op::<FloatEmbedRecord>(EMBED, |r| r.head.output = r.head.input);
    rule(19).op::<FloatAttentionRecord>(ATTENTION, |r| r.head.output += 16);
    rule(19).op::<FloatAttentionRecord>(ATTENTION, |r| r.head.scratch = r.head.input);
    rule(19).op::<FloatMlpRecord>(MLP, |r| r.head.output += 16);
    rule(19).op::<FloatMlpRecord>(MLP, |r| r.head.scratch = r.head.input);
    rule(19).op::<FloatSeqPoolRecord>(POOL, |r| r.head.scratch = r.head.output);
    rule(19).op::<FloatFoldRecord>(FOLD, |r| r.head.output = r.head.input);
    mixed_rule(19).op::<ConvertRecord>(MAP, |r| r.head.output = r.head.input);
}

#[test]
fn rules_of_the_chain_of_floats() {
    // The same shape of the other type.
    rule(25).op::<FloatConvRecord>(FIRST, |r| (r.scale, r.offset) = (0, 0));
    rule(25).op::<FloatInvertedResidualRecord>(INVERTED, |r| r.in_channels -= 1);
    rule(25).op::<FloatEmbedRecord>(EMBED, |r| r.tokens -= 1);
    rule(25).op::<FloatAttentionRecord>(ATTENTION, |r| r.tokens -= 1);
    rule(25).op::<FloatMlpRecord>(MLP, |r| r.width -= 1);
    rule(25).op::<FloatFoldRecord>(FOLD, |r| r.height *= 2);
    rule(25).op::<FloatSeqPoolRecord>(POOL, |r| r.tokens -= 1);
    rule(25).op::<FloatHeadRecord>(HEAD, |r| r.width -= 1);
    class_rule(25).op::<FloatClassPoolRecord>(POOL, |r| r.tokens -= 1);
    average_rule(25).op::<FloatAvgPoolRecord>(AVERAGE, |r| r.width -= 1);
    rule(26).op::<FloatHeadRecord>(HEAD, |r| r.classes -= 1);
    mixed_rule(25).op::<ConvertRecord>(MAP, |r| (r.height, r.columns) = (r.columns, r.height));
    mixed_rule(25).op::<ConvertRecord>(MAP, |r| r.conversion = 0);
    mixed_rule(25).op::<ConvertRecord>(TOKENS, |r| r.height -= 1);
    mixed_rule(25).op::<ConvertRecord>(POOLED, |r| r.width -= 1);

    // Whole operations at the wrong place.
    let original = converted();
    for remove in [MAP, MAP + 1, TOKENS, TOKENS + 1, POOLED, POOLED + 1] {
        let mut network = original.clone();
        network.ops.remove(remove);
        let bytes = Aligned::copy(&build(&network, Layout::Apart));
        let error = Model::parse(&bytes).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Chain { .. }), "without operation {remove}: {error:?}");
    }
}

/// Rule 25: a conversion of one row takes the pixels of any map.
#[test]
fn a_map_may_be_converted_as_one_row() {
    let mut network = converted();
    for op in &mut network.ops[MAP..MAP + 2] {
        let Op::Float(FloatOp::Convert(op)) = op else { panic!() };
        (op.height, op.columns) = (1, op.height * op.columns);
    }
    parse_and_run(&Aligned::copy(&build(&network, Layout::Apart))).unwrap();
}
