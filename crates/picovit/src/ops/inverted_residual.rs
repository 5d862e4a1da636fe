//! The inverted residual, streamed row by row: only as many expanded rows exist as one row of the
//! depthwise convolution needs.

use super::{Layer, Table, Value, ensure, slides};
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::{InvertedResidualRecord, Packing, TOKENS};
use crate::kernels::{Block, Int8, depthwise, matmul, mulhi, mulhi_add, requant8, sat8};
use crate::model::Constants;
use crate::rows::{pairs, pairs_mut, rows, rows_mut};
use crate::scratch::Scratch;

/// See [`InvertedResidualRecord`].
#[derive(Clone, Copy, Debug)]
pub struct InvertedResidual<'a> {
    pub(crate) record: &'a InvertedResidualRecord,
    expand: Layer<'a>,
    filter: Filter<'a>,
    project: Layer<'a>,
    table1: Table<'a>,
    table2: Table<'a>,
}

/// Constants of the depthwise convolution.
#[derive(Clone, Copy, Debug)]
struct Filter<'a> {
    weights: &'a [i8],
    bias: &'a [i32],
    mult: &'a [i32],
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
    pub(crate) fn decode(
        r: &'a InvertedResidualRecord,
        constants: &Constants<'a>,
    ) -> Result<Self, Error> {
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
        ensure(plain && window && residual && sizes.iter().all(|&s| s > 0), constants)?;
        let (height, width) = r.out_size();
        ensure(height > 0 && width > 0, constants)?;
        let [_, _, inputs, hidden, outputs] = sizes.map(usize::from);
        let taps = r.kernel as usize * r.kernel as usize;
        Ok(Self {
            record: r,
            expand: Layer::decode(constants, [r.weights1, r.bias1, r.mult1], (hidden, inputs))?,
            filter: Filter {
                weights: constants.slice(r.weights2, &[hidden, taps])?,
                bias: constants.slice(r.bias2, &[hidden])?,
                mult: constants.slice(r.mult2, &[hidden])?,
            },
            project: Layer::decode(constants, [r.weights3, r.bias3, r.mult3], (outputs, hidden))?,
            table1: Table::required(r.table1, constants)?,
            table2: Table::required(r.table2, constants)?,
        })
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
        let (height, columns) = (r.in_height as usize, r.in_width as usize);
        let (hidden, kernel) = (r.hidden as usize, r.kernel as usize);
        let (stride, padding) = (r.stride as usize, r.padding as usize);
        let (out_height, out_width) = r.out_size();
        let out_channels = r.out_channels as usize;
        let row_len = columns * hidden;
        // Expanded row `y` lies at `y % kernel`.
        let expanded: &mut [i8] = scratch.take(kernel * row_len);
        let pixels: &mut [i8] = scratch.take(TOKENS * hidden);
        let narrow: &mut [u8] = scratch.take(self.packing().block_bytes(r.in_channels as usize));
        let wide: &mut [u8] = scratch.take(self.packing().block_bytes(hidden));
        let mut narrow = Block::new(self.packing(), r.in_channels as usize, narrow);
        let mut wide = Block::new(self.packing(), hidden, wide);
        let mut next = 0;
        for y in 0..out_height {
            let top = y * stride;
            while next < (top + kernel).saturating_sub(padding).min(height) {
                let start = next % kernel.max(1) * row_len;
                let row = expanded.get_mut(start..start + row_len).unwrap_or_default();
                self.expand_row(next, maps.input(), row, &mut narrow, tap);
                next += 1;
            }
            let output = maps.output();
            let out_row = out_width * out_channels;
            let output = output.get_mut(y * out_row..(y + 1) * out_row).unwrap_or_default();
            for (pair, outs) in pairs_mut(output, out_channels).enumerate() {
                let first = TOKENS * pair;
                let count = outs.iter().filter(|out| !out.is_empty()).count();
                for (i, pixel) in rows_mut(pixels, hidden).enumerate().take(count) {
                    let taps = (kernel, (first + i) * stride, padding, columns);
                    let constants = rows(self.filter.weights, kernel * kernel);
                    let constants = constants.zip(self.filter.bias).zip(self.filter.mult);
                    let channels = pixel.iter_mut().zip(constants).enumerate();
                    for (c, (value, ((weights, &bias), &mult))) in channels {
                        let lines = (top..top + kernel).map(|line| {
                            let line = line.checked_sub(padding).filter(|&line| line < height);
                            let start = line.map(|line| line % kernel.max(1) * row_len);
                            let row = start.and_then(|start| expanded.get(start..start + row_len));
                            row.unwrap_or(&[])
                        });
                        let acc = depthwise(bias, weights, lines, (c, hidden), taps, r.border);
                        *value = requant8(acc, mult, r.zero2 as i32);
                    }
                    let token = y * out_width + first + i;
                    tap.i8(Site::Depthwise, token, 0, pixel);
                    self.table2.apply(pixel);
                    tap.i8(Site::DepthwiseActivation, token, 0, pixel);
                    wide.set(i, pixel);
                }
                let [one, two] = outs;
                self.project(&wide, [&mut *one, &mut *two]);
                for (i, out) in [one, two].into_iter().enumerate().take(count) {
                    tap.i8(Site::Output, y * out_width + first + i, 0, out);
                }
            }
        }
        // Rows that no window reaches are expanded for nobody.
    }

    /// Row `y` of the expansion, behind its activation.
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
        let start = y * columns * inputs;
        let input = input.get(start..start + columns * inputs).unwrap_or_default();
        for (pixels, outputs) in pairs(input, inputs).zip(pairs_mut(row, r.hidden as usize)) {
            for (i, pixel) in pixels.into_iter().enumerate() {
                block.set(i, pixel);
            }
            self.expand.int8(block, Int8::around(r.zero1 as i32), outputs);
        }
        tap.i8(Site::Hidden, y * columns, 0, row);
        self.table1.apply(row);
        tap.i8(Site::Activation, y * columns, 0, row);
    }

    /// Two output pixels; with a residual, they hold the input pixels.
    #[inline]
    fn project(&self, block: &Block<'_>, [first, second]: [&mut [i8]; TOKENS]) {
        let r = self.record;
        matmul::<i8>(self.project.weights, 0, self.project.bias, block, &mut |channel, sums| {
            let mult = self.project.mult.get(channel).copied().unwrap_or(0);
            for (row, sum) in [&mut *first, &mut *second].into_iter().zip(sums) {
                let Some(out) = row.get_mut(channel) else { continue };
                let value = mulhi_add(r.zero_out as i32, sum, mult);
                let kept = if r.residual == 1 {
                    mulhi((*out as i32 - r.zero_in as i32) << 16, r.residual_mult)
                } else {
                    0
                };
                *out = sat8(value.wrapping_add(kept));
            }
        });
    }
}
