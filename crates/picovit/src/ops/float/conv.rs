//! Convolution with fused activation and max-pooling, streamed row by row.

use super::activate;
use crate::engine::{Probe, Site, Tap};
use crate::format::float::{Activation, FloatConvRecord};
use crate::kernels::Window;
use crate::kernels::float::affine_f16;
use crate::model::Constants;
use crate::ops::{Value, pools, slides};
use crate::rows::rows_mut;
use crate::scratch::Scratch;

/// See [`FloatConvRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatConv<'a> {
    pub(crate) record: &'a FloatConvRecord,
    activation: Activation,
    weights: &'a [u16],
    bias: &'a [f32],
    /// Scale and offset of an int8 input.
    affine: Option<(&'a [f32], &'a [f32])>,
}

/// The inputs of a convolution.
#[derive(Clone, Copy)]
struct Maps<'b> {
    bytes: &'b [u8],
    second: &'b [f32],
}

impl<'a> FloatConv<'a> {
    pub(crate) fn decode(r: &'a FloatConvRecord, constants: &Constants<'a>) -> Self {
        let sizes = [r.in_height, r.in_width, r.in_channels, r.out_channels];
        let borders = [r.pool_padding, r.pool_padding_after];
        let pool = pools(r.pool_kernel, r.pool_stride, borders);
        let plain = r.padding_bytes == [0; 14] && r.reserved == 0 && r.head.reserved == 0;
        let second = r.in_channels2 > 0 || r.input2 == 0;
        // An int8 input comes alone.
        let affine = match (r.scale, r.offset) {
            (0, 0) => true,
            (0, _) | (_, 0) => false,
            _ => r.in_channels2 == 0,
        };
        let window = slides(r.kernel, r.stride, r.padding);
        constants.ensure(plain && second && affine && window && pool);
        constants.ensure(sizes.iter().all(|&s| s > 0));
        // The borders of pooling make outputs even of a map without pixels.
        let ((height, width), (out_height, out_width)) = (r.map_size(), r.out_size());
        constants.ensure(height > 0 && width > 0 && out_height > 0 && out_width > 0);
        let (kernel, channels) = (r.kernel as usize, r.out_channels as usize);
        let inputs = r.in_channels as usize;
        let affine = match r.scale {
            0 => None,
            scale => Some((constants.slice(scale, inputs), constants.slice(r.offset, inputs))),
        };
        Self {
            record: r,
            activation: constants.known(Activation::from_u8(r.activation)),
            weights: constants.array(r.weights, &[channels, kernel, kernel, r.all_channels()]),
            bias: constants.slice(r.bias, channels),
            affine,
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatConvRecord {
        self.record
    }

    fn extent(&self) -> (usize, usize) {
        (self.record.in_height as usize, self.record.in_width as usize)
    }

    pub(crate) fn input(&self) -> Value {
        let ((height, width), channels) = (self.extent(), self.record.in_channels as usize);
        match self.affine {
            Some(_) => Value::Map { height, width, channels },
            None => Value::FloatMap { height, width, channels },
        }
    }

    /// The second input, if there is one.
    pub(crate) fn second(&self) -> Option<Value> {
        let ((height, width), channels) = (self.extent(), self.record.in_channels2 as usize);
        (channels > 0).then_some(Value::FloatMap { height, width, channels })
    }

    pub(crate) fn output(&self) -> Value {
        let (height, width) = self.record.out_size();
        Value::FloatMap { height, width, channels: self.record.out_channels as usize }
    }

    /// `bytes` is the first input, of either type.
    pub(crate) fn run<P: Probe>(
        &self,
        bytes: &[u8],
        second: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let maps = Maps { bytes, second };
        let channels = r.out_channels as usize;
        let (map_height, map_width) = r.map_size();
        let (out_height, out_width) = r.out_size();
        let patch: &mut [f32] =
            scratch.take(r.kernel as usize * r.kernel as usize * r.all_channels());
        let row: &mut [f32] = scratch.take(map_width * channels);
        let out_row = out_width * channels;
        if r.pool_kernel == 0 {
            for (y, out) in rows_mut(output, out_row).enumerate() {
                self.map_row(y, maps, patch, out);
            }
        } else {
            let pool = Window {
                kernel: r.pool_kernel as usize,
                stride: r.pool_stride as usize,
                padding: r.pool_padding as usize,
            };
            output.fill(f32::MIN);
            for y in 0..map_height {
                self.map_row(y, maps, patch, row);
                for step in pool.covering(y, out_height) {
                    let out = output.get_mut(step * out_row..(step + 1) * out_row);
                    max_into_row(row, channels, pool, out.unwrap_or_default());
                }
            }
        }
        tap.f32(Site::Output, 0, 0, output);
    }

    /// Row `y` of the convolution's map, behind its activation.
    fn map_row(&self, y: usize, maps: Maps<'_>, patch: &mut [f32], row: &mut [f32]) {
        let r = self.record;
        let stride = r.stride as usize;
        for (x, pixel) in rows_mut(row, r.out_channels as usize).enumerate() {
            self.copy_patch(maps, (y * stride, x * stride), patch);
            affine_f16(self.weights, self.bias, patch, pixel);
        }
        activate(self.activation, row);
    }

    /// The patch of one output pixel; zeros outside the map.
    fn copy_patch(&self, maps: Maps<'_>, (y, x): (usize, usize), patch: &mut [f32]) {
        let r = self.record;
        let (height, width) = self.extent();
        let (kernel, padding) = (r.kernel as usize, r.padding as usize);
        let (inputs, others) = (r.in_channels as usize, r.in_channels2 as usize);
        let taps = (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx)));
        for ((ky, kx), pixel) in taps.zip(rows_mut(patch, inputs + others)) {
            let row = (y + ky).checked_sub(padding).filter(|&row| row < height);
            let column = (x + kx).checked_sub(padding).filter(|&column| column < width);
            let (Some(row), Some(column)) = (row, column) else {
                pixel.fill(0.0);
                continue;
            };
            let index = row * width + column;
            let (first, second) = pixel.split_at_mut_checked(inputs).unwrap_or_default();
            match self.affine {
                Some((scale, offset)) => {
                    let values = maps.bytes.get(index * inputs..(index + 1) * inputs);
                    let values = values.unwrap_or_default().iter().zip(scale.iter().zip(offset));
                    for (out, (&q, (&scale, &offset))) in first.iter_mut().zip(values) {
                        *out = (q as i8) as f32 * scale + offset;
                    }
                }
                None => {
                    let map: &[f32] = bytemuck::try_cast_slice(maps.bytes).unwrap_or_default();
                    copy(map.get(index * inputs..(index + 1) * inputs), first);
                }
            }
            copy(maps.second.get(index * others..(index + 1) * others), second);
        }
    }
}

fn copy(from: Option<&[f32]>, to: &mut [f32]) {
    for (to, &from) in to.iter_mut().zip(from.unwrap_or_default()) {
        *to = from;
    }
}

/// Takes one row of a convolution's map into one row of the pooled output.
fn max_into_row(row: &[f32], channels: usize, window: Window, out: &mut [f32]) {
    let width = row.len().checked_div(channels).unwrap_or(0);
    for (column, out) in rows_mut(out, channels).enumerate() {
        let start = column * window.stride;
        let first = start.saturating_sub(window.padding);
        let end = (start + window.kernel).saturating_sub(window.padding).min(width);
        let pixels = row.get(first * channels..end * channels).unwrap_or_default();
        for pixel in crate::rows::rows(pixels, channels) {
            for (out, &v) in out.iter_mut().zip(pixel) {
                *out = if v > *out { v } else { *out };
            }
        }
    }
}
