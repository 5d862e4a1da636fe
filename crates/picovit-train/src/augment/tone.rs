//! Changes of brightness and colour, with Pillow's definitions, on which the published policies
//! were found.

/// Replaces every value by the table's.
fn look_up(image: &mut [u8], table: impl Fn(u8) -> u8) {
    let table: Vec<u8> = (0..=255).map(table).collect();
    image.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

/// The line through `from` and `to`: 0 is `from`, 1 is `to`, more goes beyond it.
fn blend(from: f32, to: f32, share: f32) -> u8 {
    (from + share * (to - from)).round().clamp(0.0, 255.0) as u8
}

pub(super) fn invert(image: &mut [u8]) {
    look_up(image, |value| 255 - value);
}

/// Keeps the `bits` highest bits.
pub(super) fn posterize(image: &mut [u8], bits: u32) {
    let mask = (0xff00u32 >> bits.min(8)) as u8;
    look_up(image, |value| value & mask);
}

/// Inverts values of at least `threshold`.
pub(super) fn solarize(image: &mut [u8], threshold: f32) {
    look_up(image, |value| if f32::from(value) < threshold { value } else { 255 - value });
}

/// Adds to the darker half of the values.
pub(super) fn solarize_add(image: &mut [u8], amount: u8) {
    look_up(image, |value| if value < 128 { value.saturating_add(amount) } else { value });
}

pub(super) fn brightness(image: &mut [u8], factor: f32) {
    look_up(image, |value| blend(0.0, f32::from(value), factor));
}

/// Spreads values about the mean grey.
pub(super) fn contrast(channels: usize, image: &mut [u8], factor: f32) {
    let pixels = (image.len() / channels).max(1);
    let mean = image.chunks_exact(channels).map(grey).sum::<f32>() / pixels as f32;
    look_up(image, |value| blend(mean.round(), f32::from(value), factor));
}

/// Spreads colours about grey; grey images have nothing to spread.
pub(super) fn saturation(channels: usize, image: &mut [u8], factor: f32) {
    if channels == 1 {
        return;
    }
    for pixel in image.chunks_exact_mut(channels) {
        let grey = grey(pixel);
        pixel.iter_mut().for_each(|value| *value = blend(grey, f32::from(*value), factor));
    }
}

fn grey(pixel: &[u8]) -> f32 {
    match pixel {
        [r, g, b] => 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b),
        _ => f32::from(pixel[0]),
    }
}

/// Moves values away from a smoothed image, borders apart.
pub(super) fn sharpness([height, width, channels]: [usize; 3], image: &mut [u8], factor: f32) {
    let source = image.to_vec();
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            for channel in 0..channels {
                let at = |y: usize, x: usize| source[(y * width + x) * channels + channel];
                let around = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (y, x)));
                let sum: u32 = around.map(|(y, x)| u32::from(at(y, x))).sum();
                let centre = f32::from(at(y, x));
                let smooth = ((sum as f32 + 4.0 * centre) / 13.0).round();
                image[(y * width + x) * channels + channel] = blend(smooth, centre, factor);
            }
        }
    }
}

/// Replaces every channel's values by a table made from their histogram.
fn per_channel(
    channels: usize,
    image: &mut [u8],
    table: impl Fn(&[u32; 256]) -> Option<[u8; 256]>,
) {
    for channel in 0..channels {
        let mut histogram = [0u32; 256];
        let values = image.iter().skip(channel).step_by(channels);
        values.for_each(|&value| histogram[usize::from(value)] += 1);
        if let Some(table) = table(&histogram) {
            let values = image.iter_mut().skip(channel).step_by(channels);
            values.for_each(|value| *value = table[usize::from(*value)]);
        }
    }
}

/// Stretches every channel to the whole range.
pub(super) fn auto_contrast(channels: usize, image: &mut [u8]) {
    per_channel(channels, image, |histogram| {
        let low = histogram.iter().position(|&count| count > 0)?;
        let high = histogram.iter().rposition(|&count| count > 0)?;
        let scale = 255.0 / high.checked_sub(low).filter(|&range| range > 0)? as f32;
        let stretch = |value: usize| (value as f32 - low as f32) * scale;
        Some(std::array::from_fn(|value| stretch(value).clamp(0.0, 255.0) as u8))
    });
}

/// Spreads every channel's values evenly.
pub(super) fn equalize(channels: usize, image: &mut [u8]) {
    per_channel(channels, image, |histogram| {
        let last = histogram.iter().rfind(|&&count| count > 0)?;
        let step = (histogram.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|value| {
            let level = (sum / step).min(255) as u8;
            sum += histogram[value];
            level
        }))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(image: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut image = image.to_vec();
        change(&mut image);
        image
    }

    #[test]
    fn tables() {
        let image = [0, 100, 128, 255];
        assert_eq!(changed(&image, invert), [255, 155, 127, 0]);
        assert_eq!(changed(&image, |i| posterize(i, 2)), [0, 64, 128, 192]);
        assert_eq!(changed(&image, |i| posterize(i, 8)), image);
        assert_eq!(changed(&image, |i| posterize(i, 0)), [0; 4]);
        assert_eq!(changed(&image, |i| solarize(i, 128.0)), [0, 100, 127, 0]);
        assert_eq!(changed(&image, |i| solarize(i, 256.0)), image);
        assert_eq!(changed(&image, |i| solarize_add(i, 30)), [30, 130, 128, 255]);
        assert_eq!(changed(&image, |i| brightness(i, 0.5)), [0, 50, 64, 128]);
        assert_eq!(changed(&image, |i| brightness(i, 1.5)), [0, 150, 192, 255]);
    }

    #[test]
    fn contrast_and_saturation_keep_what_they_spread_about() {
        assert_eq!(changed(&[90, 110], |i| contrast(1, i, 2.0)), [80, 120]);
        assert_eq!(changed(&[90, 110], |i| contrast(1, i, 0.0)), [100, 100]);
        assert_eq!(changed(&[7, 9], |i| saturation(1, i, 0.0)), [7, 9]);
        assert_eq!(changed(&[200, 0, 0, 50, 50, 50], |i| saturation(3, i, 0.0))[..3], [60; 3]);
        assert_eq!(changed(&[50; 3], |i| saturation(3, i, 1.9)), [50; 3]);
    }

    #[test]
    fn sharpening_steepens_edges_and_smoothing_flattens_them() {
        let edge = [0, 0, 100, 100].repeat(3);
        let sharp = changed(&edge, |i| sharpness([3, 4, 1], i, 2.0));
        let smooth = changed(&edge, |i| sharpness([3, 4, 1], i, 0.0));
        assert_eq!(sharp[4..8], [0, 0, 123, 100]);
        assert_eq!(smooth[4..8], [0, 23, 77, 100]);
        assert_eq!(changed(&edge, |i| sharpness([3, 4, 1], i, 1.0)), edge);
    }

    #[test]
    fn channels_are_stretched_one_by_one() {
        let image = [10, 7, 20, 7, 30, 7];
        let stretched = changed(&image, |i| auto_contrast(2, i));
        assert_eq!(stretched, [0, 7, 127, 7, 255, 7]);
    }

    #[test]
    fn equalized_values_fill_the_range_in_the_same_order() {
        let image: Vec<u8> = (0..1024).map(|i| (i / 32 + 100) as u8).collect();
        let equal = changed(&image, |i| equalize(1, i));
        assert!(equal.is_sorted());
        assert_eq!((equal[0], equal[1023]), (0, 255));
        assert_eq!(changed(&[9; 600], |i| equalize(1, i)), [9; 600]);
    }
}
