//! Random numbers, the same everywhere.

/// Xorshift with 64 bits of state (Marsaglia, 2003).
pub struct Random(u64);

impl Random {
    /// A sequence of its own for every seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(count)) >> 32) as u32
    }

    /// A number of this range, both ends included; every fourth time one of the ends.
    pub fn extreme(&mut self, least: i32, most: i32) -> i32 {
        match self.below(8) {
            0 => least,
            1 => most,
            _ => least.wrapping_add(self.below(most.wrapping_sub(least) as u32) as i32),
        }
    }

    /// Fills a slice.
    pub fn fill<T>(&mut self, values: &mut [T], mut value: impl FnMut(&mut Self) -> T) {
        values.iter_mut().for_each(|place| *place = value(self));
    }
}
