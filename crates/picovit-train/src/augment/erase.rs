//! Random erasing.

use crate::random::Random;

/// Replaces a rectangle of 2 to 33 % of the image, up to about three times as long as wide, by
/// noise (Zhong et al., Random Erasing Data Augmentation).
pub(super) fn erase([height, width, channels]: [usize; 3], random: &mut Random, output: &mut [u8]) {
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

    #[test]
    fn one_rectangle_changes_and_nothing_else() {
        let size @ [height, width, channels] = [16, 24, 3];
        for index in 0..200 {
            let mut image = vec![77; height * width * channels];
            erase(size, &mut Random::nth(5, 1, Stream::Augment, index), &mut image);
            // Noise may happen to equal the old value, so pixels count as a whole.
            let changed = |p: usize| image[p * channels..][..channels] != [77; 3];
            let pixels: Vec<_> = (0..height * width).filter(|&p| changed(p)).collect();
            let extent = |position: fn(usize, usize) -> usize| {
                let positions = pixels.iter().map(|&p| position(p, width));
                positions.clone().max().unwrap() - positions.min().unwrap() + 1
            };
            let area = extent(|p, width| p / width) * extent(|p, width| p % width);
            assert_eq!(pixels.len(), area);
            let share = area as f32 / (height * width) as f32;
            assert!((0.01..0.40).contains(&share), "{share}");
        }
    }
}
