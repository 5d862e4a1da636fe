//! Arena planning: offsets for every buffer, as low a peak as a greedy search finds, checked by an
//! independent verifier.

use picovit::format::{ALIGN, align_up};

/// A buffer and when it must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds, for reports.
    pub name: String,
    /// Size in bytes.
    pub bytes: usize,
    /// First operation during which it exists.
    pub first: usize,
    /// Last operation during which it exists.
    pub last: usize,
}

/// Offsets of buffers in one arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The buffers.
    pub buffers: Vec<Buffer>,
    /// Offset of each buffer.
    pub offsets: Vec<usize>,
    /// Size of the arena.
    pub arena_bytes: usize,
    /// No arrangement can do with less: the most that exists during one operation.
    pub lower_bound: usize,
}

impl Buffer {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Places the buffers. Several orders are tried and the smallest arena wins; ties go to the first,
/// so that the same buffers always get the same plan.
#[must_use]
pub fn plan(buffers: Vec<Buffer>) -> Plan {
    let ops = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    let live = |op| -> usize {
        let alive = buffers.iter().filter(|b| b.first <= op && op <= b.last);
        alive.map(|b| align_up(b.bytes)).sum()
    };
    let lower_bound = (0..ops).map(live).max().unwrap_or(0);

    let mut by_size: Vec<usize> = (0..buffers.len()).collect();
    by_size.sort_by_key(|&i| std::cmp::Reverse(buffers[i].bytes));
    let mut by_span = by_size.clone();
    by_span.sort_by_key(|&i| std::cmp::Reverse(buffers[i].last - buffers[i].first));
    let in_order: Vec<usize> = (0..buffers.len()).collect();
    // The operation with the highest demand first, largest buffers first within it.
    let mut by_demand = by_size.clone();
    by_demand.sort_by_key(|&i| {
        let demand = (buffers[i].first..=buffers[i].last).map(live).max();
        std::cmp::Reverse(demand)
    });
    let candidates = [by_size, by_span, by_demand, in_order].map(|order| place(&buffers, &order));
    let (offsets, arena_bytes) =
        candidates.into_iter().min_by_key(|(_, arena_bytes)| *arena_bytes).unwrap_or_default();
    let plan = Plan { buffers, offsets, arena_bytes, lower_bound };
    assert_eq!(plan.verify(), Ok(()), "the planner broke its own rules");
    plan
}

/// Puts each buffer, in this order, at the lowest offset that is free during its life.
fn place(buffers: &[Buffer], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut arena_bytes = 0;
    for &i in order {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| buffers[j].meets(&buffers[i]))
            .map(|&j| (offsets[j], offsets[j] + align_up(buffers[j].bytes)))
            .collect();
        taken.sort_unstable();
        let size = align_up(buffers[i].bytes);
        let mut offset = 0;
        for (start, end) in taken {
            if offset + size <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[i] = offset;
        arena_bytes = arena_bytes.max(offset + size);
        placed.push(i);
    }
    (offsets, arena_bytes)
}

impl Plan {
    /// Checks alignment, bounds and that no two buffers that exist at once overlap.
    ///
    /// # Errors
    /// Says which buffers are at fault.
    pub fn verify(&self) -> Result<(), String> {
        for (i, (a, &start)) in self.buffers.iter().zip(&self.offsets).enumerate() {
            if !start.is_multiple_of(ALIGN) || start + a.bytes > self.arena_bytes {
                return Err(format!("{} is out of bounds or unaligned at {start}", a.name));
            }
            for (b, &other) in self.buffers.iter().zip(&self.offsets).skip(i + 1) {
                let disjoint = start + a.bytes <= other || other + b.bytes <= start;
                if a.meets(b) && !disjoint {
                    return Err(format!("{} and {} overlap", a.name, b.name));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffer(bytes: usize, first: usize, last: usize) -> Buffer {
        Buffer { name: format!("{first}..{last}"), bytes, first, last }
    }

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let plan = plan(vec![buffer(1024, 0, 0), buffer(512, 0, 1), buffer(2048, 1, 2)]);
        assert_eq!(plan.arena_bytes, 2560);
        assert_eq!(plan.lower_bound, 2560);
    }

    #[test]
    fn the_verifier_sees_overlap() {
        let mut plan = plan(vec![buffer(64, 0, 1), buffer(64, 1, 2)]);
        plan.offsets = vec![0, 48];
        assert!(plan.verify().unwrap_err().contains("overlap"));
        plan.offsets = vec![0, 8];
        assert!(plan.verify().is_err());
    }

    proptest! {
        #[test]
        fn plans_are_valid(spec in proptest::collection::vec((0usize..5000, 0usize..12, 0usize..4), 0..40)) {
            let buffers = spec.into_iter().map(|(b, first, span)| buffer(b, first, first + span));
            let plan = plan(buffers.collect());
            prop_assert_eq!(plan.verify(), Ok(()));
            prop_assert!(plan.arena_bytes >= plan.lower_bound);
        }
    }
}
