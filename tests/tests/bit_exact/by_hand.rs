//! Known answers, worked out by hand.

use picovit::kernels;
use picovit_tests::reference::{Norm, exp_table, primitives, softmax_weights};

/// Ties round towards plus infinity, and the shift is arithmetic.
#[test]
fn mulhi_by_hand() {
    let half = 1 << 30;
    for (a, m, expected) in [
        (2, half, 1),                         // 0.5 -> 1
        (-2, half, 0),                        // -0.5 -> 0
        (6, half, 2),                         // 1.5 -> 2
        (-6, half, -1),                       // -1.5 -> -1
        (1, half, 0),                         // 0.25 -> 0
        (3, half, 1),                         // 0.75 -> 1
        (-3, half, -1),                       // -0.75 -> -1
        (-1, half, 0),                        // -0.25 -> 0
        (0, i32::MIN, 0),                     // nothing
        (i32::MAX, i32::MAX, 1_073_741_823),  // (2^31 - 1)^2 / 2^32 = 2^30 - 1 + 2^-32
        (i32::MIN, i32::MAX, -1_073_741_823), // -2^30 + 0.5 -> up
        (i32::MIN, i32::MIN, 1 << 30),        // 2^30
    ] {
        assert_eq!(primitives::mulhi(a, m), expected, "reference, {a} * {m}");
        assert_eq!(kernels::mulhi(a, m), expected, "engine, {a} * {m}");
    }
}

#[test]
fn requantization_by_hand() {
    // A multiplier of 2^24 divides by 256.
    let m = 1 << 24;
    assert_eq!(primitives::requant8(128, m, 3), 4); // 3 + 0.5 -> 4
    assert_eq!(primitives::requant8(-128, m, 3), 3); // 3 - 0.5 -> 3
    assert_eq!(primitives::requant8(-129, m, 3), 2);
    assert_eq!(primitives::requant8(256 * 124, m, 3), 127);
    assert_eq!(primitives::requant8(256 * 125, m, 3), 127);
    assert_eq!(primitives::requant8(-256 * 131, m, 3), -128);
    assert_eq!(primitives::requant8(-256 * 132, m, 3), -128);
    // Shifted by 8 it multiplies by 1.
    assert_eq!(primitives::requant16(32_767, m, 8), 32_767);
    assert_eq!(primitives::requant16(32_768, m, 8), 32_767);
    assert_eq!(primitives::requant16(-32_769, m, 8), -32_768);
}

#[test]
fn isqrt_by_hand() {
    for (v, root) in [(0, 0), (1, 1), (3, 1), (4, 2), (99, 9), (100, 10), (1 << 60, 1 << 30)] {
        assert_eq!(primitives::isqrt(v), root);
    }
    // 2^62 - 1 is one short of a square; u64::MAX is (2^32 - 1)^2 + 2 * (2^32 - 1).
    assert_eq!(primitives::isqrt((1 << 62) - 1), (1 << 31) - 1);
    assert_eq!(primitives::isqrt(u64::MAX), u64::from(u32::MAX));
}

#[test]
fn row_multipliers_by_hand() {
    for (c, d, expected) in [
        (1000, 255, 4),                     // 3.92
        (1020, 255, 4),                     // exactly
        (1147, 255, 4),                     // 4.498
        (1148, 255, 5),                     // 4.502
        (1 << 32, 256, 1 << 24),            // exactly
        (255 << 31, 255, i32::MAX),         // 2^31 clamps
        ((255 << 31) - 255, 255, i32::MAX), // 2^31 - 1 just fits
        ((255 << 31) - 510, 255, i32::MAX - 1),
        (1 << 62, 255, i32::MAX), // far beyond
        (0, 255, 0),
    ] {
        assert_eq!(primitives::row_mult(c, d), expected, "reference, {c} / {d}");
        assert_eq!(kernels::row_mult(c, d), expected, "engine, {c} / {d}");
    }
}

/// Tokens whose mean and deviation are plain numbers.
#[test]
fn norm_by_hand() {
    // Mean 0, deviation 300: normalised values are -1 and 1, give or take epsilon. With
    // gain = 2^20 * 40 and offset = 128, int8 outputs are -40 and 40; int16 ones, with
    // gain = 2^12 * 5000 and offset 7, are -4993 and 5007.
    let x = [-300, 300, 300, -300];
    let (gain8, offset8) = ([40 << 20; 4], [128; 4]);
    let norm = Norm { epsilon: 1, gain8: gain8.to_vec(), offset8: offset8.to_vec() };
    assert_eq!(norm.norm8(&x), [-40, 40, 40, -40]);
    let (gain16, offset16) = ([5000 << 12; 4], [7; 4]);
    assert_eq!(norm.norm16(&x, &gain16, &offset16), [-4993, 5007, 5007, -4993]);

    // Mean 200, variance (300^2 + 0 + 0 + 300^2) / 4 = 45000: normalised +-300 / 212.13 =
    // +-sqrt(2), times 40 is 56.57. An epsilon of 4^2 * 5000 makes the variance 50000:
    // 300 / 223.6 * 40 = 53.67.
    let x = [-100, 200, 200, 500];
    assert_eq!(norm.norm8(&x), [-57, 0, 0, 57]);
    let softer = Norm { epsilon: 80_000, ..norm.clone() };
    assert_eq!(softer.norm8(&x), [-54, 0, 0, 54]);

    // A constant token: nothing but the offset.
    assert_eq!(norm.norm16(&[-32_768; 4], &gain16, &offset16), [7; 4]);

    // The engine's own.
    for (x, epsilon) in [([-300, 300, 300, -300], 1), ([-100, 200, 200, 500], 80_000), ([9; 4], 1)]
    {
        let mut out = [0; 4];
        kernels::normalize(&x, epsilon).write8(&x, &gain8, &offset8, &mut out);
        assert_eq!(out[..], Norm { epsilon, ..norm.clone() }.norm8(&x));
    }
}

#[test]
fn softmax_by_hand() {
    let table = exp_table();
    // Equal scores are equally likely, whatever they are.
    assert_eq!(softmax_weights(&[-77; 5], i32::MAX, 0, &table), [255; 5]);
    // With shift 8 and multiplier 2^24 the index is the difference itself. exp(-1) * 255 = 93.8,
    // exp(-0.5) * 255 = 154.7, and beyond 1023 everything is the last entry.
    let scores = [100, 100 - 128, 100 - 64, 100 - 1023, 100 - 5000, 100];
    assert_eq!(softmax_weights(&scores, 1 << 24, 8, &table), [255, 94, 155, 0, 0, 255]);
    // A multiplier of 0 makes the row uniform.
    assert_eq!(softmax_weights(&scores, 0, 8, &table), [255; 6]);
}
