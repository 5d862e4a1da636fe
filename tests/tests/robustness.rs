//! A damaged artifact is an error, never a panic; one that parses always runs to its end.

use bytemuck::Pod;
use picovit::format::{
    AttentionRecord, ConvRecord, EmbedRecord, HeadRecord, Header, MlpRecord, SeqPoolRecord,
};
use picovit::{Engine, Error, Model};
use picovit_tests::reference::{
    Aligned, BlockPlan, ConvPlan, Layout, Network, Plan, PoolPlan, Random, Style, build, seal,
};

/// A small artifact with every kind of operation and every optional constant.
fn artifact() -> Vec<u8> {
    build(&network(), Layout::Tight)
}

fn network() -> Network {
    let plan = Plan {
        height: 5,
        width: 4,
        channels: 1,
        convs: vec![ConvPlan {
            channels: 4,
            kernel: 3,
            stride: 1,
            padding: 1,
            pool: Some(PoolPlan { kernel: 2, stride: 2, padding: 1 }),
        }],
        positions: true,
        blocks: vec![
            BlockPlan::Attention { heads: 2, head_dim: 3 },
            BlockPlan::Mlp { hidden: 5, gain16: true },
        ],
        classes: 3,
    };
    plan.network(11, Style::Typical)
}

/// Runs an artifact if it parses. Arenas beyond 16 MiB are left alone.
fn parse_and_run(bytes: &Aligned) -> Result<(), Error> {
    let model = Model::parse(bytes)?;
    if model.arena_bytes() > 1 << 24 {
        return Ok(());
    }
    let mut arena = Aligned::filled(model.arena_bytes(), 0x5a);
    let mut engine = Engine::new(&model, &mut arena)?;
    for (i, pixel) in engine.input().iter_mut().enumerate() {
        *pixel = (i * 89) as u8 as i8;
    }
    let logits = engine.run().to_vec();
    assert_eq!(logits.len(), model.classes());
    let mut probabilities = vec![0; logits.len()];
    picovit::postprocess::probabilities(&model, &logits, &mut probabilities);
    assert!(model.labels().count() <= bytes.len());
    Ok(())
}

#[test]
fn the_undamaged_artifact_runs() {
    parse_and_run(&Aligned::copy(&artifact())).unwrap();
}

#[test]
fn every_flipped_byte_is_noticed() {
    let mut bytes = Aligned::copy(&artifact());
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            bytes[at] ^= flip;
            assert!(Model::parse(&bytes).is_err(), "byte {at} ^ {flip:#x}");
            bytes[at] ^= flip;
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let whole = Aligned::copy(&artifact());
    for len in 0..whole.len() {
        assert!(Model::parse(&whole[..len]).is_err(), "{len} bytes");
        // Even where the header says so and the checksum is right.
        if len >= 16 {
            let mut short = Aligned::copy(&whole[..len]);
            short[8..12].copy_from_slice(&(len as u32).to_le_bytes());
            seal(&mut short);
            let parsed = parse_and_run(&short);
            // All that follows the description is padding.
            assert!(parsed.is_err() || len + 16 > whole.len(), "{len} bytes");
        }
    }
}

#[test]
fn more_bytes_than_the_header_says_are_noticed() {
    let mut longer = artifact();
    longer.extend([0; 16]);
    assert!(matches!(Model::parse(&Aligned::copy(&longer)), Err(Error::Length { .. })));
}

#[test]
fn an_unaligned_artifact_is_noticed() {
    let bytes = artifact();
    for shift in 1..16 {
        let mut moved = Aligned::filled(bytes.len() + shift, 0);
        moved[shift..].copy_from_slice(&bytes);
        assert!(matches!(Model::parse(&moved[shift..]), Err(Error::Alignment)), "by {shift}");
    }
}

#[test]
fn a_short_or_unaligned_arena_is_noticed() {
    let bytes = Aligned::copy(&artifact());
    let model = Model::parse(&bytes).unwrap();
    let mut arena = Aligned::filled(model.arena_bytes() + 16, 0);
    let end = model.arena_bytes();
    assert!(matches!(
        Engine::new(&model, &mut arena[..end - 1]).map(|_| ()),
        Err(Error::ArenaTooSmall { needed, given }) if needed == end && given == end - 1
    ));
    assert!(matches!(
        Engine::new(&model, &mut arena[1..=end]).map(|_| ()),
        Err(Error::ArenaAlignment)
    ));
    assert!(Engine::new(&model, &mut arena).is_ok());
}

/// With the checksum made right again, it is the validation behind it that must hold.
#[test]
fn any_sealed_byte_fails_or_runs() {
    let original = artifact();
    let mut ran = 0;
    for at in 0..original.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = Aligned::copy(&original);
            bytes[at] ^= flip;
            seal(&mut bytes);
            ran += usize::from(parse_and_run(&bytes).is_ok());
        }
    }
    assert!(ran > original.len(), "most constants may hold anything");
}

/// Whole words at their ends: offsets, multipliers, biases, shapes.
#[test]
fn any_sealed_word_fails_or_runs() {
    let original = artifact();
    let words = [0, 1, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];
    for at in (0..original.len() - 3).step_by(2) {
        for word in words {
            let mut bytes = Aligned::copy(&original);
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
            seal(&mut bytes);
            let _ = parse_and_run(&bytes);
        }
    }
}

/// Several damages at once, most of them in the header and the records.
#[test]
fn any_sealed_damage_fails_or_runs() {
    let original = artifact();
    let records = 7 * 112;
    let mut random = Random::new(5);
    let mut ran = 0;
    for _ in 0..20_000 {
        let mut bytes = Aligned::copy(&original);
        for _ in 0..random.within(1, 6) {
            let end = if random.one_in(3) { bytes.len() } else { records };
            let at = random.within(0, end as i64 - 1) as usize;
            bytes[at] = if random.one_in(2) { random.bits() as u8 } else { bytes[at] ^ 1 };
        }
        seal(&mut bytes);
        ran += usize::from(parse_and_run(&bytes).is_ok());
    }
    assert!(ran > 1000, "{ran} of 20000 ran");
}

/// Constants that no compiler writes: all of them random.
#[test]
fn random_constants_run() {
    let original = artifact();
    let mut random = Random::new(6);
    let mut parsed = 0;
    for round in 0..2000 {
        let mut bytes = Aligned::copy(&original);
        for byte in &mut bytes[7 * 112..] {
            *byte = match round % 4 {
                0 => random.bits() as u8,
                1 => 0xff,
                2 => 0x80,
                _ => {
                    if random.one_in(2) {
                        0x7f
                    } else {
                        0x80
                    }
                }
            };
        }
        // Class names and description stay text.
        let text = bytes.len() - 64;
        bytes[text..].fill(b'a');
        seal(&mut bytes);
        parsed += usize::from(parse_and_run(&bytes).is_ok());
    }
    assert_eq!(parsed, 2000);
}

// ---------------------------------------------------------------------------------------------
// The rules of `docs/format.md`, section 6, one at a time

/// An artifact to break.
struct Breaker {
    bytes: Vec<u8>,
    rule: u32,
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
        assert!(parsed.is_err(), "rule {}", self.rule);
    }

    fn header(&self, change: impl FnOnce(&mut Header)) {
        self.record(0, change);
    }

    fn op<R: Pod>(&self, index: usize, change: impl FnOnce(&mut R)) {
        self.record(112 * (index + 1), change);
    }
}

/// An artifact whose buffers all lie apart, to be broken by a rule.
fn rule(rule: u32) -> Breaker {
    Breaker { bytes: build(&network(), Layout::Apart), rule }
}

const CONV: usize = 0;
const EMBED: usize = 1;
const ATTENTION: usize = 2;
const MLP: usize = 3;
const SEQ_POOL: usize = 4;
const HEAD: usize = 5;

#[test]
fn rules_of_the_header() {
    rule(2).header(|h| h.magic[3] = b'U');
    rule(2).header(|h| h.version = 2);
    rule(2).header(|h| h.format = 1);
    rule(2).header(|h| h.packing = 1);
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
fn rules_of_the_operations() {
    rule(10).op::<ConvRecord>(CONV, |r| r.head.kind = 0);
    rule(10).op::<ConvRecord>(CONV, |r| r.head.kind = 7);
    rule(10).op::<ConvRecord>(CONV, |r| r.head.reserved = 1);
    rule(10).op::<ConvRecord>(CONV, |r| r.padding_bytes[15] = 1);
    rule(10).op::<EmbedRecord>(EMBED, |r| r.padding_bytes[0] = 1);
    rule(10).op::<AttentionRecord>(ATTENTION, |r| r.reserved[1] = 1);
    rule(10).op::<AttentionRecord>(ATTENTION, |r| r.padding_bytes[8] = 1);
    rule(10).op::<MlpRecord>(MLP, |r| r.padding_bytes[7] = 1);
    rule(10).op::<SeqPoolRecord>(SEQ_POOL, |r| r.reserved[0] = 1);
    rule(10).op::<SeqPoolRecord>(SEQ_POOL, |r| r.padding_bytes[12] = 1);
    rule(10).op::<HeadRecord>(HEAD, |r| r.padding_bytes[18] = 1);

    rule(11).op::<ConvRecord>(CONV, |r| r.out_channels = 0);
    rule(11).op::<ConvRecord>(CONV, |r| r.kernel = 0);
    rule(11).op::<ConvRecord>(CONV, |r| r.stride = 0);
    rule(11).op::<EmbedRecord>(EMBED, |r| r.tokens = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.width = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.heads = 0);
    rule(11).op::<AttentionRecord>(ATTENTION, |r| r.head_dim = 0);
    rule(11).op::<MlpRecord>(MLP, |r| r.hidden = 0);
    rule(11).op::<SeqPoolRecord>(SEQ_POOL, |r| r.tokens = 0);
    rule(11).op::<HeadRecord>(HEAD, |r| r.classes = 0);

    rule(13).op::<ConvRecord>(CONV, |r| r.padding = r.kernel);
    rule(13).op::<ConvRecord>(CONV, |r| r.kernel = 200);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_stride = 0);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_padding = r.pool_kernel);
    rule(13).op::<ConvRecord>(CONV, |r| r.pool_kernel = 200);
    rule(13).op::<ConvRecord>(CONV, |r| (r.pool_kernel, r.pool_padding) = (0, 0));

    for zero in [-129, 128] {
        rule(14).op::<EmbedRecord>(EMBED, |r| r.zero_in = zero);
        rule(14).op::<MlpRecord>(MLP, |r| r.zero1 = zero);
        rule(14).op::<SeqPoolRecord>(SEQ_POOL, |r| r.zero = zero);
    }
    for (low, high) in [(0, 0), (0, 1 << 28)] {
        let epsilon = |norm: &mut picovit::format::NormRecord| {
            (norm.epsilon_low, norm.epsilon_high) = (low, high);
        };
        rule(15).op::<AttentionRecord>(ATTENTION, |r| epsilon(&mut r.norm));
        rule(15).op::<MlpRecord>(MLP, |r| epsilon(&mut r.norm));
        rule(15).op::<SeqPoolRecord>(SEQ_POOL, |r| epsilon(&mut r.norm));
    }
    rule(16).op::<AttentionRecord>(ATTENTION, |r| r.score_shift = 32);
    rule(16).op::<AttentionRecord>(ATTENTION, |r| r.proj_shift = 32);
    rule(16).op::<MlpRecord>(MLP, |r| r.shift = 32);
    rule(16).op::<SeqPoolRecord>(SEQ_POOL, |r| r.score_shift = 32);
    rule(16).op::<SeqPoolRecord>(SEQ_POOL, |r| r.out_shift = 32);
    rule(16).op::<HeadRecord>(HEAD, |r| r.shift = 32);
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
        &[|r| &mut r.zero_in, |r| &mut r.weights, |r| &mut r.bias, |r| &mut r.mult],
    );
    constants::<EmbedRecord>(EMBED, &[|r| &mut r.positions]);
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
        ],
    );
    constants::<SeqPoolRecord>(
        SEQ_POOL,
        &[|r| &mut r.norm.gain8, |r| &mut r.norm.offset8, |r| &mut r.weights],
    );
    constants::<HeadRecord>(HEAD, &[|r| &mut r.weights, |r| &mut r.bias, |r| &mut r.mult]);
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
    rule(19).op::<SeqPoolRecord>(SEQ_POOL, |r| r.head.output = r.head.input);
    rule(19).op::<SeqPoolRecord>(SEQ_POOL, |r| r.head.scratch = r.head.output);
    rule(19).op::<HeadRecord>(HEAD, |r| r.head.output = r.head.input);
}

#[test]
fn rules_of_the_chain() {
    rule(20).header(|h| h.height += 1);
    rule(20).header(|h| h.input += 16);
    rule(20).header(|h| h.channels = 3);
    rule(21).op::<EmbedRecord>(EMBED, |r| (r.tokens, r.width) = (r.width, r.tokens));
    rule(21).op::<EmbedRecord>(EMBED, |r| r.head.input += 16);
    rule(21).op::<AttentionRecord>(ATTENTION, |r| r.tokens -= 1);
    rule(21).op::<MlpRecord>(MLP, |r| r.width -= 1);
    rule(21).op::<SeqPoolRecord>(SEQ_POOL, |r| r.tokens -= 1);
    rule(21).op::<HeadRecord>(HEAD, |r| r.width -= 1);
    rule(22).header(|h| h.classes -= 1);
    rule(22).header(|h| h.logits += 16);
    rule(22).header(|h| h.op_count -= 1);
    rule(22).op::<HeadRecord>(HEAD, |r| r.classes -= 1);

    // Whole operations at the wrong place.
    let original = network();
    for remove in [EMBED, SEQ_POOL, HEAD] {
        let mut network = original.clone();
        network.ops.remove(remove);
        let bytes = Aligned::copy(&build(&network, Layout::Apart));
        assert!(Model::parse(&bytes).is_err(), "without operation {remove}");
    }
    for repeat in [CONV, EMBED, SEQ_POOL, HEAD] {
        let mut network = original.clone();
        network.ops.insert(repeat, original.ops[repeat].clone());
        let bytes = Aligned::copy(&build(&network, Layout::Apart));
        assert!(Model::parse(&bytes).is_err(), "twice operation {repeat}");
    }
}

/// Rule 12, and nothing narrower.
#[test]
fn rule_of_the_width() {
    let wide = |channels| {
        let plan = Plan {
            height: 1,
            width: 1,
            channels: 1,
            convs: vec![ConvPlan { channels, kernel: 1, stride: 1, padding: 0, pool: None }],
            positions: false,
            blocks: vec![],
            classes: 1,
        };
        let bytes = Aligned::copy(&build(&plan.network(0, Style::Typical), Layout::Tight));
        Model::parse(&bytes).map(|_| ())
    };
    assert_eq!(wide(4096), Ok(()));
    assert!(wide(4097).is_err());
}
