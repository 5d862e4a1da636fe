//! Mixup and CutMix: every image of a batch is mixed with its opposite in the batch.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::random::Random;

/// Mixing of images and their targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Shape of mixup's Beta distribution, from which shares are drawn; 0 for no mixup.
    pub mixup: f64,
    /// Shape of CutMix's Beta distribution; 0 for no CutMix. With both, a coin decides.
    pub cutmix: f64,
    /// Last epoch that mixes; none for all.
    pub until: Option<usize>,
}

impl Mix {
    /// Whether an epoch, counted from 1, mixes.
    pub(crate) fn mixes(self, epoch: usize) -> bool {
        (self.mixup > 0.0 || self.cutmix > 0.0) && self.until.is_none_or(|until| epoch <= until)
    }

    /// Draws a share for the batch and mixes. Labels become the class of the larger share.
    pub(crate) fn apply(self, size: [usize; 3], random: &mut Random, batch: &mut Batch) {
        let cut = self.cutmix > 0.0 && (self.mixup == 0.0 || random.coin());
        let own = if cut {
            let window = window(size, random.beta(self.cutmix), random);
            exchange(size, window, &mut batch.pixels);
            let [_, _, rows, columns] = window;
            1.0 - (rows * columns) as f32 / (size[0] * size[1]) as f32
        } else {
            let own = random.beta(self.mixup) as f32;
            let pixels = batch.pixels.clone();
            let len = size.iter().product();
            for (image, other) in
                batch.pixels.chunks_exact_mut(len).zip(pixels.chunks_exact(len).rev())
            {
                for (value, &other) in image.iter_mut().zip(other) {
                    *value = weigh(f32::from(*value), f32::from(other), own).round() as u8;
                }
            }
            own
        };
        let classes = batch.targets.len() / batch.labels.len().max(1);
        let targets = batch.targets.clone();
        let rows = batch.targets.chunks_exact_mut(classes);
        for (target, other) in rows.zip(targets.chunks_exact(classes).rev()) {
            target.iter_mut().zip(other).for_each(|(value, &other)| {
                *value = weigh(*value, other, own);
            });
        }
        if own < 0.5 {
            batch.labels.reverse();
        }
    }
}

fn weigh(value: f32, other: f32, own: f32) -> f32 {
    own * value + (1.0 - own) * other
}

/// `[top, left, rows, columns]` of a window that leaves about the share `own` of the image. It
/// lies anywhere, cut off at the edges.
fn window([height, width, _]: [usize; 3], own: f64, random: &mut Random) -> [usize; 4] {
    let ratio = (1.0 - own).sqrt();
    let mut span = |size: usize| {
        let half = (ratio * size as f64) as usize / 2;
        let centre = random.below(size);
        let first = centre.saturating_sub(half);
        (first, (centre + half).min(size) - first)
    };
    let (top, rows) = span(height);
    let (left, columns) = span(width);
    [top, left, rows, columns]
}

/// Exchanges a window between opposite images; the one in the middle of an odd batch stays.
fn exchange([height, width, channels]: [usize; 3], window: [usize; 4], pixels: &mut [u8]) {
    let [top, left, rows, columns] = window;
    let len = height * width * channels;
    let count = pixels.len() / len;
    let (front, back) = pixels.split_at_mut(count / 2 * len);
    for (image, other) in front.chunks_exact_mut(len).zip(back.rchunks_exact_mut(len)) {
        for y in top..top + rows {
            let row = (y * width + left) * channels;
            let range = row..row + columns * channels;
            image[range.clone()].swap_with_slice(&mut other[range]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use crate::targets;

    const SIZE: [usize; 3] = [6, 5, 3];

    /// Images of one value each: 40 times their label.
    fn batch(images: usize) -> Batch {
        let labels: Vec<u16> = (0..images as u16).collect();
        let pixels = labels.iter().flat_map(|&label| [40 * label as u8; 90]).collect();
        let targets = targets::smoothed(&labels, 7, 0.1);
        Batch { pixels, labels, targets }
    }

    fn mixed(mix: Mix, images: usize, index: usize) -> Batch {
        let mut batch = batch(images);
        mix.apply(SIZE, &mut Random::nth(2, 1, Stream::Mix, index), &mut batch);
        batch
    }

    #[test]
    fn targets_follow_the_shares_of_the_pixels() {
        let mixup = Mix { mixup: 0.8, ..Mix::default() };
        let cutmix = Mix { cutmix: 1.0, ..Mix::default() };
        let both = Mix { mixup: 0.8, cutmix: 1.0, until: None };
        for mix in [mixup, cutmix, both] {
            for index in 0..200 {
                let batch = mixed(mix, 6, index);
                assert_eq!(batch, mixed(mix, 6, index));
                for (image, target) in batch.targets.chunks_exact(7).enumerate() {
                    assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    // The mean pixel and the expected label say the same about the share.
                    let pixels = &batch.pixels[image * 90..][..90];
                    let mean = pixels.iter().map(|&v| f32::from(v)).sum::<f32>() / 90.0;
                    let smoothed = 0.1 / 7.0;
                    let label: f32 = target
                        .iter()
                        .enumerate()
                        .map(|(class, &weight)| class as f32 * (weight - smoothed) / 0.9)
                        .sum();
                    assert!((mean / 40.0 - label).abs() < 0.02, "{mean} {label}");
                    let best = crate::step::argmax(target);
                    let tie = target[best] - target[usize::from(batch.labels[image])];
                    assert!(tie < 1e-6, "{target:?} {}", batch.labels[image]);
                }
            }
        }
    }

    #[test]
    fn both_kinds_occur() {
        let both = Mix { mixup: 1.0, cutmix: 1.0, until: None };
        let whole = |batch: &Batch| batch.pixels.iter().all(|value| value % 40 == 0);
        let cut = (0..100).filter(|&index| whole(&mixed(both, 4, index))).count();
        assert!((25..75).contains(&cut), "{cut} of 100 batches are cut");
    }

    #[test]
    fn the_middle_of_an_odd_batch_stays() {
        let mix = Mix { mixup: 0.0, cutmix: 1.0, until: None };
        let batch = mixed(mix, 3, 1);
        assert_eq!(batch.pixels[90..180], [40; 90]);
        assert_eq!(batch.labels[1], 1);
    }

    #[test]
    fn it_stops_after_its_last_epoch() {
        let mix = Mix { mixup: 1.0, cutmix: 0.0, until: Some(3) };
        assert!(mix.mixes(3) && !mix.mixes(4));
        assert!(!Mix::default().mixes(1));
        assert!(Mix { until: None, ..mix }.mixes(1000));
    }
}
