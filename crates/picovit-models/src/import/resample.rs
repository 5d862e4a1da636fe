//! Positional embeddings for images of another size.

use crate::config::ImageSize;

/// Resamples `[tokens, dim]`, tokens in raster order, by bicubic interpolation: samples at pixel
/// centres, edges repeated, and the kernel of `torch.nn.functional.interpolate` (a = -0.75).
pub(crate) fn resample(values: &[f32], dim: usize, from: ImageSize, to: ImageSize) -> Vec<f32> {
    let rows: Vec<_> = (0..to.height).map(|i| taps(i, from.height, to.height)).collect();
    let columns: Vec<_> = (0..to.width).map(|i| taps(i, from.width, to.width)).collect();
    let mut out = Vec::with_capacity(to.area() * dim);
    for row in &rows {
        for column in &columns {
            for channel in 0..dim {
                let value = |y: usize, x: usize| values[(y * from.width + x) * dim + channel];
                let line = |y: usize| {
                    column.iter().map(|&(x, weight)| weight * f64::from(value(y, x))).sum::<f64>()
                };
                let sum: f64 = row.iter().map(|&(y, weight)| weight * line(y)).sum();
                out.push(sum as f32);
            }
        }
    }
    out
}

/// The four source positions of a target position, with their weights.
fn taps(index: usize, from: usize, to: usize) -> [(usize, f64); 4] {
    let position = (index as f64 + 0.5) * from as f64 / to as f64 - 0.5;
    let first = position.floor();
    let weights = kernel(position - first);
    let place = |tap: usize| (first + tap as f64 - 1.0).clamp(0.0, (from - 1) as f64) as usize;
    [0, 1, 2, 3].map(|tap| (place(tap), weights[tap]))
}

/// Weights of the neighbours at -1, 0, 1 and 2 for a position `t` in 0..1.
fn kernel(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_pytorch() {
        // torch.nn.functional.interpolate of the 3x3 map 1, 2, 4, 8, 16, 32, 64, 128, 256.
        const EXPECTED: [f32; 10] = [
            0.5579, 0.7678, 1.2344, 2.0343, 2.5873, 46.6090, 64.1389, 103.1172, 169.9371, 216.1337,
        ];
        let from = ImageSize { height: 3, width: 3 };
        let values: Vec<f32> = (0..9).map(|i| (1 << i) as f32).collect();
        let found = resample(&values, 1, from, ImageSize { height: 2, width: 5 });
        for (found, expected) in found.iter().zip(EXPECTED) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
        assert_eq!(resample(&values, 1, from, from), values);
        // Channels do not mix.
        let twice: Vec<f32> = values.iter().flat_map(|&v| [v, -v]).collect();
        let found = resample(&twice, 2, from, ImageSize { height: 2, width: 5 });
        assert!(found.chunks(2).all(|pair| pair[0] == -pair[1]));
    }
}
