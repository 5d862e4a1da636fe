//! Whether the other core is alive, for the one that feeds the watchdog.

use core::sync::atomic::{AtomicU32, Ordering};

/// Counts what a core does, for another to see.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU32);

impl Pulse {
    /// No beat yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Something has been done. For one core only.
    pub fn beat(&self) {
        // Nobody else writes; not every chip has more than loads and stores.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Beats so far, modulo 2^32.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Judges a [`Pulse`].
///
/// ```
/// use picovit_app::{Pulse, Vigil};
///
/// let pulse = Pulse::new();
/// let mut vigil = Vigil::new(1000);
/// assert!(vigil.alive(&pulse, 0));
/// assert!(vigil.alive(&pulse, 1000));
/// assert!(!vigil.alive(&pulse, 1001));
/// pulse.beat();
/// assert!(vigil.alive(&pulse, 2000));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Vigil {
    limit_ms: u64,
    count: u32,
    since_ms: Option<u64>,
}

impl Vigil {
    /// A core that does nothing for longer than this is not alive.
    #[must_use]
    pub const fn new(limit_ms: u64) -> Self {
        Self { limit_ms, count: 0, since_ms: None }
    }

    /// Whether the core has done something within the limit; `now_ms` is any clock's.
    pub fn alive(&mut self, pulse: &Pulse, now_ms: u64) -> bool {
        let count = pulse.count();
        let since = match self.since_ms {
            Some(since) if count == self.count => since,
            _ => now_ms,
        };
        (self.count, self.since_ms) = (count, Some(since));
        now_ms.saturating_sub(since) <= self.limit_ms
    }
}
