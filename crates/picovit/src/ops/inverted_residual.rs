//! The inverted residual, streamed row by row: only as many expanded rows exist as one row of the
//! depthwise convolution needs.

use super::{Table, Value, ensure, slides};
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::InvertedResidualRecord;
use crate::kernels::{depthwise, dot, mulhi, requant8, sat8};
use crate::model::Constants;
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// See [`InvertedResidualRecord`].
#[derive(Clone, Copy, Debug)]
pub struct InvertedResidual<'a> {
    pub(crate) record: &'a InvertedResidualRecord,
    expand: Layer<'a>,
    filter: Layer<'a>,
    project: Layer<'a>,
    table1: Table<'a>,
    table2: Table<'a>,
}

/// Constants of one convolution.
#[derive(Clone, Copy, Debug)]
struct Layer<'a> {
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
        constants: Constants<'a>,
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
        let layer = |weights, bias, mult, outputs, inputs| -> Result<Layer<'a>, Error> {
            Ok(Layer {
                weights: constants.slice(weights, &[outputs, inputs])?,
                bias: constants.slice(bias, &[outputs])?,
                mult: constants.slice(mult, &[outputs])?,
            })
        };
        Ok(Self {
            record: r,
            expand: layer(r.weights1, r.bias1, r.mult1, hidden, inputs)?,
            filter: layer(r.weights2, r.bias2, r.mult2, hidden, taps)?,
            project: layer(r.weights3, r.bias3, r.mult3, outputs, hidden)?,
            table1: Table::required(r.table1, constants)?,
            table2: Table::required(r.table2, constants)?,
        })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a InvertedResidualRecord {
        self.record
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
        let pixel: &mut [i8] = scratch.take(hidden);
        let mut next = 0;
        for y in 0..out_height {
            let top = y * stride;
            while next < (top + kernel).saturating_sub(padding).min(height) {
                let start = next % kernel.max(1) * row_len;
                let row = expanded.get_mut(start..start + row_len).unwrap_or_default();
                self.expand_row(next, maps.input(), row, tap);
                next += 1;
            }
            let output = maps.output();
            let out_row = out_width * out_channels;
            let output = output.get_mut(y * out_row..(y + 1) * out_row).unwrap_or_default();
            for (x, out) in rows_mut(output, out_channels).enumerate() {
                let taps = (kernel, x * stride, padding, columns);
                let constants = rows(self.filter.weights, kernel * kernel);
                let constants = constants.zip(self.filter.bias).zip(self.filter.mult);
                let channels = pixel.iter_mut().zip(constants).enumerate();
                for (c, (value, ((weights, &bias), &mult))) in channels {
                    let lines = (top..top + kernel).map(|line| {
                        let line = line.checked_sub(padding).filter(|&line| line < height);
                        let start = line.map(|line| line % kernel.max(1) * row_len);
                        start.and_then(|start| expanded.get(start..start + row_len)).unwrap_or(&[])
                    });
                    let acc = depthwise(bias, weights, lines, (c, hidden), taps, r.border);
                    *value = requant8(acc, mult, r.zero2 as i32);
                }
                let token = y * out_width + x;
                tap.i8(Site::Depthwise, token, 0, pixel);
                self.table2.apply(pixel);
                tap.i8(Site::DepthwiseActivation, token, 0, pixel);
                self.project(pixel, out);
                tap.i8(Site::Output, token, 0, out);
            }
        }
        // Rows that no window reaches are expanded for nobody.
    }

    /// Row `y` of the expansion, behind its activation.
    fn expand_row<P: Probe>(&self, y: usize, input: &[i8], row: &mut [i8], tap: &mut Tap<'_, P>) {
        let r = self.record;
        let (columns, inputs) = (r.in_width as usize, r.in_channels as usize);
        let start = y * columns * inputs;
        let input = input.get(start..start + columns * inputs).unwrap_or_default();
        for (x, out) in rows(input, inputs).zip(rows_mut(row, r.hidden as usize)) {
            let weights = rows(self.expand.weights, inputs);
            let constants = weights.zip(self.expand.bias).zip(self.expand.mult);
            for (out, ((weights, &bias), &mult)) in out.iter_mut().zip(constants) {
                *out = requant8(dot(bias, weights, x), mult, r.zero1 as i32);
            }
        }
        tap.i8(Site::Hidden, y * columns, 0, row);
        self.table1.apply(row);
        tap.i8(Site::Activation, y * columns, 0, row);
    }

    /// One output pixel; with a residual, `out` holds the input pixel.
    #[inline]
    fn project(&self, pixel: &[i8], out: &mut [i8]) {
        let r = self.record;
        let weights = rows(self.project.weights, pixel.len());
        let constants = weights.zip(self.project.bias).zip(self.project.mult);
        for (out, ((weights, &bias), &mult)) in out.iter_mut().zip(constants) {
            let value = (r.zero_out as i32).wrapping_add(mulhi(dot(bias, weights, pixel), mult));
            let kept = if r.residual == 1 {
                mulhi((*out as i32 - r.zero_in as i32) << 16, r.residual_mult)
            } else {
                0
            };
            *out = sat8(value.wrapping_add(kept));
        }
    }
}
