//! The place between two threads that holds one frame.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;

/// One frame at a time from the thread that reads to the one that classifies.
pub(crate) struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    item: Option<T>,
    dropped: u64,
    /// How the source ended.
    end: Option<Result<(), Error>>,
    /// Nobody wants more.
    stopped: bool,
}

/// What a slot has.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    /// An item, and how many were dropped so far.
    Item(T, u64),
    /// There will be no more.
    End(Result<(), Error>),
    /// Nothing came in time.
    Nothing,
}

impl<T> Slot<T> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let state = State { item: None, dropped: 0, end: None, stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Replaces what is there; whether anybody wants more.
    pub(crate) fn put_newest(&self, item: T) -> bool {
        let mut state = self.lock();
        state.dropped += u64::from(state.item.replace(item).is_some());
        self.changed.notify_all();
        !state.stopped
    }

    /// Waits until there is room; whether anybody wants more.
    pub(crate) fn put(&self, item: T) -> bool {
        let state = self.lock();
        let full = |state: &mut State<T>| state.item.is_some() && !state.stopped;
        let waited = self.changed.wait_while(state, full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.item = Some(item);
        self.changed.notify_all();
        !state.stopped
    }

    /// The source has ended; what is there can still be taken.
    pub(crate) fn end(&self, end: Result<(), Error>) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Nobody wants more: what is there is thrown away, the source's end is none of our business.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for an item.
    pub(crate) fn take(&self, patience: Duration) -> Taken<T> {
        let state = self.lock();
        let empty =
            |state: &mut State<T>| state.item.is_none() && state.end.is_none() && !state.stopped;
        let waited = self.changed.wait_timeout_while(state, patience, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return Taken::End(Ok(()));
        }
        if let Some(item) = state.item.take() {
            self.changed.notify_all();
            return Taken::Item(item, state.dropped);
        }
        state.end.take().map_or(Taken::Nothing, Taken::End)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that could panic holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn the_newest_wins_and_the_others_are_counted() {
        let slot = Slot::new();
        for item in 0..5 {
            assert!(slot.put_newest(item));
        }
        slot.end(Ok(()));
        assert!(matches!(slot.take(LONG), Taken::Item(4, 4)));
        assert!(matches!(slot.take(LONG), Taken::End(Ok(()))));
    }

    #[test]
    fn every_item_arrives_where_every_item_counts() {
        let slot = Slot::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                (0..100).for_each(|item| assert!(slot.put(item)));
                slot.end(Err(Error::Empty { name: "x".to_owned() }));
            });
            for item in 0..100 {
                assert!(matches!(slot.take(LONG), Taken::Item(found, 0) if found == item));
            }
            assert!(matches!(slot.take(LONG), Taken::End(Err(_))));
        });
    }

    #[test]
    fn a_stop_frees_both_sides() {
        let slot = Slot::new();
        assert!(slot.put(1));
        thread::scope(|scope| {
            scope.spawn(|| assert!(!slot.put(2)));
            slot.stop();
        });
        assert!(matches!(slot.take(LONG), Taken::End(Ok(()))));
        assert!(!slot.put_newest(3));
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(matches!(Slot::<u8>::new().take(Duration::ZERO), Taken::Nothing));
    }
}
