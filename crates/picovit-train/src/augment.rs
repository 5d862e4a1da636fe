//! Random crops and flips.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// What may happen to a training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Border of zeros around the image from which a crop of its own size is taken.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// Share of the images of which a rectangle is replaced by noise.
    #[serde(default)]
    pub erase: f32,
}

impl Augment {
    /// Leaves images as they are.
    pub const NONE: Self = Self { crop_padding: 0, flip: false, erase: 0.0 };

    /// Draws one variation and writes the image (`[height][width][channels]`) into `output`.
    pub(crate) fn apply(
        self,
        image: &[u8],
        [height, width, channels]: [usize; 3],
        random: &mut Random,
        output: &mut [u8],
    ) {
        let pad = self.crop_padding;
        let mut shift = || if pad == 0 { 0 } else { random.below(2 * pad + 1) };
        let (top, left) = (shift(), shift());
        let flip = self.flip && random.coin();
        output.fill(0);
        for y in 0..height {
            let Some(source_y) = (y + top).checked_sub(pad).filter(|&y| y < height) else {
                continue;
            };
            for x in 0..width {
                let seen = if flip { width - 1 - x } else { x };
                let Some(source_x) = (seen + left).checked_sub(pad).filter(|&x| x < width) else {
                    continue;
                };
                let from = (source_y * width + source_x) * channels;
                let to = (y * width + x) * channels;
                output[to..to + channels].copy_from_slice(&image[from..from + channels]);
            }
        }
        if self.erase > 0.0 && random.unit() < self.erase {
            erase([height, width, channels], random, output);
        }
    }
}

/// Replaces a rectangle of 2 to 33 % of the image, up to about three times as long as wide, by
/// noise (Zhong et al., Random Erasing Data Augmentation).
fn erase([height, width, channels]: [usize; 3], random: &mut Random, output: &mut [u8]) {
    let area = (0.02 + 0.31 * random.unit()) * (height * width) as f32;
    let longest = 3.3f32.ln();
    let aspect = (longest * (2.0 * random.unit() - 1.0)).exp();
    let extent = |length: f32, all: usize| (length.round() as usize).clamp(1, all);
    let rows = extent((area * aspect).sqrt(), height);
    let columns = extent((area / aspect).sqrt(), width);
    let top = random.below(height - rows + 1);
    let left = random.below(width - columns + 1);
    for y in top..top + rows {
        let row = &mut output[(y * width + left) * channels..][..columns * channels];
        row.iter_mut().for_each(|value| *value = random.byte());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn apply(augment: Augment, draws: usize) -> Vec<Vec<u8>> {
        let image: Vec<u8> = (1..=18).collect();
        let mut random = Random::new(3, 0, Stream::Augment);
        let mut output = vec![0; 18];
        let draws = (0..draws).map(|_| {
            augment.apply(&image, [3, 3, 2], &mut random, &mut output);
            output.clone()
        });
        draws.collect()
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        assert_eq!(apply(Augment::NONE, 1)[0], (1..=18).collect::<Vec<u8>>());
    }

    #[test]
    fn flips_mirror_columns_and_keep_channels_together() {
        let mirrored =
            [5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8, 17, 18, 15, 16, 13, 14].map(|v: u8| v);
        let images = apply(Augment { crop_padding: 0, flip: true, erase: 0.0 }, 32);
        assert!(images.iter().any(|image| image == &mirrored));
        assert!(images.iter().any(|image| image[0] == 1));
    }

    #[test]
    fn crops_shift_by_at_most_the_padding_and_fill_with_zero() {
        let images = apply(Augment { crop_padding: 1, flip: false, erase: 0.0 }, 200);
        let moved_down_right = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 7, 8, 9, 10];
        assert!(images.iter().any(|image| image == &moved_down_right));
        let distinct: std::collections::BTreeSet<_> = images.iter().collect();
        assert_eq!(distinct.len(), 9);
    }
}
