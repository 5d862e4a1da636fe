//! Depthwise convolution of one pixel.

/// Accumulator of one channel: `bias + sum of w * x` over the taps `(ky, kx)` of a kernel of this
/// edge. `rows[ky]` is a row of the map, `[columns][channels]`, or empty where it lies outside;
/// columns outside the map and rows outside it are `border`. `left` is the column of the first tap,
/// in padded coordinates, `padding` to the left of the map.
#[must_use]
#[inline]
pub fn depthwise<'r>(
    bias: i32,
    weights: &[i8],
    rows: impl Iterator<Item = &'r [i8]>,
    (channel, channels): (usize, usize),
    (kernel, left, padding, columns): (usize, usize, usize, usize),
    border: i8,
) -> i32 {
    let mut acc = bias;
    let mut weights = weights.iter();
    for row in rows {
        for kx in 0..kernel {
            let column = (left + kx).checked_sub(padding).filter(|&column| column < columns);
            let value = column.and_then(|column| row.get(column * channels + channel));
            let w = weights.next().copied().unwrap_or(0);
            let x = value.copied().unwrap_or(border);
            acc = acc.wrapping_add(w as i32 * x as i32);
        }
    }
    acc
}
