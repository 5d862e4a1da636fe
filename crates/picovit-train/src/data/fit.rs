//! Brings images to the size a model takes.

/// Fits one image `[height][width][channels]` into another size, see [`super::Dataset::fit`].
pub(super) fn fit(image: &[u8], from: [usize; 3], to: [usize; 3]) -> Vec<u8> {
    let [height, width, channels] = from;
    let resized = if height <= to[0] && width <= to[1] {
        pad(image, from, [to[0], to[1]])
    } else {
        crop_and_average(image, from, [to[0], to[1]])
    };
    debug_assert_eq!(image.len(), height * width * channels);
    recolor(resized, channels, to[2])
}

fn pad(image: &[u8], [height, width, channels]: [usize; 3], to: [usize; 2]) -> Vec<u8> {
    let (top, left) = ((to[0] - height) / 2, (to[1] - width) / 2);
    let mut output = vec![0; to[0] * to[1] * channels];
    for y in 0..height {
        let start = ((top + y) * to[1] + left) * channels;
        output[start..start + width * channels]
            .copy_from_slice(&image[y * width * channels..][..width * channels]);
    }
    output
}

/// Each output pixel is the mean of the rectangle it covers, edges weighted by their share.
fn crop_and_average(
    image: &[u8],
    [height, width, channels]: [usize; 3],
    to: [usize; 2],
) -> Vec<u8> {
    // The largest centred rectangle of the target's aspect ratio.
    let scale = (height as f64 / to[0] as f64).min(width as f64 / to[1] as f64);
    let top = (height as f64 - scale * to[0] as f64) / 2.0;
    let left = (width as f64 - scale * to[1] as f64) / 2.0;
    let rows: Vec<_> = (0..to[0]).map(|y| cover(top + scale * y as f64, scale, height)).collect();
    let columns: Vec<_> =
        (0..to[1]).map(|x| cover(left + scale * x as f64, scale, width)).collect();
    let mut output = Vec::with_capacity(to[0] * to[1] * channels);
    for row in &rows {
        for column in &columns {
            for channel in 0..channels {
                let (mut sum, mut total) = (0.0, 0.0);
                for &(y, share_y) in row {
                    for &(x, share_x) in column {
                        let value = image[(y * width + x) * channels + channel];
                        sum += share_y * share_x * f64::from(value);
                        total += share_y * share_x;
                    }
                }
                output.push((sum / total).round() as u8);
            }
        }
    }
    output
}

/// The pixels that an interval covers, each with its share.
fn cover(start: f64, length: f64, size: usize) -> Vec<(usize, f64)> {
    let end = start + length;
    let first = (start.max(0.0) as usize).min(size - 1);
    let last = (end.ceil() as usize).clamp(first + 1, size);
    let share = |i: usize| (end.min(i as f64 + 1.0) - start.max(i as f64)).max(1e-9);
    (first..last).map(|i| (i, share(i))).collect()
}

fn recolor(image: Vec<u8>, from: usize, to: usize) -> Vec<u8> {
    match (from, to) {
        (1, 3) => image.into_iter().flat_map(|grey| [grey; 3]).collect(),
        (3, 1) => image.chunks_exact(3).map(luma).collect(),
        _ => image,
    }
}

/// ITU-R BT.601 luma.
fn luma(pixel: &[u8]) -> u8 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((77 * r + 150 * g + 29 * b + 128) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_images_are_centred() {
        let output = fit(&[7, 8], [1, 2, 1], [3, 4, 1]);
        assert_eq!(output, [0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn large_images_are_averaged() {
        let image: Vec<u8> = [[10, 20, 30, 40], [30, 40, 50, 60]].concat();
        assert_eq!(fit(&image, [2, 4, 1], [1, 2, 1]), [25, 45]);
        // The middle is taken where the aspect ratio differs.
        assert_eq!(fit(&image, [2, 4, 1], [1, 1, 1]), [35]);
        assert_eq!(fit(&[100; 35 * 47 * 3], [35, 47, 3], [32, 32, 3]), [100; 32 * 32 * 3]);
    }

    #[test]
    fn colours_are_converted() {
        assert_eq!(fit(&[9], [1, 1, 1], [1, 1, 3]), [9, 9, 9]);
        assert_eq!(fit(&[255, 255, 255, 0, 255, 0], [1, 2, 3], [1, 2, 1]), [255, 149]);
    }
}
