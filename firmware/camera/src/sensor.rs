//! A sensor as a table, and the bus that brings it to the chip.

use core::fmt;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{Error as _, ErrorKind, I2c};
use picovit::image::PixelFormat;

use crate::others;

/// Registers with what they are to hold, in the order of writing.
pub type Registers = [(u8, u8)];

/// Tries before a sensor counts as missing: some need a while after their supply is there.
const TRIES: usize = 5;
/// Between them.
const TRY_AGAIN_MS: u32 = 20;

/// A camera sensor.
#[derive(Debug)]
pub struct Sensor {
    /// What is printed on it.
    pub name: &'static str,
    /// What to do where another one is connected, short enough for a display.
    pub wanted: &'static str,
    /// Its address on the bus, 7 bits.
    pub address: u8,
    /// Registers that say who it is, high byte first.
    pub identity_at: [u8; 2],
    /// What they say.
    pub identity: u16,
    /// Bits of it that say only which revision it is.
    pub revisions: u16,
    /// The register and value that reset it.
    pub reset: (u8, u8),
    /// What makes it send frames as below, group by group.
    pub setup: &'static [&'static Registers],
    /// Columns of a frame.
    pub width: usize,
    /// Rows of a frame.
    pub height: usize,
    /// Its pixels, in the order in which their bytes come.
    pub format: PixelFormat,
}

/// Why a sensor cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SensorError {
    /// Nobody answers at its address.
    Missing,
    /// Another sensor does.
    Other {
        /// What it says it is.
        found: u16,
        /// What was expected.
        expected: u16,
    },
    /// The bus failed: a line is held, or there are no pull-ups.
    Bus,
    /// It answered, but does not take its set-up.
    Refused {
        /// The register.
        register: u8,
    },
}

impl SensorError {
    /// In words, short enough for a display.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "camera does not answer",
            Self::Other { found, .. } => others::reason(*found),
            Self::Bus => "camera bus: line held",
            Self::Refused { .. } => "camera refuses set-up",
        }
    }
}

impl fmt::Display for SensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "no camera answers: are its clock, its supply and SDA and SCL connected?",
            ),
            Self::Other { found, expected } => {
                write!(f, "the camera says it is {found:#06x}, not {expected:#06x}")
            }
            Self::Bus => {
                f.write_str("the camera's bus failed: SDA or SCL is held low, or has no pull-up")
            }
            Self::Refused { register } => {
                write!(f, "the camera does not take register {register:#04x}")
            }
        }
    }
}

impl core::error::Error for SensorError {}

impl Sensor {
    /// Bytes of a frame.
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        self.width * self.height * self.format.bytes()
    }

    /// What to do about an error, short enough for a display.
    #[must_use]
    pub const fn remedy(&self, error: SensorError) -> &'static str {
        match error {
            SensorError::Missing => "check supply, clock (XCLK), SDA and SCL",
            SensorError::Other { .. } => self.wanted,
            SensorError::Bus => "check SDA and SCL: a short, or no pull-ups",
            SensorError::Refused { .. } => "shorten SDA and SCL, check supply",
        }
    }

    /// Looks who is there, resets it and sets it up. It needs its clock for that.
    ///
    /// # Errors
    /// [`SensorError`].
    pub fn start<B: I2c>(&self, bus: &mut B, delay: &mut impl DelayNs) -> Result<(), SensorError> {
        self.find(bus, delay)?;
        let (register, value) = self.reset;
        self.write(bus, register, value)?;
        // The data sheets ask for 1 ms, and for some frames until exposure has settled.
        delay.delay_ms(10);
        for group in self.setup {
            for &(register, value) in *group {
                self.write(bus, register, value)?;
            }
        }
        Ok(())
    }

    /// Waits until somebody answers, and checks who.
    fn find<B: I2c>(&self, bus: &mut B, delay: &mut impl DelayNs) -> Result<(), SensorError> {
        let mut outcome = Err(SensorError::Missing);
        for _ in 0..TRIES {
            outcome = self.identify(bus);
            match outcome {
                Err(SensorError::Missing) => delay.delay_ms(TRY_AGAIN_MS),
                _ => break,
            }
        }
        let found = match outcome {
            // One that answers elsewhere says more than nobody.
            Err(SensorError::Missing) => others::find(bus).ok_or(SensorError::Missing)?,
            outcome => outcome?,
        };
        if (found ^ self.identity) & !self.revisions == 0 {
            return Ok(());
        }
        Err(SensorError::Other { found, expected: self.identity })
    }

    fn identify<B: I2c>(&self, bus: &mut B) -> Result<u16, SensorError> {
        let [high, low] = self.identity_at;
        Ok(u16::from_be_bytes([self.read(bus, high)?, self.read(bus, low)?]))
    }

    /// Reads a register. In two transfers: the bus of these sensors knows no repeated start.
    fn read<B: I2c>(&self, bus: &mut B, register: u8) -> Result<u8, SensorError> {
        let mut value = [0];
        bus.write(self.address, &[register]).map_err(absent)?;
        bus.read(self.address, &mut value).map_err(absent)?;
        let [value] = value;
        Ok(value)
    }

    fn write<B: I2c>(&self, bus: &mut B, register: u8, value: u8) -> Result<(), SensorError> {
        bus.write(self.address, &[register, value]).map_err(|error| match error.kind() {
            // It has answered before.
            ErrorKind::NoAcknowledge(_) => SensorError::Refused { register },
            // Some drivers do not say what was not acknowledged, others call a line that is held so.
            ErrorKind::Other => match self.identify(bus) {
                Err(SensorError::Bus) => SensorError::Bus,
                _ => SensorError::Refused { register },
            },
            _ => SensorError::Bus,
        })
    }
}

/// What an error of the bus means.
fn absent<E: embedded_hal::i2c::Error>(error: E) -> SensorError {
    match error.kind() {
        ErrorKind::NoAcknowledge(_) => SensorError::Missing,
        _ => SensorError::Bus,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use embedded_hal::i2c::NoAcknowledgeSource;
    use embedded_hal_mock::eh1::delay::NoopDelay;
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;
    use crate::{OV7670, OV7725};

    fn answers(sensor: &Sensor, identity: u16) -> Vec<Transaction> {
        let [high, low] = identity.to_be_bytes();
        let [at_high, at_low] = sensor.identity_at;
        [(at_high, high), (at_low, low)]
            .into_iter()
            .flat_map(|(at, value)| {
                [
                    Transaction::write(sensor.address, vec![at]),
                    Transaction::read(sensor.address, vec![value]),
                ]
            })
            .collect()
    }

    fn writes(sensor: &Sensor) -> Vec<Transaction> {
        let setup = sensor.setup.iter().flat_map(|group| group.iter());
        [&sensor.reset]
            .into_iter()
            .chain(setup)
            .map(|&(register, value)| Transaction::write(sensor.address, vec![register, value]))
            .collect()
    }

    fn silence(sensor: &Sensor) -> Transaction {
        Transaction::write(sensor.address, vec![sensor.identity_at[0]])
            .with_error(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))
    }

    fn start(sensor: &Sensor, expected: &[Transaction]) -> Result<(), SensorError> {
        let mut bus = Mock::new(expected);
        let outcome = sensor.start(&mut bus, &mut NoopDelay::new());
        bus.done();
        outcome
    }

    #[test]
    fn the_right_sensor_gets_its_registers_in_order() {
        for sensor in [&OV7670, &OV7725] {
            let expected = [answers(sensor, sensor.identity), writes(sensor)].concat();
            assert_eq!(start(sensor, &expected), Ok(()), "{}", sensor.name);
        }
    }

    #[test]
    fn another_sensor_is_named_and_left_alone() {
        let expected = answers(&OV7670, OV7725.identity);
        let error = start(&OV7670, &expected).unwrap_err();
        let (found, expected) = (OV7725.identity, OV7670.identity);
        assert_eq!(error, SensorError::Other { found, expected });
        assert!(std::format!("{error}").contains("0x7721"), "{error}");
        assert_eq!(error.reason(), "another camera: OV7725");
        assert!(OV7670.remedy(error).contains("OV7670"), "{}", OV7670.remedy(error));
    }

    #[test]
    fn every_revision_of_a_sensor_is_taken() {
        for identity in [0x7720, 0x7722] {
            let expected = [answers(&OV7725, identity), writes(&OV7725)].concat();
            assert_eq!(start(&OV7725, &expected), Ok(()), "{identity:#x}");
        }
        let expected = answers(&OV7670, 0x7672);
        assert!(matches!(start(&OV7670, &expected), Err(SensorError::Other { found: 0x7672, .. })));
    }

    #[test]
    fn a_late_sensor_is_waited_for() {
        let late = [vec![silence(&OV7670)], answers(&OV7670, OV7670.identity), writes(&OV7670)];
        assert_eq!(start(&OV7670, &late.concat()), Ok(()));
    }

    #[test]
    fn a_bus_that_fails_is_not_a_missing_sensor() {
        let held = Transaction::write(OV7670.address, vec![OV7670.identity_at[0]])
            .with_error(ErrorKind::ArbitrationLoss);
        assert_eq!(start(&OV7670, &[held]), Err(SensorError::Bus));
    }

    #[test]
    fn every_error_has_a_reason_and_a_remedy_that_fit_a_display() {
        let found = OV7725.identity;
        for sensor in [&OV7670, &OV7725] {
            let mut seen = Vec::new();
            for error in [
                SensorError::Missing,
                SensorError::Other { found, expected: sensor.identity },
                SensorError::Bus,
                SensorError::Refused { register: 0xff },
            ] {
                let texts = (error.reason(), sensor.remedy(error));
                assert!(texts.0.len() < 40 && texts.1.len() < 60, "{texts:?}");
                assert!(!seen.contains(&texts.1), "{texts:?}");
                seen.push(texts.1);
            }
        }
    }

    #[test]
    fn a_refused_register_is_named() {
        let (register, value) = OV7670.reset;
        let error = SensorError::Refused { register };
        let held = Transaction::write(OV7670.address, vec![OV7670.identity_at[0]])
            .with_error(ErrorKind::Other);
        for (kind, then, error) in [
            (ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data), vec![], error),
            (ErrorKind::Other, answers(&OV7670, OV7670.identity), error),
            (ErrorKind::Other, vec![held], SensorError::Bus),
            (ErrorKind::ArbitrationLoss, vec![], SensorError::Bus),
        ] {
            let write = Transaction::write(OV7670.address, vec![register, value]);
            let refused = write.with_error(kind);
            let expected = [answers(&OV7670, OV7670.identity), vec![refused], then].concat();
            assert_eq!(start(&OV7670, &expected), Err(error));
        }
    }

    #[test]
    fn tables_set_no_register_twice() {
        for sensor in [&OV7670, &OV7725] {
            let mut seen = Vec::new();
            for &(register, value) in sensor.setup.iter().flat_map(|group| group.iter()) {
                assert!(!seen.contains(&register), "{} {register:#04x}", sensor.name);
                let (reset, bit) = sensor.reset;
                assert!(register != reset || value & bit == 0, "{}: it would reset", sensor.name);
                seen.push(register);
            }
        }
    }

    #[test]
    fn frames_are_as_long_as_the_boards_make_room_for() {
        assert_eq!(OV7670.frame_bytes(), 38_400);
        assert_eq!(OV7725.frame_bytes(), 38_400);
    }
}
