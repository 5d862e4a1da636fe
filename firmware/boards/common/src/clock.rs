//! Time.

use embassy_time::Instant;
use picovit_app::{Clock, Cost};

/// A clock of microseconds.
#[derive(Debug)]
pub struct Micros {
    started: Option<Instant>,
    period: Option<u64>,
}

impl Micros {
    /// Not started.
    #[must_use]
    pub const fn new() -> Self {
        Self { started: None, period: None }
    }
}

impl Default for Micros {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Micros {
    fn start(&mut self) {
        let now = Instant::now();
        self.period = self.started.map(|before| micros(before, now));
        self.started = Some(now);
    }

    fn stop(&mut self) -> Cost {
        match self.started {
            Some(started) => Cost::Micros(micros(started, Instant::now())),
            None => Cost::Unknown,
        }
    }

    fn period(&self) -> Option<u64> {
        self.period
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros()
}
