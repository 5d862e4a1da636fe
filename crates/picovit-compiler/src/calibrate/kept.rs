//! Roundings that are kept from one compilation to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::graph::NodeId;
use crate::quantize::Rounding;
use crate::quantize::scale::Affine;

/// Roundings of a layer that are kept: those of the range that it has, and of two that are tried.
const KEPT: usize = 3;

/// Roundings by layer and scales of its inputs: where one range after the other is tried, most layers'
/// inputs keep their scales, and what takes the time need not be done again.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<BTreeMap<NodeId, Vec<OfScales>>>);

#[derive(Debug)]
struct OfScales {
    scales: Vec<f64>,
    rounding: Arc<Rounding>,
}

impl Kept {
    pub(super) fn get(
        &self,
        layer: NodeId,
        inputs: &[Affine],
        make: impl FnOnce() -> Rounding,
    ) -> Arc<Rounding> {
        let scales: Vec<f64> = inputs.iter().map(|input| input.scale).collect();
        // Only finished roundings are ever in it.
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = layers.entry(layer).or_default();
        let found = match kept.iter().position(|kept| kept.scales == scales) {
            Some(place) => kept.remove(place),
            None => OfScales { scales, rounding: Arc::new(make()) },
        };
        let rounding = Arc::clone(&found.rounding);
        kept.push(found);
        if kept.len() > KEPT {
            kept.remove(0);
        }
        rounding
    }
}

/// What is kept changes nothing but the time.
impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_latest_of_every_layer_are_kept() {
        let (kept, made) = (Kept::default(), Cell::new(0));
        let get = |layer, scale| {
            let before = made.get();
            kept.get(layer, &[Affine::symmetric(scale)], || {
                made.set(before + 1);
                Rounding::nearest(1)
            });
            made.get() > before
        };
        assert!(get(1, 0.5) && get(2, 0.5) && get(1, 0.25) && get(1, 0.125));
        assert!(!get(1, 0.5) && !get(1, 0.25) && !get(1, 0.125) && !get(2, 0.5));
        assert!(get(1, 2.0));
        assert!(!get(1, 0.25) && !get(1, 0.125), "the latest stay");
        assert!(get(1, 0.5), "the one before them goes");
    }
}
