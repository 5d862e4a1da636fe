//! From logits to class probabilities and the most likely classes, in integers.

use heapless::Vec;

use crate::kernels::mulhi;
use crate::model::Model;

/// A class and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Prediction {
    /// Class index.
    pub class: u16,
    /// Probability, 65535 for certainty.
    pub probability: u16,
}

impl Prediction {
    /// Probability in percent, rounded.
    #[must_use]
    pub const fn percent(&self) -> u8 {
        ((self.probability as u32 * 100 + 32767) / 65535) as u8
    }
}

/// Softmax of the logits into `out`, 65535 for certainty (section 12 of `docs/arithmetic.md`).
/// Writes as many as both slices hold.
pub fn probabilities(model: &Model<'_>, logits: &[i16], out: &mut [u16]) {
    let header = model.header();
    let table = model.exp_table();
    let max = logits.iter().copied().max().unwrap_or(0) as i32;
    let weight = |logit: i16| {
        let difference = (max - logit as i32).wrapping_shl(header.logit_shift);
        let index = mulhi(difference, header.logit_exp_mult) as u32 as usize;
        table[index.min(table.len() - 1)] as u32
    };
    let sum = logits.iter().map(|&logit| weight(logit)).sum::<u32>().max(1);
    for (&logit, out) in logits.iter().zip(out) {
        *out = ((weight(logit) * 65535 + sum / 2) / sum) as u16;
    }
}

/// The `K` most likely classes, most likely first; ties go to the lower class.
#[must_use]
pub fn top_k<const K: usize>(probabilities: &[u16]) -> Vec<Prediction, K> {
    let mut best: Vec<Prediction, K> = Vec::new();
    for (class, &probability) in (0..=u16::MAX).zip(probabilities) {
        let place = best.iter().position(|p| p.probability < probability).unwrap_or(best.len());
        if place < K {
            if best.is_full() {
                best.pop();
            }
            // There is room and `place` is at most the length.
            let _ = best.insert(place, Prediction { class, probability });
        }
    }
    best
}

/// Index of the largest logit; ties go to the lower class.
#[must_use]
pub fn argmax(logits: &[i16]) -> usize {
    let mut best = (0, i16::MIN);
    for (class, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (class, logit);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_sorts_and_breaks_ties_low() {
        let best = top_k::<3>(&[5, 9, 5, 9, 1]);
        let classes: Vec<u16, 3> = best.iter().map(|p| p.class).collect();
        assert_eq!(classes, [1, 3, 0]);
        assert!(top_k::<0>(&[1, 2]).is_empty());
        assert_eq!(top_k::<4>(&[7]).len(), 1);
    }

    #[test]
    fn top_k_takes_as_many_classes_as_a_header_can_say() {
        let mut probabilities = [1; u16::MAX as usize];
        probabilities[65_534] = 2;
        let best = top_k::<2>(&probabilities);
        let classes: Vec<u16, 2> = best.iter().map(|p| p.class).collect();
        assert_eq!(classes, [65_534, 0]);
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[1, 4, 4, -3]), 1);
        assert_eq!(argmax(&[i16::MIN; 3]), 0);
        assert_eq!(argmax(&[]), 0);
    }
}
