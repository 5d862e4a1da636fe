//! Arena planning: offsets for every buffer, and a lower bound beside the arena.
//!
//! Greedy orders come first; where they leave something above the bound, the orders are improved,
//! and branch and bound closes the gap or proves that it cannot be closed. [`crate::verify`]
//! checks what becomes of it.

mod search;

use picovit::format::align_up;
use search::Search;

/// How often an order is changed for the better.
const ROUNDS: usize = 64;

/// Placements that the search tries: far more than networks need, and no time to speak of.
const STEPS: usize = 100_000;

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
    /// The operation with the most.
    pub peak: usize,
    /// Whether no arrangement is smaller.
    pub minimal: bool,
}

impl Buffer {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Places the buffers. Several orders are tried, then a search, and the smallest arena wins; ties
/// go to the first, so that the same buffers always get the same plan. Where the first orders
/// reach the bound, the rest is not tried.
#[must_use]
pub fn plan(buffers: Vec<Buffer>) -> Plan {
    let ops = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    let sizes: Vec<usize> = buffers.iter().map(|b| align_up(b.bytes)).collect();
    let mut live = vec![0; ops];
    for (buffer, size) in buffers.iter().zip(&sizes) {
        live[buffer.first..=buffer.last].iter_mut().for_each(|bytes| *bytes += size);
    }
    let lower_bound = live.iter().copied().max().unwrap_or(0);
    let peak = live.iter().position(|&bytes| bytes == lower_bound).unwrap_or(0);

    let mut by_size: Vec<usize> = (0..buffers.len()).collect();
    by_size.sort_by_key(|&i| std::cmp::Reverse(buffers[i].bytes));
    let mut by_span = by_size.clone();
    by_span.sort_by_key(|&i| std::cmp::Reverse(buffers[i].last - buffers[i].first));
    let in_order: Vec<usize> = (0..buffers.len()).collect();
    // The operation with the highest demand first, largest buffers first within it.
    let mut by_demand = by_size.clone();
    by_demand.sort_by_key(|&i| {
        let demand = live[buffers[i].first..=buffers[i].last].iter().max();
        std::cmp::Reverse(demand)
    });
    let orders = [by_size, by_span, by_demand, in_order];
    let smallest = |plans: Vec<(Vec<usize>, usize)>| {
        plans.into_iter().min_by_key(|(_, arena_bytes)| *arena_bytes).unwrap_or_default()
    };
    let (mut offsets, mut arena_bytes) =
        smallest(orders.iter().map(|order| place(&buffers, order)).collect());
    if arena_bytes > lower_bound {
        let improve = |order| improved(&buffers, order, lower_bound);
        (offsets, arena_bytes) = smallest(orders.map(improve).to_vec());
    }
    let mut minimal = arena_bytes == lower_bound;
    if !minimal {
        let found;
        (found, minimal) = Search::new(&buffers, &sizes, &live).run(arena_bytes, STEPS);
        if let Some(found) = found {
            let ends = found.iter().zip(&sizes).map(|(offset, size)| offset + size);
            arena_bytes = ends.max().unwrap_or(0);
            offsets = found;
        }
    }
    Plan { buffers, offsets, arena_bytes, lower_bound, peak, minimal }
}

/// The best plan found by placing what came to lie on top before everything else.
fn improved(buffers: &[Buffer], mut order: Vec<usize>, enough: usize) -> (Vec<usize>, usize) {
    let mut latest = place(buffers, &order);
    let mut best = latest.clone();
    for _ in 0..ROUNDS {
        if best.1 <= enough {
            break;
        }
        let end = |&i: &usize| latest.0[i] + buffers[i].bytes;
        let top = order.iter().enumerate().max_by_key(|(_, i)| end(i)).map_or(0, |(rank, _)| rank);
        order[..=top].rotate_right(1);
        latest = place(buffers, &order);
        if latest.1 < best.1 {
            best = latest.clone();
        }
    }
    best
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
    /// The buffers that exist during an operation.
    pub fn live(&self, op: usize) -> impl Iterator<Item = &Buffer> {
        self.buffers.iter().filter(move |b| b.first <= op && op <= b.last)
    }

    /// Bytes that exist during an operation.
    #[must_use]
    pub fn live_bytes(&self, op: usize) -> usize {
        self.live(op).map(|buffer| align_up(buffer.bytes)).sum()
    }
}

#[cfg(test)]
mod tests {
    use picovit::format::ALIGN;
    use proptest::prelude::*;

    use super::*;

    fn buffer(bytes: usize, first: usize, last: usize) -> Buffer {
        Buffer { name: format!("{first}..{last}"), bytes, first, last }
    }

    fn is_sound(plan: &Plan) -> bool {
        let placed = || plan.buffers.iter().zip(&plan.offsets);
        placed().enumerate().all(|(i, (a, &start))| {
            start.is_multiple_of(ALIGN)
                && start + a.bytes <= plan.arena_bytes
                && placed().skip(i + 1).all(|(b, &other)| {
                    !a.meets(b) || start + a.bytes <= other || other + b.bytes <= start
                })
        })
    }

    /// The smallest arena of all orders: first fit in some order gives it.
    fn by_trial(buffers: &[Buffer], order: &mut Vec<usize>) -> usize {
        if order.len() == buffers.len() {
            return place(buffers, order).1;
        }
        let mut least = usize::MAX;
        for i in 0..buffers.len() {
            if !order.contains(&i) {
                order.push(i);
                least = least.min(by_trial(buffers, order));
                order.pop();
            }
        }
        least
    }

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let plan = plan(vec![buffer(1024, 0, 0), buffer(512, 0, 1), buffer(2048, 1, 2)]);
        assert_eq!((plan.arena_bytes, plan.lower_bound, plan.peak), (2560, 2560, 1));
        assert!(plan.minimal && is_sound(&plan));
        assert_eq!(plan.live(0).count(), 2);
        assert_eq!(plan.live_bytes(2), 2048);
    }

    #[test]
    fn plans_are_never_worse_than_the_order_of_operations() {
        let mut closed = 0;
        for seed in 0u64..400 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |limit: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 33) % limit) as usize
            };
            let buffers: Vec<Buffer> = (0..12)
                .map(|_| {
                    let (first, span) = (below(8), below(4));
                    buffer(16 * (1 + below(40)), first, first + span)
                })
                .collect();
            let order: Vec<usize> = (0..buffers.len()).collect();
            let greedy = place(&buffers, &order).1;
            let plan = plan(buffers);
            assert!(is_sound(&plan) && plan.arena_bytes <= greedy, "seed {seed}");
            closed += usize::from(plan.arena_bytes < greedy && plan.minimal);
        }
        assert!(closed > 100, "{closed}");
    }

    proptest! {
        #[test]
        fn plans_are_valid(spec in proptest::collection::vec((0usize..5000, 0usize..12, 0usize..4), 0..40)) {
            let buffers = spec.into_iter().map(|(b, first, span)| buffer(b, first, first + span));
            let plan = plan(buffers.collect());
            prop_assert!(is_sound(&plan));
            prop_assert!(plan.arena_bytes >= plan.lower_bound);
            prop_assert_eq!(plan.live_bytes(plan.peak), plan.lower_bound);
        }

        #[test]
        fn small_plans_are_the_smallest(spec in proptest::collection::vec((0usize..200, 0usize..4, 0usize..3), 0..7)) {
            let buffers = spec.into_iter().map(|(b, first, span)| buffer(b, first, first + span));
            let buffers: Vec<Buffer> = buffers.collect();
            let least = by_trial(&buffers, &mut vec![]);
            let plan = plan(buffers);
            prop_assert!(plan.minimal && is_sound(&plan));
            prop_assert_eq!(plan.arena_bytes, least);
        }
    }
}
