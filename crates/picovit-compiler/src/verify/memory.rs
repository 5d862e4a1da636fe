//! What lies in the arena while an artifact runs.

use std::collections::HashMap;
use std::ops::Range;

use super::access::Place;
use crate::graph::NodeId;

/// A value that is whole.
struct Held {
    place: Place,
    node: NodeId,
}

/// The arena as the operations so far have left it.
#[derive(Default)]
pub(super) struct Memory {
    held: Vec<Held>,
    /// Who wrote over a value last.
    lost: HashMap<NodeId, String>,
}

impl Memory {
    /// Whether a node's value lies here, whole and of this type.
    pub(super) fn holds(&self, node: NodeId, place: &Place) -> bool {
        self.held.iter().any(|held| {
            held.node == node
                && held.place.range == place.range
                && held.place.value.feeds(&place.value)
        })
    }

    /// Who wrote over a node's value, if anyone did.
    pub(super) fn culprit(&self, node: NodeId) -> Option<&str> {
        self.lost.get(&node).map(String::as_str)
    }

    /// Writes anything: what lay there is lost.
    pub(super) fn overwrite(&mut self, range: &Range<usize>, by: &str) {
        let lost = &mut self.lost;
        self.held.retain(|held| {
            let hit = overlap(&held.place.range, range);
            if hit {
                lost.insert(held.node, by.into());
            }
            !hit
        });
    }

    /// Writes a node's value.
    pub(super) fn write(&mut self, node: NodeId, place: Place, by: &str) {
        self.overwrite(&place.range, by);
        self.held.push(Held { place, node });
    }
}

/// Whether two ranges have a byte in common.
pub(super) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
}
