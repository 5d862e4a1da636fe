//! Frames of all formats to inputs: parts of them anywhere, whole frames and row by row.

use picovit::image::{Crop, Frame, PixelFormat, RowFit, fit, fit_crop};

use crate::{Memory, Random, Sum};

/// Edge of a frame at most.
const EDGE: usize = 48;
/// Edges of an input at most: of half of them, so that frames are larger, and of the others, more than
/// the columns whose sums are kept at a time, of grey as well.
const INPUTS: [usize; 2] = [12, 56];
/// Parts of a case.
const PARTS: u32 = 4;

/// Sums up some inputs and checks that those made row by row are the same.
pub(crate) fn frames(memory: &mut Memory, random: &mut Random) -> Sum {
    let mut sum = Sum::EMPTY;
    for _ in 0..PARTS {
        let mut edge = |most: usize| 1 + random.below(most as u32) as usize;
        let (height, width) = (edge(EDGE), 2 * edge(EDGE / 2));
        let most = INPUTS[edge(INPUTS.len()) - 1];
        let (rows, columns) = (edge(most), edge(most));
        let (top, left) = (edge(height) - 1, edge(width) - 1);
        let crop = Crop { top, left, height: edge(height - top), width: edge(width - left) };
        let format = PixelFormat::ALL[edge(PixelFormat::ALL.len()) - 1];
        let channels = if random.below(2) == 0 { 1 } else { 3 };
        let (bytes, input) = memory.values.matrices();
        let bytes = &mut bytes[..height * width * format.bytes()];
        random.fill(bytes, |random| random.bits() as i8);
        let pixels: &[u8] = bytemuck::must_cast_slice(bytes);
        let frame = Frame { width, height, format, pixels };
        let (input, rest) = input.split_at_mut(rows * columns * channels);
        let streamed = &mut rest[..input.len()];
        let mut sums = [0; RowFit::sums(INPUTS[1], 3)];
        let sums = &mut sums[..RowFit::sums(columns, channels)];
        for part in [Some(crop), None] {
            let done = match part {
                Some(crop) => fit_crop(&frame, crop, rows, columns, channels, input),
                None => fit(&frame, rows, columns, channels, input),
            };
            sum.add(done.is_ok().into());
            sum.add_all(input);
            let size = (rows, columns, channels);
            let fitting = RowFit::new((height, width), format, part, size, sums);
            let same = fitting.is_ok_and(|mut fitting| {
                let mut rows = pixels.chunks(width * format.bytes());
                rows.all(|row| fitting.row(row, streamed).is_ok()) && streamed == input
            });
            sum.add(same.into());
        }
    }
    sum
}
