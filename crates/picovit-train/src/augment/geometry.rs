//! Affine maps of images, nearest neighbour, black outside.

/// Source of an output position: `[x, y] = [a x + b y + c, d x + e y + f]`, in pixels from the
/// upper left corner of the image.
type Affine = [f32; 6];

fn warp([height, width, channels]: [usize; 3], image: &mut [u8], map: Affine) {
    let source = image.to_vec();
    let [a, b, c, d, e, f] = map;
    let inside = |position: f32, size: usize| {
        let cell = position.floor();
        (cell >= 0.0 && cell < size as f32).then_some(cell as usize)
    };
    for (index, pixel) in image.chunks_exact_mut(channels).enumerate() {
        let (x, y) = ((index % width) as f32 + 0.5, (index / width) as f32 + 0.5);
        let from_x = inside(a * x + b * y + c, width);
        let from_y = inside(d * x + e * y + f, height);
        match from_x.zip(from_y) {
            Some((x, y)) => {
                pixel.copy_from_slice(&source[(y * width + x) * channels..][..channels]);
            }
            None => pixel.fill(0),
        }
    }
}

/// Slants columns: every row moves by `amount` times its distance from the top.
pub(super) fn shear_x(size: [usize; 3], image: &mut [u8], amount: f32) {
    warp(size, image, [1.0, amount, 0.0, 0.0, 1.0, 0.0]);
}

/// Slants rows.
pub(super) fn shear_y(size: [usize; 3], image: &mut [u8], amount: f32) {
    warp(size, image, [1.0, 0.0, 0.0, amount, 1.0, 0.0]);
}

/// Moves the image by a share of its width.
pub(super) fn translate_x(size: [usize; 3], image: &mut [u8], share: f32) {
    let pixels = (share * size[1] as f32).trunc();
    warp(size, image, [1.0, 0.0, -pixels, 0.0, 1.0, 0.0]);
}

/// Moves the image by a share of its height.
pub(super) fn translate_y(size: [usize; 3], image: &mut [u8], share: f32) {
    let pixels = (share * size[0] as f32).trunc();
    warp(size, image, [1.0, 0.0, 0.0, 0.0, 1.0, -pixels]);
}

/// Turns the image counter-clockwise about its centre.
pub(super) fn rotate(size: [usize; 3], image: &mut [u8], degrees: f32) {
    let (sin, cos) = (-degrees).to_radians().sin_cos();
    let (x, y) = (size[1] as f32 / 2.0, size[0] as f32 / 2.0);
    let map = [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y];
    warp(size, image, map);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 3] = [3, 3, 2];

    fn image() -> Vec<u8> {
        (1..=18).collect()
    }

    fn mapped(operation: fn([usize; 3], &mut [u8], f32), amount: f32) -> Vec<u8> {
        let mut image = image();
        operation(SIZE, &mut image, amount);
        image
    }

    #[test]
    fn nothing_moves_by_nothing() {
        for operation in [shear_x, shear_y, translate_x, translate_y, rotate] {
            assert_eq!(mapped(operation, 0.0), image());
        }
    }

    #[test]
    fn translations_move_and_leave_black() {
        let right = [0, 0, 1, 2, 3, 4, 0, 0, 7, 8, 9, 10, 0, 0, 13, 14, 15, 16];
        assert_eq!(mapped(translate_x, 0.34), right);
        let up = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 0, 0, 0, 0, 0, 0];
        assert_eq!(mapped(translate_y, -0.34), up);
    }

    #[test]
    fn shears_move_lower_rows_and_later_columns_further() {
        let sheared = [3, 4, 5, 6, 0, 0, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(mapped(shear_x, 1.0), sheared);
        let sheared = [7, 8, 15, 16, 0, 0, 13, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(mapped(shear_y, 1.0), sheared);
    }

    #[test]
    fn four_quarter_turns_restore_the_image() {
        let mut turned = image();
        rotate(SIZE, &mut turned, 90.0);
        assert_eq!(turned, [5, 6, 11, 12, 17, 18, 3, 4, 9, 10, 15, 16, 1, 2, 7, 8, 13, 14]);
        (0..3).for_each(|_| rotate(SIZE, &mut turned, 90.0));
        assert_eq!(turned, image());
    }
}
