//! Map to residual stream.

use crate::engine::{Probe, Site, Tap};
use crate::format::float::FloatEmbedRecord;
use crate::format::{MAX_WIDTH, unfolded_index};
use crate::kernels::float::{affine_f16, widen};
use crate::model::Constants;
use crate::ops::{Value, unfolds};
use crate::rows::rows_mut;

/// See [`FloatEmbedRecord`].
#[derive(Clone, Copy, Debug)]
pub struct FloatEmbed<'a> {
    pub(crate) record: &'a FloatEmbedRecord,
    positions: &'a [u16],
    linear: Option<(&'a [u16], &'a [f32])>,
}

impl<'a> FloatEmbed<'a> {
    pub(crate) fn decode(r: &'a FloatEmbedRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 18] && r.reserved == 0 && r.head.reserved == 0;
        let (tokens, width) = (r.tokens as usize, r.width as usize);
        let class = r.class_token == 0 || (r.class_token == 1 && r.positions != 0 && tokens > 1);
        let unfolds = unfolds(r.pixels(), r.columns as usize, r.patch as usize);
        constants.ensure(plain && class && unfolds && tokens > 0);
        constants.ensure((1..=MAX_WIDTH).contains(&width));
        let inputs = r.in_channels as usize;
        let linear = match (r.weights, r.bias) {
            (0, 0) => {
                constants.ensure(inputs == width);
                None
            }
            (weights, bias) => {
                constants.ensure(inputs > 0);
                let weights = constants.array(weights, &[width, inputs]);
                Some((weights, constants.slice(bias, width)))
            }
        };
        let positions = match r.positions {
            0 => Default::default(),
            offset => constants.array(offset, &[tokens, width]),
        };
        Self { record: r, positions, linear }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a FloatEmbedRecord {
        self.record
    }

    /// A map of any height: the tokens are its pixels.
    pub(crate) fn input(&self) -> Value {
        Value::FloatMap {
            height: 1,
            width: self.record.pixels(),
            channels: self.record.in_channels as usize,
        }
    }

    pub(crate) fn output(&self) -> Value {
        let (tokens, width) = (self.record.tokens as usize, self.record.width as usize);
        Value::FloatTokens { tokens, width }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[f32], output: &mut [f32], tap: &mut Tap<'_, P>) {
        let r = self.record;
        let (width, channels) = (r.width as usize, r.in_channels as usize);
        let (patch, columns) = (r.patch as usize, r.columns as usize);
        let map_rows = r.pixels().checked_div(columns).unwrap_or(0);
        let class = r.class_token as usize * width;
        let (first, pixels) = output.split_at_mut_checked(class).unwrap_or_default();
        first.fill(0.0);
        for (token, out) in rows_mut(pixels, width).enumerate() {
            let index = unfolded_index(token, patch, map_rows, columns);
            let x = input.get(index * channels..(index + 1) * channels).unwrap_or_default();
            match self.linear {
                Some((weights, bias)) => affine_f16(weights, bias, x, out),
                None => {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = x;
                    }
                }
            }
        }
        for (out, &position) in output.iter_mut().zip(self.positions) {
            *out += widen(position);
        }
        tap.f32(Site::Output, 0, 0, output);
    }
}
