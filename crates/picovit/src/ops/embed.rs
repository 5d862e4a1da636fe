//! int8 tokens to the int16 residual stream, with the positional embedding.

use super::{Value, ensure};
use crate::engine::{Probe, Site, Tap};
use crate::error::Error;
use crate::format::{EmbedRecord, MAX_WIDTH};
use crate::kernels::{mulhi, sat16};
use crate::model::Constants;

/// See [`EmbedRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a> {
    pub(crate) record: &'a EmbedRecord,
    positions: &'a [i16],
}

impl<'a> Embed<'a> {
    pub(crate) fn decode(r: &'a EmbedRecord, constants: Constants<'a>) -> Result<Self, Error> {
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        let (tokens, width) = (r.tokens as usize, r.width as usize);
        let zero = (-128..=127).contains(&r.zero_in);
        ensure(plain && zero && tokens > 0 && (1..=MAX_WIDTH).contains(&width), constants)?;
        let positions = match r.positions {
            0 => Default::default(),
            offset => constants.slice(offset, &[tokens, width])?,
        };
        Ok(Self { record: r, positions })
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
            width: self.record.tokens as usize,
            channels: self.record.width as usize,
        }
    }

    pub(crate) fn output(&self) -> Value {
        Value::Tokens { tokens: self.record.tokens as usize, width: self.record.width as usize }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[i8], output: &mut [i16], tap: &mut Tap<'_, P>) {
        let r = self.record;
        let stream = |x: i8| mulhi((x as i32 - r.zero_in) << 16, r.mult);
        if r.positions == 0 {
            for (&x, out) in input.iter().zip(&mut *output) {
                *out = sat16(stream(x));
            }
        } else {
            for ((&x, &position), out) in input.iter().zip(self.positions).zip(&mut *output) {
                *out = sat16(stream(x).wrapping_add(position as i32));
            }
        }
        tap.i16(Site::Output, 0, 0, output);
    }
}
