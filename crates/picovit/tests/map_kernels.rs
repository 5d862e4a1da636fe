//! Kernels of maps and of what is added to them, on every instruction set that the processor has,
//! against their definition.

mod common;

use common::with_every_isa;
use picovit::kernels::{Depthwise, Shortcut, depthwise, mulhi_add, residual_add8};
use proptest::collection::vec;
use proptest::prelude::*;

/// Values, often the extremes.
fn extreme(low: i32, high: i32) -> impl Strategy<Value = i32> {
    prop_oneof![2 => low..=high, 1 => Just(low), 1 => Just(high)]
}

fn bytes(low: i8, count: usize) -> impl Strategy<Value = Vec<i8>> {
    vec(extreme(low.into(), 127).prop_map(|value| value as i8), count)
}

fn sat8(value: i32) -> i8 {
    value.clamp(-128, 127) as i8
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn depthwise_rows(
        (kernel, stride, channels, outputs, first, ring, weights, bias, mult) in
            (prop_oneof![3 => Just(3usize), 1 => 1..6usize], 1..3usize, 1..70usize, 1..9usize)
                .prop_flat_map(|(kernel, stride, channels, outputs)| {
                    // Some rows are longer than windows reach.
                    let columns = (outputs - 1) * stride + kernel;
                    (columns..columns + 2).prop_flat_map(move |columns| (
                        Just(kernel),
                        Just(stride),
                        Just(channels),
                        Just(outputs),
                        0..kernel,
                        bytes(-128, kernel * columns * channels),
                        bytes(-128, kernel * kernel * channels),
                        vec(extreme(-(1 << 24), 1 << 24), channels),
                        vec(extreme(0, 1 << 28), channels),
                    ))
                }),
        zero in -128..=127,
    ) {
        let layer =
            Depthwise { weights: &weights, bias: &bias, mult: &mult, zero, kernel, stride };
        let results = with_every_isa(|| {
            let mut ring = ring.clone();
            depthwise(layer, &mut ring, first, outputs);
            ring
        });
        let row = ring.len() / kernel;
        let mut expected = ring.clone();
        for (x, channel) in (0..outputs).flat_map(|x| (0..channels).map(move |c| (x, c))) {
            let taps = (0..kernel * kernel).map(|tap| {
                let line = (first + tap / kernel) % kernel * row;
                let value = ring[line + (x * stride + tap % kernel) * channels + channel];
                i32::from(weights[tap * channels + channel]) * i32::from(value)
            });
            let sum = taps.sum::<i32>() + bias[channel];
            expected[first * row + x * channels + channel] = sat8(mulhi_add(zero, sum, mult[channel]));
        }
        for (isa, result) in results {
            prop_assert!(result == expected, "{}", isa);
        }
    }

    #[test]
    fn shortcuts(
        (x, sums, bias, mult) in (1..70usize).prop_flat_map(|channels| (
            bytes(-128, channels),
            vec(extreme(-(1 << 24), 1 << 24), channels),
            vec(extreme(-(1 << 24), 1 << 24), channels),
            vec(extreme(0, 1 << 28), channels),
        )),
        (zero_in, zero_out, kept) in (-128..=127, -128..=127, extreme(0, 1 << 20)),
    ) {
        let shortcut = Shortcut { zero_in, mult: kept, zero_out };
        let results = with_every_isa(|| {
            let mut x = x.clone();
            residual_add8(&sums, [&bias, &mult], shortcut, &mut x);
            x
        });
        let expected = x.iter().enumerate().map(|(i, &x)| {
            let value = mulhi_add(zero_out, (i32::from(x) - zero_in) << 16, kept);
            sat8(mulhi_add(value, sums[i] + bias[i], mult[i]))
        });
        let expected: Vec<i8> = expected.collect();
        for (isa, result) in results {
            prop_assert_eq!(&result, &expected, "{}", isa);
        }
    }
}
