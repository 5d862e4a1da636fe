//! int8 map to the int16 residual stream: through a linear layer where there is one, in the order of
//! its patches where it is unfolded, behind a class token where there is one, plus the positional
//! embedding.

use super::{Layer, Value, unfolds};
use crate::engine::{Probe, Site, Tap};
use crate::format::{EmbedRecord, MAX_WIDTH, Packing, TOKENS, unfolded_index};
use crate::kernels::{Block, add_scaled, add_scaled_channels, copy};
use crate::model::Constants;
use crate::rows::{pairs_mut, rows_mut};
use crate::scratch::Scratch;

/// See [`EmbedRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a> {
    pub(crate) record: &'a EmbedRecord,
    positions: &'a [i16],
    linear: Option<Layer<'a>>,
    /// Zero point and multiplier of each channel, where channels have their own.
    channels: Option<(&'a [i32], &'a [i32])>,
}

impl<'a> Embed<'a> {
    pub(crate) fn decode(r: &'a EmbedRecord, constants: &Constants<'a>) -> Self {
        let plain = r.padding_bytes == [0; 15] && r.head.reserved == 0 && r.shift < 32;
        let (tokens, width) = (r.tokens as usize, r.width as usize);
        let zero = (-128..=127).contains(&r.zero_in);
        // A class token is a row of the positions.
        let class = r.class_token == 0 || (r.class_token == 1 && r.positions != 0 && tokens > 1);
        constants.ensure(plain && zero && class && tokens > 0);
        constants.ensure((1..=MAX_WIDTH).contains(&width));
        let unfolds = unfolds(r.pixels(), r.columns as usize, r.patch as usize);
        let direct = r.weights == 0 && r.in_channels == r.width && r.shift == 0;
        let alike = direct && r.bias == 0 && r.mults == 0;
        let each = direct && r.bias != 0 && r.zero_in == 0 && r.mult == 0;
        let linear = r.weights != 0 && r.in_channels > 0 && r.zero_in == 0 && r.mult == 0;
        constants.ensure(unfolds && (alike || each || linear));
        let positions = match r.positions {
            0 => Default::default(),
            offset => constants.array(offset, &[tokens, width]),
        };
        let layer = [r.weights, r.bias, r.mults];
        let layer =
            linear.then(|| Layer::decode(constants, layer, (width, r.in_channels as usize)));
        let channels = match each {
            true => Some((constants.slice(r.bias, width), constants.slice(r.mults, width))),
            false => None,
        };
        Self { record: r, positions, linear: layer, channels }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a EmbedRecord {
        self.record
    }

    /// Order of the weights.
    pub(crate) fn packing(&self) -> Packing {
        self.linear.map_or(Packing::Portable, |layer| layer.weights.packing)
    }

    /// A map of any height: the tokens are its pixels.
    pub(crate) fn input(&self) -> Value {
        Value::Map {
            height: 1,
            width: self.record.pixels(),
            channels: self.record.in_channels as usize,
        }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Tokens { tokens: self.record.tokens as usize, width: self.record.width as usize }
    }

    #[inline(never)]
    pub(crate) fn run<P: Probe>(
        &self,
        input: &[i8],
        output: &mut [i16],
        scratch: &mut Scratch<'_>,
        tap: &mut Tap<'_, P>,
    ) {
        let r = self.record;
        let (width, channels) = (r.width as usize, r.in_channels as usize);
        // The embedding comes first; the class token is a row of it and complete.
        let positions = self.positions.len().min(output.len());
        let (first, rest) = output.split_at_mut_checked(positions).unwrap_or_default();
        copy(bytemuck::must_cast_slice(self.positions), bytemuck::must_cast_slice_mut(first));
        rest.fill(0);
        let class_values = r.class_token as usize * width;
        let pixels = output.get_mut(class_values..).unwrap_or_default();
        match &self.linear {
            None => {
                for (token, out) in rows_mut(pixels, width).enumerate() {
                    let x = self.pixel(input, token);
                    match self.channels {
                        None => add_scaled(x, r.zero_in, r.mult, out),
                        Some((zeros, mults)) => add_scaled_channels(x, zeros, mults, out),
                    }
                }
            }
            Some(layer) => {
                let memory: &mut [u8] = scratch.take(self.packing().block_bytes(channels));
                let mut block = Block::new(self.packing(), channels, memory);
                for (pair, out) in pairs_mut(pixels, width).enumerate() {
                    for token in 0..TOKENS {
                        block.set(token, self.pixel(input, pair * TOKENS + token));
                    }
                    layer.residual(&block, r.shift as u32, out);
                }
            }
        }
        tap.i16(Site::Output, 0, 0, output);
    }

    /// The pixel that a token is made of.
    fn pixel<'i>(&self, input: &'i [i8], token: usize) -> &'i [i8] {
        let r = self.record;
        let (channels, columns) = (r.in_channels as usize, r.columns as usize);
        let map_rows = r.pixels().checked_div(columns).unwrap_or(0);
        let index = unfolded_index(token, r.patch as usize, map_rows, columns);
        input.get(index * channels..(index + 1) * channels).unwrap_or_default()
    }
}
