//! Mean of the most recent probability vectors.

use heapless::{Deque, Vec};

/// Moving average of class probabilities over the last `WINDOW` frames.
///
/// A single frame that the network misreads does not change the shown label; a new object takes
/// over after half a window. While fewer frames have been seen, their mean is used.
///
/// ```
/// let mut smoother = picovit_app::Smoother::<2, 4>::new();
/// smoother.push(&[65535, 0]);
/// let mean = smoother.push(&[0, 65535]);
/// assert_eq!(mean, [32768, 32768]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Smoother<const CLASSES: usize, const WINDOW: usize> {
    frames: Deque<Vec<u16, CLASSES>, WINDOW>,
    mean: Vec<u16, CLASSES>,
}

impl<const CLASSES: usize, const WINDOW: usize> Smoother<CLASSES, WINDOW> {
    /// An average over nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: Deque::new(), mean: Vec::new() }
    }

    /// Forgets all frames: the next one has nothing to do with them.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.mean.clear();
    }

    /// Frames in the average.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether no frame has been seen since the start or [`Self::clear`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes the newest frame in, drops the oldest if the window is full, and gives the mean of
    /// the window, rounded to nearest. Classes beyond `CLASSES` are left out.
    pub fn push(&mut self, probabilities: &[u16]) -> &[u16] {
        let classes = probabilities.len().min(CLASSES);
        let Ok(newest) = Vec::from_slice(&probabilities[..classes]) else {
            return &self.mean; // cannot happen: cut to the capacity above
        };
        if self.frames.is_full() {
            self.frames.pop_front();
        }
        // There is room now, except in a window of no frames at all.
        let _ = self.frames.push_back(newest);
        let count = self.frames.len().max(1) as u32;
        self.mean.clear();
        for class in 0..classes {
            let values = self.frames.iter().filter_map(|frame| frame.get(class));
            let sum: u32 = values.map(|&value| u32::from(value)).sum();
            let _ = self.mean.push(((sum + count / 2) / count) as u16);
        }
        &self.mean
    }

    /// Mean of the window; empty before the first frame.
    #[must_use]
    pub fn mean(&self) -> &[u16] {
        &self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_moves() {
        let mut smoother = Smoother::<3, 3>::new();
        assert!(smoother.is_empty());
        assert_eq!(smoother.push(&[30, 0, 0]), [30, 0, 0]);
        assert_eq!(smoother.push(&[0, 30, 0]), [15, 15, 0]);
        assert_eq!(smoother.push(&[0, 0, 30]), [10, 10, 10]);
        assert_eq!(smoother.push(&[0, 0, 30]), [0, 10, 20]);
        assert_eq!(smoother.len(), 3);
        smoother.clear();
        assert_eq!(smoother.mean(), []);
        assert_eq!(smoother.push(&[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn certainty_survives_the_average() {
        let mut smoother = Smoother::<1, 7>::new();
        for _ in 0..20 {
            assert_eq!(smoother.push(&[u16::MAX]), [u16::MAX]);
        }
    }

    #[test]
    fn one_misread_frame_does_not_change_the_label() {
        let mut smoother = Smoother::<2, 4>::new();
        for _ in 0..4 {
            smoother.push(&[60000, 5535]);
        }
        let mean = smoother.push(&[1000, 64535]);
        assert!(mean[0] > mean[1]);
    }
}
