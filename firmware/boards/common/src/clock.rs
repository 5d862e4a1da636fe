//! Time.

use embassy_time::Instant;
use picovit_app::{Clock, Cost};

/// A clock of microseconds.
#[derive(Debug)]
pub struct Micros(Instant);

impl Micros {
    /// Not started.
    #[must_use]
    pub const fn new() -> Self {
        Self(Instant::MIN)
    }
}

impl Default for Micros {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Micros {
    fn start(&mut self) {
        self.0 = Instant::now();
    }

    fn stop(&mut self) -> Cost {
        Cost::Micros(Instant::now().saturating_duration_since(self.0).as_micros())
    }
}
