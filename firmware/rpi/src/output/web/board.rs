//! The newest frame, for as many readers as there are.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::inference::Shown;

/// Holds the newest frame.
pub(super) struct Board {
    newest: Mutex<(u64, Option<Arc<Shown>>)>,
    changed: Condvar,
}

impl Board {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { newest: Mutex::new((0, None)), changed: Condvar::new() }
    }

    /// Replaces it.
    pub(super) fn show(&self, shown: Arc<Shown>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (newest.0 + 1, Some(shown));
        self.changed.notify_all();
    }

    /// What is there.
    pub(super) fn newest(&self) -> Option<Arc<Shown>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Waits for another than this one; its number with it.
    pub(super) fn newer_than(&self, number: u64, patience: Duration) -> Option<(u64, Arc<Shown>)> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(newest, patience, |newest| newest.0 <= number);
        let (newest, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        let shown = newest.1.clone().filter(|_| !waited.timed_out())?;
        Some((newest.0, shown))
    }
}
