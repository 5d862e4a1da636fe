//! Branch and bound over placements.

use super::Buffer;

/// Looks for a smaller arena than a known one.
///
/// Some smallest arrangement has every buffer at 0 or on top of another of its time. Placing the
/// buffers from the bottom up, the lowest first, so makes each one's offset the top of what has
/// been placed in its time; every buffer of an operation that is not placed yet will lie on top
/// of that, which bounds what can come of it.
pub(super) struct Search<'b> {
    buffers: &'b [Buffer],
    sizes: &'b [usize],
    /// The buffers, those to try first in front.
    order: Vec<usize>,
    /// Top of what is placed, for every operation.
    top: Vec<usize>,
    /// Bytes not placed yet, for every operation.
    waiting: Vec<usize>,
    offsets: Vec<Option<usize>>,
    /// Good enough to stop.
    enough: usize,
    steps: usize,
    best: usize,
    found: Option<Vec<usize>>,
}

impl<'b> Search<'b> {
    pub(super) fn new(buffers: &'b [Buffer], sizes: &'b [usize], live: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..buffers.len()).collect();
        order.sort_by_key(|&i| {
            let time = buffers[i].last - buffers[i].first;
            std::cmp::Reverse((time > 0, sizes[i]))
        });
        Self {
            buffers,
            sizes,
            order,
            top: vec![0; live.len()],
            waiting: live.to_vec(),
            offsets: vec![None; buffers.len()],
            enough: live.iter().copied().max().unwrap_or(0),
            steps: 0,
            best: 0,
            found: None,
        }
    }

    /// Offsets of an arena below `known`, the best found in so many steps, and whether nothing
    /// better exists.
    pub(super) fn run(mut self, known: usize, steps: usize) -> (Option<Vec<usize>>, bool) {
        self.best = known;
        self.steps = steps;
        self.place(0, (0, 0));
        let proven = self.steps > 0 || self.best == self.enough;
        (self.found, proven)
    }

    /// Places the rest, none below the last one.
    fn place(&mut self, placed: usize, lowest: (usize, usize)) {
        if placed == self.order.len() {
            // The bounds have let nothing through that is not better.
            self.best = self.top.iter().copied().max().unwrap_or(0);
            self.found = Some(self.offsets.iter().map(|offset| offset.unwrap_or(0)).collect());
            return;
        }
        for rank in 0..self.order.len() {
            let buffer = self.order[rank];
            if self.offsets[buffer].is_some() {
                continue;
            }
            if self.steps == 0 || self.best == self.enough {
                return;
            }
            self.steps -= 1;
            let Buffer { first, last, .. } = self.buffers[buffer];
            let size = self.sizes[buffer];
            let offset = self.top[first..=last].iter().copied().max().unwrap_or(0);
            // Of buffers at the same height, one order is enough.
            if (offset, rank) < lowest {
                continue;
            }
            let tops = self.top[first..=last].to_vec();
            self.top[first..=last].fill(offset + size);
            self.waiting[first..=last].iter_mut().for_each(|waiting| *waiting -= size);
            self.offsets[buffer] = Some(offset);
            if self.promises(offset) {
                self.place(placed + 1, (offset, rank));
            }
            self.offsets[buffer] = None;
            self.top[first..=last].copy_from_slice(&tops);
            self.waiting[first..=last].iter_mut().for_each(|waiting| *waiting += size);
        }
    }
    /// Whether what is left may fit below the best: it lies on what has been placed in its time,
    /// and not below the last one.
    fn promises(&self, last: usize) -> bool {
        self.top.iter().zip(&self.waiting).all(|(&top, &waiting)| {
            let floor = if waiting > 0 { top.max(last) } else { top };
            floor + waiting < self.best
        })
    }
}
