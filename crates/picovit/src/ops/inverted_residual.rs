//! The inverted residual, streamed row by row: only as many expanded rows exist as one row of the
//! depthwise convolution needs.

use super::{Layer, Table, Value, slides};
use crate::engine::{Probe, Site, Tap};
use crate::format::{InvertedResidualRecord, Packing, TOKENS};
#[cfg(wide)]
use crate::kernels::scores_rows;
use crate::kernels::{Block, Depthwise, Int8, Shortcut, depthwise, residual_add8, scores};
use crate::model::Constants;
use crate::rows::{pairs, pairs_mut};
#[cfg(wide)]
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// See [`InvertedResidualRecord`].
#[derive(Clone, Copy, Debug)]
pub struct InvertedResidual<'a> {
    pub(crate) record: &'a InvertedResidualRecord,
    expand: Layer<'a>,
    filter: Depthwise<'a>,
    project: Layer<'a>,
    table1: Table<'a>,
    table2: Table<'a>,
}

/// Input and output: one buffer where the input is added to the output.
pub(crate) enum Maps<'b, T> {
    /// The output row takes the place of the input row of the same index.
    InPlace(&'b mut [T]),
    /// Two buffers.
    Apart(&'b [T], &'b mut [T]),
}

impl<T> Maps<'_, T> {
    pub(crate) fn input(&self) -> &[T] {
        match self {
            Self::InPlace(map) => map,
            Self::Apart(input, _) => input,
        }
    }

    pub(crate) fn output(&mut self) -> &mut [T] {
        match self {
            Self::InPlace(map) => map,
            Self::Apart(_, output) => output,
        }
    }
}

impl<'a> InvertedResidual<'a> {
    pub(crate) fn decode(r: &'a InvertedResidualRecord, constants: &Constants<'a>) -> Self {
        let sizes = [r.in_height, r.in_width, r.in_channels, r.hidden, r.out_channels];
        let plain = r.padding_bytes == [0; 7] && r.reserved == 0 && r.head.reserved == 0;
        let window = slides(r.kernel, r.stride, r.padding);
        let residual = match r.residual {
            0 => r.zero_in == 0 && r.residual_mult == 0,
            // A row may be overwritten once the rows that need it are expanded.
            1 => {
                r.stride == 1
                    && r.in_channels == r.out_channels
                    && r.out_size() == (r.in_height as usize, r.in_width as usize)
            }
            _ => false,
        };
        constants.ensure(plain && window && residual && sizes.iter().all(|&s| s > 0));
        let (height, width) = r.out_size();
        constants.ensure(height > 0 && width > 0);
        let [_, _, inputs, hidden, outputs] = sizes.map(usize::from);
        let taps = r.kernel as usize * r.kernel as usize;
        Self {
            record: r,
            expand: Layer::decode(constants, [r.weights1, r.bias1, r.mult1], (hidden, inputs)),
            filter: Depthwise {
                weights: constants.array(r.weights2, &[taps, hidden]),
                bias: constants.slice(r.bias2, hidden),
                mult: constants.slice(r.mult2, hidden),
                zero: r.zero2.into(),
                kernel: r.kernel.into(),
                stride: r.stride.into(),
            },
            project: Layer::decode(constants, [r.weights3, r.bias3, r.mult3], (outputs, hidden)),
            table1: Table::required(r.table1, constants),
            table2: Table::required(r.table2, constants),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a InvertedResidualRecord {
        self.record
    }

    /// Order of the weights.
    pub(crate) fn packing(&self) -> Packing {
        self.expand.weights.packing
    }

    pub(crate) fn input(&self) -> Value {
        Value::Map {
            height: self.record.in_height as usize,
            width: self.record.in_width as usize,
            channels: self.record.in_channels as usize,
        }
    }

    pub(crate) fn output(&self) -> Value {
        let (height, width) = self.record.out_size();
        Value::Map { height, width, channels: self.record.out_channels as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(
        &self,
        mut maps: Maps<'_, i8>,
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (kernel, stride) = (r.kernel as usize, r.stride as usize);
        let (hidden, out_channels) = (r.hidden as usize, r.out_channels as usize);
        let (out_height, out_width) = r.out_size();
        let row_len = r.expanded_row();
        // Row `y` of the expanded map and its border lies at `y % kernel`.
        let ring: &mut [i8] = scratch.take(kernel * row_len);
        let packing = self.packing();
        let (in_width, in_channels) = (r.in_width as usize, r.in_channels as usize);
        let narrow: &mut [u8] = scratch.take(packing.row_block_bytes(in_channels, in_width));
        let wide: &mut [u8] = scratch.take(packing.row_block_bytes(hidden, out_width));
        let sums: &mut [i32] = scratch.take(r.sums(packing));
        let mut narrow = Block::new(packing, in_channels, narrow);
        let mut wide = Block::new(packing, hidden, wide);
        let mut next = 0;
        for y in 0..out_height {
            let top = y * stride;
            while next < top + kernel {
                let start = next % kernel.max(1) * row_len;
                let row = ring.get_mut(start..start + row_len).unwrap_or_default();
                self.expand_row(next, maps.input(), row, &mut narrow, tap);
                next += 1;
            }
            let top = top % kernel.max(1);
            depthwise(self.filter, ring, top, out_width);
            // The topmost row has become the outputs.
            let start = top * row_len;
            let row = ring.get_mut(start..start + out_width * hidden).unwrap_or_default();
            tap.i8(Site::Depthwise, y * out_width, 0, row);
            self.table2.apply(row);
            tap.i8(Site::DepthwiseActivation, y * out_width, 0, row);
            let output = maps.output();
            let out_row = out_width * out_channels;
            let output = output.get_mut(y * out_row..(y + 1) * out_row).unwrap_or_default();
            self.project_row(row, &mut wide, sums, output);
            tap.i8(Site::Output, y * out_width, 0, output);
        }
        // Rows that no window reaches are expanded for nobody.
    }

    /// Row `y` of the expansion, behind its activation, with its border; `y` counts the border.
    fn expand_row<P: Probe>(
        &self,
        y: usize,
        input: &[i8],
        row: &mut [i8],
        block: &mut Block<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (columns, inputs) = (r.in_width as usize, r.in_channels as usize);
        let (hidden, padding) = (r.hidden as usize, r.padding as usize);
        let inside = y.checked_sub(padding).filter(|&y| y < r.in_height as usize);
        let Some(y) = inside else { return row.fill(r.border) };
        let (before, rest) = row.split_at_mut_checked(padding * hidden).unwrap_or_default();
        let (row, after) = rest.split_at_mut_checked(columns * hidden).unwrap_or_default();
        before.fill(r.border);
        after.fill(r.border);
        let start = y * columns * inputs;
        let input = input.get(start..start + columns * inputs).unwrap_or_default();
        self.expand_pixels(input, block, row);
        tap.i8(Site::Hidden, y * columns, 0, row);
        self.table1.apply(row);
        tap.i8(Site::Activation, y * columns, 0, row);
    }

    /// The expanded pixels of some of the input.
    #[inline(always)]
    fn expand_pixels(&self, input: &[i8], block: &mut Block<'_>, out: &mut [i8]) {
        let r = self.record;
        let form = Int8::around(r.zero1 as i32);
        // Chips that take artifacts of hosts need no second way to run them.
        #[cfg(wide)]
        if self.packing().by_rows() {
            block.set_rows(input);
            return self.expand.int8_rows(block, form, out);
        }
        let pixels = pairs(input, r.in_channels as usize);
        for (pixels, outputs) in pixels.zip(pairs_mut(out, r.hidden as usize)) {
            for (i, pixel) in pixels.into_iter().enumerate() {
                block.set(i, pixel);
            }
            self.expand.int8(block, form, outputs);
        }
    }

    /// A row of output pixels; with a residual, they hold the input pixels. `sums` is room for
    /// [`InvertedResidualRecord::sums`].
    #[inline(always)]
    fn project_row(&self, hidden: &[i8], block: &mut Block<'_>, sums: &mut [i32], out: &mut [i8]) {
        let r = self.record;
        // As above.
        #[cfg(wide)]
        if self.packing().by_rows() {
            block.set_rows(hidden);
            return self.project_rows(block, sums, out);
        }
        let pixels = pairs(hidden, r.hidden as usize);
        for (pixels, outs) in pixels.zip(pairs_mut(out, r.out_channels as usize)) {
            for (i, pixel) in pixels.into_iter().enumerate() {
                block.set(i, pixel);
            }
            self.project(block, sums, outs);
        }
    }

    /// Two output pixels; with a residual, they hold the input pixels. `sums` is room for two rows of
    /// outputs then.
    #[inline]
    fn project(&self, block: &Block<'_>, sums: &mut [i32], outs: [&mut [i8]; TOKENS]) {
        let r = self.record;
        if r.residual == 0 {
            return self.project.int8(block, Int8::around(r.zero_out as i32), outs);
        }
        let (first, second) =
            sums.split_at_mut_checked(r.out_channels as usize).unwrap_or_default();
        scores(self.project.weights, block, [&mut *first, &mut *second]);
        for (out, sums) in outs.into_iter().zip([first, second]) {
            self.add(sums, out);
        }
    }

    /// As [`Self::project`] of all pixels in a block.
    #[cfg(wide)]
    fn project_rows(&self, block: &mut Block<'_>, sums: &mut [i32], outs: &mut [i8]) {
        let r = self.record;
        if r.residual == 0 {
            return self.project.int8_rows(block, Int8::around(r.zero_out as i32), outs);
        }
        let sums = sums.get_mut(..outs.len()).unwrap_or_default();
        scores_rows(self.project.weights, block, sums);
        let channels = r.out_channels as usize;
        for (out, sums) in rows_mut(outs, channels).zip(rows(sums, channels)) {
            self.add(sums, out);
        }
    }

    /// The output of a pixel in the place of what is added to it.
    #[inline]
    fn add(&self, sums: &[i32], out: &mut [i8]) {
        let r = self.record;
        let shortcut = Shortcut {
            zero_in: r.zero_in as i32,
            mult: r.residual_mult,
            zero_out: r.zero_out as i32,
        };
        residual_add8(sums, [self.project.bias, self.project.mult], shortcut, out);
    }
}
