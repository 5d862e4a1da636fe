//! How many may be served at a time.

use std::sync::Arc;

/// So many places.
pub(super) struct Places {
    count: usize,
    /// Every taken place holds one more of it.
    taken: Arc<()>,
}

/// A taken place, free again when it is dropped.
pub(super) struct Place {
    _taken: Arc<()>,
}

impl Places {
    /// All free.
    pub(super) fn new(count: usize) -> Self {
        Self { count, taken: Arc::new(()) }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        // First taken, then counted: two at the same time do not both get the last one.
        let place = Place { _taken: Arc::clone(&self.taken) };
        (Arc::strong_count(&self.taken) <= self.count + 1).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_dropped_is_free_again() {
        let places = Places::new(2);
        let first = places.take();
        assert!(first.is_some());
        let second = places.take();
        assert!(second.is_some() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }
}
