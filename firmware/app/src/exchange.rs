//! Frames from the core that captures to the core that looks at them: the newest wins.

use core::cell::Cell;
use core::fmt;

use critical_section::{CriticalSection, Mutex};

use crate::live::CameraError;

/// Two buffers between two cores. One writes into its buffer all the time and [swaps](Self::swap) it
/// for the other when it is full; one takes the [newest](Self::newest) and
/// [gives it back](Self::give_back). Nobody waits for anybody: a frame that comes while the other
/// buffer is being looked at is overwritten by the next.
///
/// Buffers are handed over, not shared, so that no frame changes while somebody reads it.
///
/// ```
/// let exchange = picovit_app::Exchange::new();
/// let (writing, spare) = ([0u8; 4], [0u8; 4]);
/// exchange.give_back(spare);
///
/// let writing = exchange.swap([1; 4]);       // `writing` was filled with a frame
/// assert_eq!(exchange.newest(), Some([1; 4]));
/// assert_eq!(exchange.newest(), None);       // it is looked at now
/// # let _ = writing;
/// ```
pub struct Exchange<B> {
    slots: Mutex<Slots<B>>,
}

/// At most one of the two buffers is here: the other is being written or read.
struct Slots<B> {
    full: Cell<Option<B>>,
    empty: Cell<Option<B>>,
    trouble: Cell<Option<CameraError>>,
    lost: Cell<u32>,
}

impl<B> Exchange<B> {
    /// No buffers yet: the second of the two is [given](Self::give_back).
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: Mutex::new(Slots {
                full: Cell::new(None),
                empty: Cell::new(None),
                trouble: Cell::new(None),
                lost: Cell::new(0),
            }),
        }
    }

    /// Hands over a frame and takes the buffer for the next one: the empty one, or the frame before,
    /// which nobody wanted, or, if that is being looked at, the same again.
    #[must_use]
    pub fn swap(&self, frame: B) -> B {
        self.with(|slots| {
            slots.trouble.set(None);
            let (old, empty) = (slots.full.take(), slots.empty.take());
            if old.is_some() || empty.is_none() {
                slots.lost.set(slots.lost.get().wrapping_add(1));
            }
            match empty.or(old) {
                Some(next) => {
                    slots.full.set(Some(frame));
                    next
                }
                None => frame,
            }
        })
    }

    /// The newest frame, if there is one that nobody has looked at.
    #[must_use]
    pub fn newest(&self) -> Option<B> {
        self.with(|slots| slots.full.take())
    }

    /// Gives a buffer back for another frame.
    pub fn give_back(&self, buffer: B) {
        self.with(|slots| slots.empty.set(Some(buffer)));
    }

    /// No frames come, and why. Holds until the next frame.
    pub fn fail(&self, error: CameraError) {
        self.with(|slots| slots.trouble.set(Some(error)));
    }

    /// Why no frames come, if that is known.
    #[must_use]
    pub fn trouble(&self) -> Option<CameraError> {
        self.with(|slots| slots.trouble.get())
    }

    /// Frames that nobody looked at, since the start.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.with(|slots| slots.lost.get())
    }

    fn with<R>(&self, action: impl FnOnce(&Slots<B>) -> R) -> R {
        critical_section::with(|cs: CriticalSection<'_>| action(self.slots.borrow(cs)))
    }
}

impl<B> fmt::Debug for Exchange<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl<B> Default for Exchange<B> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_newest_frame_wins() {
        let exchange = Exchange::new();
        exchange.give_back("b");
        assert_eq!(exchange.newest(), None);
        // Nobody looks: the two take turns.
        assert_eq!(exchange.swap("a"), "b");
        assert_eq!(exchange.swap("b"), "a");
        assert_eq!(exchange.lost(), 1);
        assert_eq!(exchange.newest(), Some("b"));
        // While somebody looks at one, the other is overwritten.
        assert_eq!(exchange.swap("a"), "a");
        assert_eq!(exchange.newest(), None);
        assert_eq!(exchange.lost(), 2);
        exchange.give_back("b");
        assert_eq!(exchange.swap("a"), "b");
        assert_eq!(exchange.newest(), Some("a"));
        assert_eq!(exchange.lost(), 2);
    }

    #[test]
    fn trouble_ends_with_the_next_frame() {
        let exchange = Exchange::new();
        exchange.give_back(1);
        exchange.fail(CameraError::Silent);
        assert_eq!(exchange.trouble(), Some(CameraError::Silent));
        let _ = exchange.swap(0);
        assert_eq!(exchange.trouble(), None);
    }

    #[test]
    fn no_frame_is_torn_and_none_is_old() {
        const FRAMES: u32 = if cfg!(miri) { 50 } else { 20_000 };
        static EXCHANGE: Exchange<Box<[u32; 64]>> = Exchange::new();
        static DONE: AtomicBool = AtomicBool::new(false);
        EXCHANGE.give_back(Box::new([0; 64]));
        let writer = thread::spawn(|| {
            let mut buffer = Box::new([0; 64]);
            for frame in 1..=FRAMES {
                for value in buffer.iter_mut() {
                    *value = frame;
                }
                buffer = EXCHANGE.swap(buffer);
            }
            DONE.store(true, Ordering::SeqCst);
        });
        let (mut last, mut seen) = (0, 0);
        loop {
            let done = DONE.load(Ordering::SeqCst);
            let Some(frame) = EXCHANGE.newest() else {
                if done {
                    break;
                }
                thread::yield_now();
                continue;
            };
            assert!(frame.iter().all(|&value| value == frame[0]), "torn");
            assert!(frame[0] > last, "frame {} after {last}", frame[0]);
            (last, seen) = (frame[0], seen + 1);
            EXCHANGE.give_back(frame);
        }
        writer.join().unwrap();
        assert!(seen > 0 && seen + EXCHANGE.lost() >= FRAMES, "{seen}");
    }
}
