//! What was shown for the most recent frames.

use heapless::{Deque, deque::Iter};

/// Frames a [`History`] remembers.
pub const HISTORY_FRAMES: usize = 64;

/// One shown frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Class, or `None` when the network was unsure.
    pub class: Option<u16>,
    /// Probability of the best class, 65535 for certainty.
    pub probability: u16,
}

/// The most recent [`HISTORY_FRAMES`] results, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: Deque<Entry, HISTORY_FRAMES>,
}

impl History {
    /// No frames yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Deque::new() }
    }

    /// Adds the newest result and drops the oldest if need be.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.is_full() {
            self.entries.pop_front();
        }
        // There is room now.
        let _ = self.entries.push_back(entry);
    }

    /// The results, oldest first.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Number of results.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no result yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a History {
    type Item = &'a Entry;
    type IntoIter = Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut history = History::new();
        assert!(history.is_empty());
        for class in 0..HISTORY_FRAMES as u16 + 5 {
            history.push(Entry { class: Some(class), probability: 1 });
        }
        assert_eq!(history.len(), HISTORY_FRAMES);
        assert_eq!(history.iter().next().and_then(|entry| entry.class), Some(5));
    }
}
