//! Frames to inputs: against plain real numbers, and row by row against whole frames.

use picovit::image::{Crop, Frame, PixelFormat, RowFit, fit, fit_crop};
use proptest::prelude::*;

use crate::cases;

/// Red, green and blue of a pixel in real numbers, by the formats' own definitions.
fn colour(frame: &Frame<'_>, y: usize, x: usize) -> [f64; 3] {
    let at = |byte: usize| f64::from(frame.pixels[y * frame.width * frame.format.bytes() + byte]);
    let rgb565 = |high: f64, low: f64| {
        let word = high as u16 * 256 + low as u16;
        let part = |shift: u16, bits: u16| {
            let most = (1 << bits) - 1;
            f64::from(word >> shift & most) * 255.0 / f64::from(most)
        };
        [part(11, 5), part(5, 6), part(0, 5)]
    };
    // JFIF.
    let yuv = |y: f64, u: f64, v: f64| {
        let (u, v) = (u - 128.0, v - 128.0);
        [y + 1.402 * v, y - 0.344_136 * u - 0.714_136 * v, y + 1.772 * u]
            .map(|value| value.clamp(0.0, 255.0))
    };
    match frame.format {
        PixelFormat::Gray8 => [at(x); 3],
        PixelFormat::Rgb888 => [at(3 * x), at(3 * x + 1), at(3 * x + 2)],
        PixelFormat::Rgb565 => rgb565(at(2 * x), at(2 * x + 1)),
        PixelFormat::Rgb565Le => rgb565(at(2 * x + 1), at(2 * x)),
        PixelFormat::Yuyv => yuv(at(2 * x), at(x / 2 * 4 + 1), at(x / 2 * 4 + 3)),
        PixelFormat::Uyvy => yuv(at(2 * x + 1), at(x / 2 * 4), at(x / 2 * 4 + 2)),
        other => panic!("{other:?} has no definition here"),
    }
}

/// Brightness by BT.601; that of YUV is in the frame.
fn brightness(frame: &Frame<'_>, y: usize, x: usize) -> f64 {
    let at = |byte: usize| f64::from(frame.pixels[y * frame.width * frame.format.bytes() + byte]);
    match frame.format {
        PixelFormat::Yuyv => at(2 * x),
        PixelFormat::Uyvy => at(2 * x + 1),
        _ => {
            let [r, g, b] = colour(frame, y, x);
            0.299 * r + 0.587 * g + 0.114 * b
        }
    }
}

/// The mean of the frame under a pixel of the input.
fn mean(frame: &Frame<'_>, crop: Crop, (y, x): (usize, usize), input: [usize; 3]) -> Vec<f64> {
    let [height, width, channels] = input;
    let cover = |at: usize, source: usize, target: usize| {
        let ratio = source as f64 / target as f64;
        let (start, end) = (at as f64 * ratio, (at + 1) as f64 * ratio);
        (0..source).filter_map(move |i| {
            let share = (end.min((i + 1) as f64) - start.max(i as f64)) / ratio;
            (share > 1e-9).then_some((i, share))
        })
    };
    let mut sums = vec![0.0; channels];
    for (sy, wy) in cover(y, crop.height, height) {
        for (sx, wx) in cover(x, crop.width, width) {
            let (sy, sx) = (crop.top + sy, crop.left + sx);
            let rgb = match channels {
                1 => [brightness(frame, sy, sx), 0.0, 0.0],
                _ => colour(frame, sy, sx),
            };
            sums.iter_mut().zip(rgb).for_each(|(sum, v)| *sum += wy * wx * v);
        }
    }
    sums
}

/// A frame's extent and a part of it.
fn part() -> impl Strategy<Value = (usize, usize, Crop)> {
    (1..40usize, 1..24usize).prop_flat_map(|(height, pairs)| {
        let width = 2 * pairs;
        let line = |edge: usize| (0..edge).prop_flat_map(move |at| (Just(at), 1..=edge - at));
        (line(height), line(width)).prop_map(move |((top, rows), (left, columns))| {
            (height, width, Crop { top, left, height: rows, width: columns })
        })
    })
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn frames_become_inputs(
        (height, width, crop) in part(),
        format in prop::sample::select(PixelFormat::ALL.to_vec()),
        rows in 1..20usize,
        columns in 1..40usize,
        channels in prop::sample::select(vec![1usize, 3]),
        bytes in prop::collection::vec(any::<u8>(), 40 * 48 * 3),
    ) {
        let pixels = &bytes[..height * width * format.bytes()];
        let frame = Frame { width, height, format, pixels };
        let mut input = vec![0; rows * columns * channels];
        fit_crop(&frame, crop, rows, columns, channels, &mut input).unwrap();
        for (i, values) in input.chunks(channels).enumerate() {
            let at = (i / columns, i % columns);
            let expected = mean(&frame, crop, at, [rows, columns, channels]);
            for (&value, expected) in values.iter().zip(expected) {
                let difference = f64::from(i32::from(value) + 128) - expected.round();
                prop_assert!(difference.abs() <= 1.0, "{format:?} {at:?}: {value}, {expected}");
            }
        }

        // Row by row, after a frame that broke off.
        let mut sums = vec![0; RowFit::sums(columns, channels)];
        let size = (rows, columns, channels);
        let mut streamed = vec![0; input.len()];
        let mut fitting = RowFit::new((height, width), format, Some(crop), size, &mut sums).unwrap();
        let row_bytes = width * format.bytes();
        for row in pixels.chunks(row_bytes).take(height / 2) {
            fitting.row(row, &mut streamed).unwrap();
        }
        fitting.restart();
        for _ in 0..2 {
            for row in pixels.chunks(row_bytes) {
                fitting.row(row, &mut streamed).unwrap();
            }
            prop_assert!(fitting.is_complete());
            prop_assert_eq!(&streamed, &input);
        }

        // Cropped or padded as it is by default.
        fit(&frame, rows, columns, channels, &mut input).unwrap();
        let mut fitting = RowFit::new((height, width), format, None, size, &mut sums).unwrap();
        for row in pixels.chunks(row_bytes) {
            fitting.row(row, &mut streamed).unwrap();
        }
        prop_assert_eq!(streamed, input);
    }
}
