//! The inverted residual, streamed row by row.

use super::activate;
use crate::engine::{Probe, Site, Tap};
use crate::format::float::{Activation, FloatInvertedResidualRecord};
use crate::kernels::float::{add_affine_f16, affine_f16, widen};
use crate::model::Constants;
use crate::ops::inverted_residual::Maps;
use crate::ops::{Value, slides};
use crate::rows::{rows, rows_mut};
use crate::scratch::Scratch;

/// See [`FloatInvertedResidualRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatInvertedResidual<'a> {
    pub(crate) record: &'a FloatInvertedResidualRecord,
    activations: [Activation; 2],
    expand: Layer<'a>,
    filter: Layer<'a>,
    project: Layer<'a>,
}

#[derive(Clone, Copy, Debug)]
struct Layer<'a> {
    weights: &'a [u16],
    bias: &'a [f32],
}

impl<'a> FloatInvertedResidual<'a> {
    pub(crate) fn decode(r: &'a FloatInvertedResidualRecord, constants: &Constants<'a>) -> Self {
        let sizes = [r.in_height, r.in_width, r.in_channels, r.hidden, r.out_channels];
        let plain = r.padding_bytes == [0; 14] && r.head.reserved == 0;
        let window = slides(r.kernel, r.stride, r.padding);
        let residual = match r.residual {
            0 => true,
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
        let layer = |weights, bias, outputs, inputs| -> Layer<'a> {
            let weights = constants.array(weights, &[outputs, inputs]);
            Layer { weights, bias: constants.slice(bias, outputs) }
        };
        Self {
            record: r,
            activations: [
                constants.known(Activation::from_u8(r.activation1)),
                constants.known(Activation::from_u8(r.activation2)),
            ],
            expand: layer(r.weights1, r.bias1, hidden, inputs),
            filter: layer(r.weights2, r.bias2, hidden, taps),
            project: layer(r.weights3, r.bias3, outputs, hidden),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatInvertedResidualRecord {
        self.record
    }

    pub(crate) fn input(&self) -> Value {
        Value::FloatMap {
            height: self.record.in_height as usize,
            width: self.record.in_width as usize,
            channels: self.record.in_channels as usize,
        }
    }

    pub(crate) fn output(&self) -> Value {
        let (height, width) = self.record.out_size();
        Value::FloatMap { height, width, channels: self.record.out_channels as usize }
    }

    pub(crate) fn run<P: Probe>(
        &self,
        mut maps: Maps<'_, f32>,
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (height, columns) = (r.in_height as usize, r.in_width as usize);
        let (inputs, hidden) = (r.in_channels as usize, r.hidden as usize);
        let (kernel, stride) = (r.kernel as usize, r.stride as usize);
        let padding = r.padding as usize;
        let (out_height, out_width) = r.out_size();
        let out_channels = r.out_channels as usize;
        let row_len = columns * hidden;
        // Expanded row `y` lies at `y % kernel`.
        let expanded: &mut [f32] = scratch.take(kernel * row_len);
        let pixel: &mut [f32] = scratch.take(hidden);
        let mut next = 0;
        for y in 0..out_height {
            let top = y * stride;
            while next < (top + kernel).saturating_sub(padding).min(height) {
                let start = next % kernel.max(1) * row_len;
                let row = expanded.get_mut(start..start + row_len).unwrap_or_default();
                let start = next * columns * inputs;
                let input = maps.input().get(start..start + columns * inputs).unwrap_or_default();
                for (x, out) in rows(input, inputs).zip(rows_mut(row, hidden)) {
                    affine_f16(self.expand.weights, self.expand.bias, x, out);
                }
                activate(self.activations[0], row);
                tap.f32(Site::Activation, next * columns, 0, row);
                next += 1;
            }
            let out_row = out_width * out_channels;
            let output = maps.output();
            let output = output.get_mut(y * out_row..(y + 1) * out_row).unwrap_or_default();
            for (x, out) in rows_mut(output, out_channels).enumerate() {
                pixel.fill(0.0);
                for ky in 0..kernel {
                    let line = (top + ky).checked_sub(padding).filter(|&line| line < height);
                    let Some(line) = line else { continue };
                    for kx in 0..kernel {
                        let column = (x * stride + kx).checked_sub(padding);
                        let Some(column) = column.filter(|&column| column < columns) else {
                            continue;
                        };
                        let start = line % kernel.max(1) * row_len + column * hidden;
                        let values = expanded.get(start..start + hidden).unwrap_or_default();
                        let taps = rows(self.filter.weights, kernel * kernel);
                        for ((sum, &v), taps) in pixel.iter_mut().zip(values).zip(taps) {
                            let weight = taps.get(ky * kernel + kx).copied().unwrap_or(0);
                            *sum += widen(weight) * v;
                        }
                    }
                }
                for (v, &bias) in pixel.iter_mut().zip(self.filter.bias) {
                    *v += bias;
                }
                activate(self.activations[1], pixel);
                let token = y * out_width + x;
                tap.f32(Site::DepthwiseActivation, token, 0, pixel);
                let Layer { weights, bias } = self.project;
                if r.residual == 1 {
                    add_affine_f16(weights, bias, pixel, out);
                } else {
                    affine_f16(weights, bias, pixel, out);
                }
                tap.f32(Site::Output, token, 0, out);
            }
        }
    }
}
