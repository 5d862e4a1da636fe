//! How much faster than the portable kernels those of the processor's instruction sets are, on whole
//! inferences of the artifact that the environment variable `PICOVIT_ARTIFACT` names:
//!
//!     PICOVIT_ARTIFACT=model.pvit cargo bench -p picovit --features std,f16
//!
//! The kernels take turns, so that what else the machine does meets all of them; ratios are those of
//! the medians and of the least times, which another program that takes the processor does not touch. With
//! `PICOVIT_ISA=NAME` only one of them takes part, and with `PICOVIT_RUNS=N` as well it only runs so
//! often, for tools that count instructions.

use std::time::Instant;
use std::{env, fs};

use picovit::kernels::Isa;
use picovit::{Engine, Model};

/// Turns of every instruction set, and inferences of a turn.
const TURNS: usize = 61;
const RUNS: usize = 4;

fn main() {
    let Ok(path) = env::var("PICOVIT_ARTIFACT") else {
        println!("set PICOVIT_ARTIFACT to the path of an artifact (.pvit)");
        return;
    };
    let file = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut artifact = aligned(file.len());
    let artifact = &mut bytemuck::cast_slice_mut(&mut artifact)[..file.len()];
    artifact.copy_from_slice(&file);
    let model = Model::parse(artifact).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut arena = aligned(model.arena_bytes());
    let mut engine = Engine::new(&model, bytemuck::cast_slice_mut(&mut arena)).expect("an arena");

    if let (Ok(name), Ok(runs)) = (env::var("PICOVIT_ISA"), env::var("PICOVIT_RUNS")) {
        let isa = Isa::ALL.into_iter().find(|isa| isa.name() == name && isa.is_available());
        isa.unwrap_or_else(|| panic!("PICOVIT_ISA: `{name}` is not available here")).select();
        for _ in 0..runs.parse().expect("PICOVIT_RUNS is a number") {
            infer(&mut engine);
        }
        println!("{:?}", infer(&mut engine));
        return;
    }

    let only = env::var("PICOVIT_ISA").ok();
    let wanted = |isa: &Isa| only.as_ref().is_none_or(|only| isa.name() == only);
    let all: Vec<Isa> =
        Isa::ALL.into_iter().filter(|isa| isa.is_available() && wanted(isa)).collect();
    assert!(!all.is_empty(), "PICOVIT_ISA is not available here");
    let mut times = vec![Vec::new(); all.len()];
    let mut logits = None;
    for turn in 0..=TURNS {
        for (isa, times) in all.iter().zip(&mut times) {
            isa.select();
            let start = Instant::now();
            for _ in 0..RUNS {
                let these = infer(&mut engine);
                assert_eq!(*logits.get_or_insert_with(|| these.clone()), these, "{}", isa.name());
            }
            // The first turn warms up.
            if turn > 0 {
                times.push(start.elapsed().as_secs_f64() / RUNS as f64);
            }
        }
    }
    let found: Vec<[f64; 2]> = times.iter_mut().map(|times| summary(times)).collect();
    println!("{path} ({})", model.packing().name());
    for (isa, [median, least]) in all.iter().zip(&found) {
        let [whole, part] = [found[0][0] / median, found[0][1] / least];
        let (median, least) = (median * 1e6, least * 1e6);
        let name = isa.name();
        println!(
            "{name:13} median {median:9.1} us {whole:6.2} x, least {least:9.1} us {part:6.2} x"
        );
    }
}

/// One inference of an image with some contrast.
fn infer(engine: &mut Engine<'_, '_>) -> Vec<i16> {
    for (place, value) in engine.input().iter_mut().enumerate() {
        *value = (place * place / 7 % 256) as u8 as i8;
    }
    engine.run().to_vec()
}

/// Memory at an address that artifacts and arenas need.
fn aligned(length: usize) -> Vec<u128> {
    vec![0; length.div_ceil(16)]
}

/// Median and least.
fn summary(times: &mut [f64]) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[0]]
}
