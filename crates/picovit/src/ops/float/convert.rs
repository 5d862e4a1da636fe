//! Between integers and floats.

use crate::engine::{Probe, Site, Tap};
use crate::format::float::{Conversion, ConvertRecord};
use crate::kernels::float::quantize;
use crate::model::Constants;
use crate::ops::{Value, cast, cast_mut};
use crate::rows::{rows, rows_mut};

/// See [`ConvertRecord`].
#[derive(Clone, Copy, Debug)]
pub struct Convert<'a> {
    pub(crate) record: &'a ConvertRecord,
    conversion: Conversion,
    scale: &'a [f32],
    zero: &'a [f32],
}

impl<'a> Convert<'a> {
    pub(crate) fn decode(r: &'a ConvertRecord, constants: &Constants<'a>) -> Self {
        let conversion = constants.known(Conversion::from_u16(r.conversion));
        let plain = r.padding_bytes == [0; 20] && r.head.reserved == 0;
        let extent = match conversion {
            Conversion::MapToFloat | Conversion::MapToInt => r.height > 0 && r.columns > 0,
            Conversion::TokensToFloat | Conversion::TokensToInt => r.height > 0 && r.columns == 1,
            Conversion::PooledToFloat | Conversion::PooledToInt => (r.height, r.columns) == (1, 1),
        };
        constants.ensure(plain && extent && r.width > 0);
        let width = r.width as usize;
        Self {
            record: r,
            conversion,
            scale: constants.slice(r.scale, width),
            zero: constants.slice(r.zero, width),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &'a ConvertRecord {
        self.record
    }

    /// The integer and the float value.
    fn values(&self) -> (Value, Value) {
        let r = self.record;
        let (height, columns, width) = (r.height as usize, r.columns as usize, r.width as usize);
        match self.conversion {
            Conversion::MapToFloat | Conversion::MapToInt => (
                Value::Map { height, width: columns, channels: width },
                Value::FloatMap { height, width: columns, channels: width },
            ),
            Conversion::TokensToFloat | Conversion::TokensToInt => (
                Value::Tokens { tokens: height, width },
                Value::FloatTokens { tokens: height, width },
            ),
            Conversion::PooledToFloat | Conversion::PooledToInt => {
                (Value::Pooled { width }, Value::FloatPooled { width })
            }
        }
    }

    fn widens(&self) -> bool {
        use Conversion::{MapToFloat, PooledToFloat, TokensToFloat};
        matches!(self.conversion, MapToFloat | TokensToFloat | PooledToFloat)
    }

    pub(crate) fn input(&self) -> Value {
        let (integer, float) = self.values();
        if self.widens() { integer } else { float }
    }

    pub(crate) fn output(&self) -> Value {
        let (integer, float) = self.values();
        if self.widens() { float } else { integer }
    }

    pub(crate) fn run<P: Probe>(&self, input: &[u8], output: &mut [u8], tap: &mut Tap<'_, P>) {
        match self.conversion {
            Conversion::MapToFloat => {
                let values = cast::<i8>(input).iter().map(|&q| q as f32);
                self.widen(values, cast_mut(output), tap);
            }
            Conversion::TokensToFloat | Conversion::PooledToFloat => {
                let values = cast::<i16>(input).iter().map(|&q| q as f32);
                self.widen(values, cast_mut(output), tap);
            }
            Conversion::MapToInt => {
                let output: &mut [i8] = cast_mut(output);
                self.narrow(cast(input), output, (-128.0, 127.0), |q| q as i8);
                tap.i8(Site::Output, 0, 0, output);
            }
            Conversion::TokensToInt | Conversion::PooledToInt => {
                let output: &mut [i16] = cast_mut(output);
                self.narrow(cast(input), output, (-32768.0, 32767.0), |q| q as i16);
                tap.i16(Site::Output, 0, 0, output);
            }
        }
    }

    fn widen<P: Probe>(
        &self,
        mut input: impl Iterator<Item = f32>,
        output: &mut [f32],
        tap: &mut Tap<'_, P>,
    ) {
        for out in rows_mut(output, self.scale.len()) {
            for ((out, &scale), &zero) in out.iter_mut().zip(self.scale).zip(self.zero) {
                *out = (input.next().unwrap_or(0.0) - zero) * scale;
            }
        }
        tap.f32(Site::Output, 0, 0, output);
    }

    fn narrow<T>(
        &self,
        input: &[f32],
        output: &mut [T],
        (low, high): (f32, f32),
        make: impl Fn(i32) -> T,
    ) {
        let width = self.scale.len();
        for (x, out) in rows(input, width).zip(rows_mut(output, width)) {
            let constants = self.scale.iter().zip(self.zero);
            for ((out, &x), (&scale, &zero)) in out.iter_mut().zip(x).zip(constants) {
                *out = make(quantize(x / scale + zero, low, high));
            }
        }
    }
}
