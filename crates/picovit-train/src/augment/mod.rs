//! Variations of training images.

mod erase;
mod geometry;
mod mix;
mod policy;
mod resized;
mod tone;

use serde::{Deserialize, Serialize};

use crate::random::Random;

pub use mix::Mix;
pub use policy::Policy;

/// What may happen to a training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Least and greatest share of the image's area that is cut out and enlarged to its size,
    /// instead of a crop of its own size.
    #[serde(default)]
    pub crop_scale: Option<[f32; 2]>,
    /// Border of zeros around the image from which a crop of its own size is taken.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// Learned or random changes of geometry and tone.
    #[serde(default)]
    pub policy: Policy,
    /// Share of the images of which a rectangle is replaced by noise.
    #[serde(default)]
    pub erase: f32,
}

impl Augment {
    /// Leaves images as they are.
    pub const NONE: Self =
        Self { crop_scale: None, crop_padding: 0, flip: false, policy: Policy::None, erase: 0.0 };

    /// Draws one variation and writes the image (`[height][width][channels]`) into `output`.
    pub(crate) fn apply(
        self,
        image: &[u8],
        size: [usize; 3],
        random: &mut Random,
        output: &mut [u8],
    ) {
        match self.crop_scale {
            Some(scale) => resized::crop(image, size, scale, random, output),
            None => shift(image, size, self.crop_padding, random, output),
        }
        if self.flip && random.coin() {
            flip(size, output);
        }
        self.policy.apply(size, random, output);
        if self.erase > 0.0 && random.unit() < self.erase {
            erase::erase(size, random, output);
        }
    }
}

/// Takes a crop of the image's own size out of the image with a border of zeros.
fn shift(
    image: &[u8],
    [height, width, channels]: [usize; 3],
    border: usize,
    random: &mut Random,
    output: &mut [u8],
) {
    if border == 0 {
        return output.copy_from_slice(image);
    }
    let (top, left) = (random.below(2 * border + 1), random.below(2 * border + 1));
    output.fill(0);
    for y in 0..height {
        let Some(source_y) = (y + top).checked_sub(border).filter(|&y| y < height) else {
            continue;
        };
        // The columns of the output that lie on the image.
        let first = border.saturating_sub(left).min(width);
        let end = (width + border).saturating_sub(left).min(width);
        let Some(len) = end.checked_sub(first).filter(|&len| len > 0) else { continue };
        let from = source_y * width + first + left - border;
        output[(y * width + first) * channels..][..len * channels]
            .copy_from_slice(&image[from * channels..][..len * channels]);
    }
}

/// Mirrors the columns.
fn flip([_, width, channels]: [usize; 3], image: &mut [u8]) {
    for row in image.chunks_exact_mut(width * channels) {
        for x in 0..width / 2 {
            for channel in 0..channels {
                row.swap(x * channels + channel, (width - 1 - x) * channels + channel);
            }
        }
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
        let images = apply(Augment { flip: true, ..Augment::NONE }, 32);
        assert!(images.iter().any(|image| image == &mirrored));
        assert!(images.iter().any(|image| image[0] == 1));
    }

    #[test]
    fn crops_shift_by_at_most_the_padding_and_fill_with_zero() {
        let images = apply(Augment { crop_padding: 1, ..Augment::NONE }, 200);
        let moved_down_right = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 7, 8, 9, 10];
        assert!(images.iter().any(|image| image == &moved_down_right));
        let distinct: std::collections::BTreeSet<_> = images.iter().collect();
        assert_eq!(distinct.len(), 9);
    }
}
