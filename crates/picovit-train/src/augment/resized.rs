//! Crops of random size, enlarged.

use image::imageops::{FilterType, crop_imm, resize};
use image::{ImageBuffer, Luma, Pixel, Rgb};

use crate::random::Random;

/// Cuts out a rectangle of a random share of the area and of 3:4 to 4:3 the image's aspect, and
/// enlarges it to the size of the image.
pub(super) fn crop(
    image: &[u8],
    size @ [height, width, channels]: [usize; 3],
    scale: [f32; 2],
    random: &mut Random,
    output: &mut [u8],
) {
    let window = draw([height, width], scale, random);
    if channels == 1 {
        enlarge::<Luma<u8>>(image, size, window, output);
    } else {
        enlarge::<Rgb<u8>>(image, size, window, output);
    }
}

/// `[top, left, rows, columns]`; the whole image where ten draws do not fit.
fn draw([height, width]: [usize; 2], [least, most]: [f32; 2], random: &mut Random) -> [usize; 4] {
    for _ in 0..10 {
        let share = least + (most - least) * random.unit();
        let aspect = ((4.0f32 / 3.0).ln() * (2.0 * random.unit() - 1.0)).exp();
        let rows = ((share / aspect).sqrt() * height as f32).round() as usize;
        let columns = ((share * aspect).sqrt() * width as f32).round() as usize;
        if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
            let top = random.below(height - rows + 1);
            return [top, random.below(width - columns + 1), rows, columns];
        }
    }
    [0, 0, height, width]
}

fn enlarge<P: Pixel<Subpixel = u8> + 'static>(
    image: &[u8],
    [height, width, _]: [usize; 3],
    window: [usize; 4],
    output: &mut [u8],
) {
    let [top, left, rows, columns] = window.map(|value| value as u32);
    let (height, width) = (height as u32, width as u32);
    let image: ImageBuffer<P, _> =
        ImageBuffer::from_raw(width, height, image).expect("the image has this size");
    let window = crop_imm(&image, left, top, columns, rows);
    let enlarged = resize(&*window, width, height, FilterType::Triangle);
    output.copy_from_slice(enlarged.as_raw());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn windows_lie_on_the_image_and_have_the_area_asked_for() {
        let mut random = Random::new(4, 1, Stream::Augment);
        for _ in 0..1000 {
            let [top, left, rows, columns] = draw([40, 60], [0.2, 0.6], &mut random);
            assert!(top + rows <= 40 && left + columns <= 60);
            let share = (rows * columns) as f32 / 2400.0;
            assert!((0.18..0.63).contains(&share), "{share}");
        }
    }

    #[test]
    fn windows_are_stretched_by_a_third_at_most_whatever_shape_the_image_has() {
        let mut random = Random::new(5, 1, Stream::Augment);
        for (height, width) in [(64, 64), (64, 128), (300, 100)] {
            let mut stretches = vec![];
            for _ in 0..1000 {
                let [_, _, rows, columns] = draw([height, width], [0.8, 1.0], &mut random);
                let stretch = columns as f32 / width as f32 * height as f32 / rows as f32;
                assert!((0.73..1.37).contains(&stretch), "{stretch}");
                stretches.push(stretch);
            }
            // Few are the whole image for want of a window that fits.
            let whole = stretches.iter().filter(|&&stretch| stretch == 1.0).count();
            assert!(whole < 100, "{whole} of 1000 at {height}x{width}");
            let wide = stretches.iter().filter(|&&stretch| stretch > 1.05).count();
            let high = stretches.iter().filter(|&&stretch| stretch < 0.95).count();
            assert!(wide > 200 && high > 200, "{wide} wide, {high} high at {height}x{width}");
        }
    }

    #[test]
    fn the_whole_image_stays_as_it_is() {
        for channels in [1, 3] {
            let image: Vec<u8> = (0..6 * 6 * channels as u8).collect();
            let mut output = vec![0; image.len()];
            let size = [6, 6, channels];
            match channels {
                1 => enlarge::<Luma<u8>>(&image, size, [0, 0, 6, 6], &mut output),
                _ => enlarge::<Rgb<u8>>(&image, size, [0, 0, 6, 6], &mut output),
            }
            assert_eq!(output, image);
        }
    }

    #[test]
    fn a_window_fills_the_image() {
        let mut image = vec![0; 64];
        image[9] = 200;
        let mut output = vec![0; 64];
        enlarge::<Luma<u8>>(&image, [8, 8, 1], [1, 1, 1, 1], &mut output);
        assert_eq!(output, [200; 64]);
    }
}
