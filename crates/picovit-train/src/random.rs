//! Random numbers that depend on the seed, the epoch and their use, and on nothing else.

use rand::{RngCore, SeedableRng};
use rand_distr::{Beta, Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What numbers are drawn for; every use has a sequence of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Split of the data into training and validation.
    Split = 1,
    /// Order of the training images.
    Shuffle = 2,
    /// Variations of single images.
    Augment = 3,
    /// Dropout.
    Masks = 4,
    /// Calibration images.
    Calibration = 5,
    /// Mixing of images.
    Mix = 6,
}

/// A host generator.
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: u64, epoch: usize, stream: Stream) -> Self {
        let mut mixed = Xoshiro256PlusPlus::seed_from_u64(seed);
        let state = mixed.next_u64() ^ ((epoch as u64) << 8) ^ stream as u64;
        Self(Xoshiro256PlusPlus::seed_from_u64(state))
    }

    /// The generator of the `index`-th image of an epoch, independent of the others.
    pub(crate) fn nth(seed: u64, epoch: usize, stream: Stream, index: usize) -> Self {
        let mut epoch = Self::new(seed, epoch, stream);
        let state = epoch.0.next_u64() ^ index as u64;
        Self(Xoshiro256PlusPlus::seed_from_u64(state))
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Normal of mean 0 and deviation 1.
    pub(crate) fn normal(&mut self) -> f32 {
        StandardNormal.sample(&mut self.0)
    }

    /// Beta-distributed with both shapes `shape`, which is positive.
    pub(crate) fn beta(&mut self, shape: f64) -> f64 {
        Beta::new(shape, shape).expect("a positive shape").sample(&mut self.0)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        (self.0.next_u64() >> 56) as u8
    }

    /// Uniform in `0..bound`, for bounds that are small against 2^32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (((self.0.next_u64() >> 32) * bound as u64) >> 32) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.0.next_u64() >> 63 == 1
    }

    /// `len` factors: 0 with probability `rate` (to 1/65536), else what keeps the mean at 1.
    pub(crate) fn mask(&mut self, len: usize, rate: f32) -> Vec<f32> {
        let threshold = (rate * 65536.0).round() as u16;
        let kept = 1.0 / (1.0 - rate);
        let mut values = Vec::with_capacity(len + 3);
        while values.len() < len {
            let bits = self.0.next_u64();
            let lanes =
                [bits as u16, (bits >> 16) as u16, (bits >> 32) as u16, (bits >> 48) as u16];
            values.extend(lanes.map(|lane| if lane < threshold { 0.0 } else { kept }));
        }
        values.truncate(len);
        values
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_the_mean() {
        let mask = Random::new(1, 2, Stream::Masks).mask(100_001, 0.1);
        let mean = mask.iter().sum::<f32>() / mask.len() as f32;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let dropped = mask.iter().filter(|&&v| v == 0.0).count();
        assert!((9_000..11_000).contains(&dropped), "{dropped}");
    }

    #[test]
    fn images_have_sequences_of_their_own() {
        let first = |epoch, index| Random::nth(1, epoch, Stream::Augment, index).below(1 << 31);
        assert_eq!(first(1, 5), first(1, 5));
        assert_ne!(first(1, 5), first(1, 6));
        assert_ne!(first(1, 5), first(2, 5));
    }

    #[test]
    fn shares_are_symmetric_and_flat_for_shape_one() {
        let mut random = Random::new(1, 1, Stream::Mix);
        for shape in [0.2, 0.8, 1.0] {
            let shares: Vec<f64> = (0..20_000).map(|_| random.beta(shape)).collect();
            let mean = shares.iter().sum::<f64>() / 20_000.0;
            assert!((mean - 0.5).abs() < 0.02, "{mean}");
            let outer = shares.iter().filter(|share| !(0.25..0.75).contains(*share)).count();
            assert_eq!(outer > 10_500, shape < 1.0, "{shape}: {outer}");
        }
    }

    #[test]
    fn sequences_differ_by_seed_epoch_and_use() {
        let first = |seed, epoch, stream| Random::new(seed, epoch, stream).below(1 << 31);
        let base = first(1, 1, Stream::Shuffle);
        assert_eq!(base, first(1, 1, Stream::Shuffle));
        assert_ne!(base, first(2, 1, Stream::Shuffle));
        assert_ne!(base, first(1, 2, Stream::Shuffle));
        assert_ne!(base, first(1, 1, Stream::Augment));
    }
}
