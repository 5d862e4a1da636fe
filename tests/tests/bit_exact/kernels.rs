//! Kernels, beyond what a network reaches.

use picovit::kernels;
use picovit_tests::reference::{Matrix, Norm, Random, exp_table, primitives, softmax_weights};
use proptest::prelude::*;

use crate::cases;

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn kernel_mulhi(a: i32, m: i32, shift in 0..31u32) {
        prop_assert_eq!(kernels::mulhi(a, m), primitives::mulhi(a, m));
        prop_assert_eq!(kernels::mulhi(a >> shift, m), primitives::mulhi(a >> shift, m));
    }

    #[test]
    fn kernel_requant8(acc: i32, m: i32, shift in 0..31u32, zero: i8) {
        let m = m >> shift;
        prop_assert_eq!(
            kernels::requant8(acc, m, zero.into()),
            primitives::requant8(acc, m, zero.into())
        );
    }

    #[test]
    fn kernel_row_mult(c in 0..1u64 << 62, shift in 0..62u32, d in 255..=u32::MAX) {
        prop_assert_eq!(kernels::row_mult(c >> shift, d), primitives::row_mult(c >> shift, d));
    }

    #[test]
    fn kernel_dot(bias in -1000..1000i32, pairs in prop::collection::vec(any::<(i8, i8)>(), 0..300)) {
        let (w, x): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
        prop_assert_eq!(kernels::dot(bias, &w, &x), primitives::affine(bias, &w, &x));
    }

    #[test]
    fn kernel_dot_i16(
        bias in -1000..1000i32,
        pairs in prop::collection::vec(any::<(i8, i16)>(), 0..300),
    ) {
        let (w, x): (Vec<i8>, Vec<i16>) = pairs.into_iter().unzip();
        prop_assert_eq!(kernels::dot_i16(bias, &w, &x), primitives::affine(bias, &w, &x));
    }

    #[test]
    fn kernel_softmax(
        scores in prop::collection::vec(-(1i32 << 22)..1 << 22, 1..200),
        shift in 0..8u32,
        mult in 0..=i32::MAX,
        small in 0..31u32,
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let mut table = exp_table();
        table[1..].fill_with(|| random.bits() as u8);
        let expected = softmax_weights(&scores, mult >> small, shift, &table);
        let mut weights = vec![0; scores.len()];
        let sum = kernels::softmax_weights(
            &scores, shift, mult >> small, table[..].try_into().unwrap(), &mut weights,
        );
        prop_assert_eq!(sum, expected.iter().map(|&e| u32::from(e)).sum::<u32>());
        prop_assert_eq!(weights, expected);
    }

    #[test]
    fn kernel_norm(
        channels in prop::collection::vec((any::<i16>(), any::<i32>(), -(1i32 << 30)..1 << 30), 1..600),
        small in 0..16u32,
        epsilon in 1..1u64 << 60,
        epsilon_shift in 0..60u32,
    ) {
        let x: Vec<i16> = channels.iter().map(|c| c.0 >> small).collect();
        let gain: Vec<i32> = channels.iter().map(|c| c.1).collect();
        let offset: Vec<i32> = channels.iter().map(|c| c.2 >> small).collect();
        let norm = Norm {
            epsilon: (epsilon >> epsilon_shift).max(1),
            gain8: gain.clone(),
            offset8: offset.clone(),
        };
        let row = kernels::normalize(&x, norm.epsilon);
        let mut out8 = vec![0; x.len()];
        row.write8(&x, &gain, &offset, &mut out8);
        prop_assert_eq!(out8, norm.norm8(&x));
        let mut out16 = x.clone();
        row.write16(&gain, &offset, &mut out16);
        prop_assert_eq!(out16, norm.norm16(&x, &gain, &offset));
    }

    /// A patch of two maps is a patch of the one map that has the channels of both.
    #[test]
    fn kernel_copy_patch_pair(
        (height, width) in (1..7usize, 1..7usize),
        channels in [1..5usize, 1..5usize],
        (kernel, padding) in (1..6usize).prop_flat_map(|kernel| (Just(kernel), 0..kernel)),
        (y, x) in (0..12usize, 0..12usize),
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let mut map = |channels| Matrix::from_fn(height * width, channels, |_, _| random.i8());
        let [first, second] = channels.map(&mut map);
        let zero = map(channels[0] + channels[1]).row(0).to_vec();
        let mut expected = Vec::new();
        for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
            let row = (y + ky) as i64 - padding as i64;
            let column = (x + kx) as i64 - padding as i64;
            if (0..height as i64).contains(&row) && (0..width as i64).contains(&column) {
                let pixel = row as usize * width + column as usize;
                expected.extend(first.row(pixel));
                expected.extend(second.row(pixel));
            } else {
                expected.extend(&zero);
            }
        }
        let mut patch = vec![77; expected.len()];
        kernels::copy_patch_pair(
            [first.data(), second.data()],
            (height, width, channels),
            kernels::Window { kernel, stride: 1, padding },
            (y, x),
            &zero,
            &mut patch,
        );
        prop_assert_eq!(patch, expected);
    }

    #[test]
    fn kernel_depthwise(
        outputs in 1..9usize,
        channels in 1..40usize,
        (kernel, first) in (1..6usize).prop_flat_map(|kernel| (Just(kernel), 0..kernel)),
        stride in 1..4usize,
        spare in 0..3usize,
        zero: i8,
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let weights = Matrix::from_fn(channels, kernel * kernel, |_, _| random.i8());
        let packed = Matrix::from_fn(kernel * kernel, channels, |tap, j| weights[(j, tap)]);
        let bias: Vec<i32> = (0..channels).map(|_| random.within(-9000, 9000) as i32).collect();
        let mult: Vec<i32> = (0..channels).map(|_| random.within(0, 1 << 25) as i32).collect();
        let columns = (outputs - 1) * stride + kernel + spare;
        let mut ring = Matrix::from_fn(kernel, columns * channels, |_, _| random.i8());
        let mut expected = ring.clone();
        for (x, j) in (0..outputs).flat_map(|x| (0..channels).map(move |j| (x, j))) {
            let taps: Vec<i8> = (0..kernel * kernel)
                .map(|tap| {
                    let row = (first + tap / kernel) % kernel;
                    ring[(row, (x * stride + tap % kernel) * channels + j)]
                })
                .collect();
            let acc = primitives::affine(bias[j], weights.row(j), &taps);
            expected[(first, x * channels + j)] = primitives::requant8(acc, mult[j], zero.into());
        }
        let layer = kernels::Depthwise {
            weights: packed.data(),
            bias: &bias,
            mult: &mult,
            zero: zero.into(),
            kernel,
            stride,
        };
        kernels::depthwise(layer, ring.data_mut(), first, outputs);
        prop_assert_eq!(ring, expected);
    }
}
