//! int8 map to the int16 residual stream: through a linear layer where there is one, in the order of
//! its patches where it is unfolded, behind a class token where there is one, plus the positional
//! embedding.

use super::{Value, ensure, unfolds};
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::{EmbedRecord, MAX_WIDTH, unfolded_index};
use crate::kernels::{dot, mulhi, sat16};
use crate::model::Constants;
use crate::rows::{rows, rows_mut};

/// See [`EmbedRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a> {
    pub(crate) record: &'a EmbedRecord,
    positions: &'a [i16],
    linear: Option<Linear<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Linear<'a> {
    weights: &'a [i8],
    bias: &'a [i32],
    mults: &'a [i32],
}

impl<'a> Embed<'a> {
    pub(crate) fn decode(r: &'a EmbedRecord, constants: Constants<'a>) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 15] && r.head.reserved == 0 && r.shift < 32;
        let (tokens, width) = (r.tokens as usize, r.width as usize);
        let zero = (-128..=127).contains(&r.zero_in);
        // A class token is a row of the positions.
        let class = r.class_token == 0 || (r.class_token == 1 && r.positions != 0 && tokens > 1);
        ensure(plain && zero && class && tokens > 0, constants)?;
        ensure((1..=MAX_WIDTH).contains(&width), constants)?;
        let unfolds = unfolds(r.pixels(), r.columns as usize, r.patch as usize);
        let direct = r.weights == 0 && r.in_channels == r.width && r.bias == 0 && r.mults == 0;
        let linear = r.weights != 0 && r.in_channels > 0 && r.zero_in == 0 && r.mult == 0;
        ensure(unfolds && ((direct && r.shift == 0) || linear), constants)?;
        let positions = match r.positions {
            0 => Default::default(),
            offset => constants.slice(offset, &[tokens, width])?,
        };
        let layer = Linear {
            weights: match r.weights {
                0 => Default::default(),
                offset => constants.slice(offset, &[width, r.in_channels as usize])?,
            },
            bias: if linear { constants.slice(r.bias, &[width])? } else { Default::default() },
            mults: if linear { constants.slice(r.mults, &[width])? } else { Default::default() },
        };
        Ok(Self { record: r, positions, linear: linear.then_some(layer) })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a EmbedRecord {
        self.record
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

    pub(crate) fn run<P: Probe>(&self, input: &[i8], output: &mut [i16], tap: &mut Tap<'_, P>) {
        let r = self.record;
        let (width, channels) = (r.width as usize, r.in_channels as usize);
        let (patch, columns) = (r.patch as usize, r.columns as usize);
        let map_rows = r.pixels().checked_div(columns).unwrap_or(0);
        let class_values = r.class_token as usize * width;
        let (class, pixels) = output.split_at_mut_checked(class_values).unwrap_or_default();
        for (out, &position) in class.iter_mut().zip(self.positions) {
            *out = position;
        }
        let positions = self.positions.get(class_values..).unwrap_or_default();
        for (token, out) in rows_mut(pixels, width).enumerate() {
            let index = unfolded_index(token, patch, map_rows, columns);
            let x = input.get(index * channels..(index + 1) * channels).unwrap_or_default();
            let positions = positions.get(token * width..(token + 1) * width);
            self.token(x, positions.unwrap_or_default(), out);
        }
        tap.i16(Site::Output, 0, 0, output);
    }

    /// One token; `positions` may be empty.
    fn token(&self, x: &[i8], positions: &[i16], out: &mut [i16]) {
        let r = self.record;
        let mut positions = positions.iter();
        let mut add =
            |value: i32| sat16(value.wrapping_add(positions.next().copied().unwrap_or(0) as i32));
        match &self.linear {
            None => {
                for (&x, out) in x.iter().zip(out) {
                    *out = add(mulhi((x as i32 - r.zero_in) << 16, r.mult));
                }
            }
            Some(layer) => {
                let constants = rows(layer.weights, x.len()).zip(layer.bias).zip(layer.mults);
                for (out, ((weights, &bias), &mult)) in out.iter_mut().zip(constants) {
                    let acc = dot(bias, weights, x).wrapping_shl(r.shift as u32);
                    *out = add(mulhi(acc, mult));
                }
            }
        }
    }
}
