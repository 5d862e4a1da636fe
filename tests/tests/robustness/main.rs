//! A damaged artifact is an error, never a panic; one that parses always runs to its end.

mod float_rules;
mod rules;

#[path = "../../../crates/picovit-compiler/tests/networks/mod.rs"]
mod networks;

use networks::FAMILIES;
use picovit::{Engine, Error, Model};
use picovit_compiler::{Calibration, compile};
use picovit_tests::reference::{
    Aligned, BlockPlan, ConvPlan, InvertedResidualPlan, Layout, Network, Numbers, Plan, PoolPlan,
    Pooling, Random, Stage, StreamPlan, Style, build, seal,
};

type MakePooling = fn(StreamPlan) -> Pooling;

const POOLINGS: [MakePooling; 3] = [Pooling::Sequence, Pooling::ClassToken, |_| Pooling::Average];

/// Small artifacts: between them every kind of operation on integers, most of those on floats, and
/// every optional constant.
fn artifacts() -> [Vec<u8>; 5] {
    let tight = |network: &Network| build(network, Layout::Tight);
    let [sequence, class, average] = POOLINGS.map(|pooling| tight(&network(pooling)));
    let floats = tight(&network_of(Numbers::F16, Pooling::Sequence));
    let mixed = tight(&network_of(Numbers::Mixed, Pooling::ClassToken));
    [sequence, class, average, floats, mixed]
}

fn artifact() -> Vec<u8> {
    build(&network(Pooling::Sequence), Layout::Tight)
}

/// An artifact of every family, as compiled.
fn compiled() -> Vec<Vec<u8>> {
    let images = [[90; networks::PIXELS], [160; networks::PIXELS]];
    let images = images.each_ref().map(|image| &image[..]);
    let compiled = FAMILIES.map(|family| {
        let graph = networks::network(family, 5);
        compile(&graph, &Calibration::run(&graph, &images), None).unwrap().packed.bytes
    });
    compiled.to_vec()
}

fn network(pooling: MakePooling) -> Network {
    network_of(Numbers::Int8, pooling)
}

fn network_of(numbers: Numbers, pooling: MakePooling) -> Network {
    let conv = ConvPlan {
        channels: 4,
        kernel: 3,
        stride: 1,
        padding: 1,
        table: false,
        second: None,
        pool: None,
    };
    let inverted = |residual| {
        Stage::InvertedResidual(InvertedResidualPlan {
            channels: 4,
            hidden: 5,
            kernel: 3,
            stride: 1,
            padding: 1,
            residual,
        })
    };
    let folded = StreamPlan {
        linear: Some(6),
        patch: 2,
        blocks: vec![BlockPlan::Attention { heads: 1, head_dim: 2, groups: 4 }],
        ..StreamPlan::default()
    };
    let stream = StreamPlan {
        class_token: true,
        positions: true,
        blocks: vec![
            BlockPlan::Attention { heads: 2, head_dim: 3, groups: 1 },
            BlockPlan::Mlp { hidden: 5, gain16: true, twice: true },
        ],
        ..StreamPlan::default()
    };
    let plan = Plan {
        height: 4,
        width: 6,
        channels: 1,
        stages: vec![
            Stage::Conv(conv.clone()),
            inverted(false),
            inverted(true),
            Stage::Stream(folded),
            Stage::Conv(ConvPlan {
                table: true,
                second: Some(1),
                pool: Some(PoolPlan { kernel: 2, stride: 2, padding: 1, padding_after: 0 }),
                ..conv
            }),
        ],
        pooling: pooling(stream),
        classes: 3,
    };
    plan.network_of(numbers, 11, Style::Typical)
}

/// Where the records end: most rules are about what stands before.
fn records_end(artifact: &[u8]) -> usize {
    112 * (1 + usize::from(u16::from_le_bytes([artifact[24], artifact[25]])))
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
fn the_undamaged_artifacts_run() {
    for bytes in artifacts().into_iter().chain(compiled()) {
        parse_and_run(&Aligned::copy(&bytes)).unwrap();
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    // The compiled ones are larger: one flip a byte, another at every byte.
    let all = artifacts().map(|bytes| (bytes, 3)).into_iter();
    for (bytes, count) in all.chain(compiled().into_iter().map(|bytes| (bytes, 1))) {
        let mut bytes = Aligned::copy(&bytes);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff].into_iter().cycle().skip(at % 3).take(count) {
                bytes[at] ^= flip;
                assert!(Model::parse(&bytes).is_err(), "byte {at} ^ {flip:#x}");
                bytes[at] ^= flip;
            }
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let all = artifacts().map(|bytes| (bytes, 1)).into_iter();
    for (bytes, step) in all.chain(compiled().into_iter().map(|bytes| (bytes, 13))) {
        let whole = Aligned::copy(&bytes);
        for len in 0..whole.len() {
            assert!(Model::parse(&whole[..len]).is_err(), "{len} bytes");
            // Even where the header says so and the checksum is right.
            if len >= 16 && len % step == 0 {
                let mut short = Aligned::copy(&whole[..len]);
                short[8..12].copy_from_slice(&(len as u32).to_le_bytes());
                seal(&mut short);
                let parsed = parse_and_run(&short);
                // All that follows the description is padding.
                assert!(parsed.is_err() || len + 16 > whole.len(), "{len} bytes");
            }
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
    for original in artifacts() {
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
}

/// Whole words at their ends: offsets, multipliers, biases, shapes.
#[test]
fn any_sealed_word_fails_or_runs() {
    let words = [0, 1, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];
    for original in artifacts() {
        for at in (0..original.len() - 3).step_by(2) {
            for word in words {
                let mut bytes = Aligned::copy(&original);
                bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
                seal(&mut bytes);
                let _ = parse_and_run(&bytes);
            }
        }
    }
}

/// Several damages at once, most of them in the header and the records.
#[test]
fn any_sealed_damage_fails_or_runs() {
    let mut random = Random::new(5);
    for original in artifacts().into_iter().chain(compiled()) {
        let records = records_end(&original);
        let mut ran = 0;
        for _ in 0..6000 {
            let mut bytes = Aligned::copy(&original);
            for _ in 0..random.within(1, 6) {
                let end = if random.one_in(3) { bytes.len() } else { records };
                let at = random.within(0, end as i64 - 1) as usize;
                bytes[at] = if random.one_in(2) { random.bits() as u8 } else { bytes[at] ^ 1 };
            }
            seal(&mut bytes);
            ran += usize::from(parse_and_run(&bytes).is_ok());
        }
        assert!(ran > 300, "{ran} of 6000 ran");
    }
}

/// Constants that no compiler writes: all of them random.
#[test]
fn random_constants_run() {
    let mut random = Random::new(6);
    for original in artifacts() {
        let mut parsed = 0;
        for round in 0..700 {
            let mut bytes = Aligned::copy(&original);
            for byte in &mut bytes[records_end(&original)..] {
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
        assert_eq!(parsed, 700);
    }
}
