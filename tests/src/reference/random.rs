/// A small seeded generator (SplitMix64), so that a seed means the same network everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `low..=high`.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        assert!(low <= high);
        let count = (i128::from(high) - i128::from(low) + 1) as u128;
        (i128::from(low) + (u128::from(self.bits()) % count) as i128) as i64
    }

    /// In `0..=high`, with a uniform number of bits: as often tiny as huge.
    pub fn any_size(&mut self, high: u64) -> u64 {
        let bits = self.within(0, 64 - i64::from(high.leading_zeros()));
        let value = if bits == 0 { 0 } else { self.bits() >> (64 - bits) };
        value.min(high)
    }

    /// One time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.bits().is_multiple_of(n)
    }

    /// Any `i8`.
    pub fn i8(&mut self) -> i8 {
        self.bits() as i8
    }
}
