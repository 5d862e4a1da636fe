//! Cameras that fit the same connectors but answer at addresses of their own.

use embedded_hal::i2c::I2c;

/// What is written to a camera before its identity is read, and where that is.
struct Other {
    /// Its address on the bus, 7 bits.
    address: u8,
    /// A register to write first, if that is needed.
    before: Option<[u8; 2]>,
    /// Registers that say who it is, high byte first; as long as its addresses of registers are.
    identity_at: [&'static [u8]; 2],
}

const OTHERS: [Other; 2] = [
    // OV2640: of its two banks the sensor's, which is chosen by register 0xff.
    Other { address: 0x30, before: Some([0xff, 0x01]), identity_at: [&[0x0a], &[0x0b]] },
    // OV5640: its registers have addresses of 16 bits.
    Other { address: 0x3c, before: None, identity_at: [&[0x30, 0x0a], &[0x30, 0x0b]] },
];

/// What the first of them says it is that answers.
pub(crate) fn find<B: I2c>(bus: &mut B) -> Option<u16> {
    OTHERS.iter().find_map(|other| other.identify(bus).ok())
}

/// Its name, if somebody may have connected it by mistake.
pub(crate) const fn reason(identity: u16) -> &'static str {
    match identity {
        0x2640..0x2650 => "another camera: OV2640",
        0x5640 => "another camera: OV5640",
        0x7673 => "another camera: OV7670",
        0x7720..0x7730 => "another camera: OV7725",
        _ => "another camera",
    }
}

impl Other {
    fn identify<B: I2c>(&self, bus: &mut B) -> Result<u16, B::Error> {
        if let Some(before) = self.before {
            bus.write(self.address, &before)?;
        }
        let [mut high, mut low] = [[0]; 2];
        let [at_high, at_low] = self.identity_at;
        for (at, value) in [(at_high, &mut high), (at_low, &mut low)] {
            bus.write(self.address, at)?;
            bus.read(self.address, value)?;
        }
        let ([high], [low]) = (high, low);
        Ok(u16::from_be_bytes([high, low]))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::delay::NoopDelay;
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use crate::{OV7670, OV7725, Sensor, SensorError};

    /// Nobody at an address.
    fn nobody(address: u8, wrote: &[u8]) -> Transaction {
        Transaction::write(address, wrote.to_vec())
            .with_error(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))
    }

    /// A sensor is looked for until it counts as missing, then this happens on the bus.
    fn start(sensor: &Sensor, then: Vec<Transaction>) -> SensorError {
        let silence = nobody(sensor.address, &[sensor.identity_at[0]]);
        let expected = [vec![silence; 5], then].concat();
        let mut bus = Mock::new(&expected);
        let outcome = sensor.start(&mut bus, &mut NoopDelay::new());
        bus.done();
        outcome.unwrap_err()
    }

    fn reads(address: u8, at: &[u8], value: u8) -> [Transaction; 2] {
        [Transaction::write(address, at.to_vec()), Transaction::read(address, vec![value])]
    }

    #[test]
    fn cameras_at_other_addresses_are_named() {
        let bank = Transaction::write(0x30, vec![0xff, 0x01]);
        let ov2640 =
            [&[bank][..], &reads(0x30, &[0x0a], 0x26), &reads(0x30, &[0x0b], 0x42)].concat();
        let ov5640 = [
            &[nobody(0x30, &[0xff, 0x01])][..],
            &reads(0x3c, &[0x30, 0x0a], 0x56),
            &reads(0x3c, &[0x30, 0x0b], 0x40),
        ]
        .concat();
        for (then, found, reason) in
            [(ov2640, 0x2642, "another camera: OV2640"), (ov5640, 0x5640, "another camera: OV5640")]
        {
            let error = start(&OV7725, then);
            assert_eq!(error, SensorError::Other { found, expected: OV7725.identity });
            assert_eq!(error.reason(), reason);
            assert!(OV7725.remedy(error).contains("OV7725"), "{}", OV7725.remedy(error));
        }
    }

    #[test]
    fn nobody_anywhere_is_missing() {
        let then = vec![nobody(0x30, &[0xff, 0x01]), nobody(0x3c, &[0x30, 0x0a])];
        let error = start(&OV7670, then);
        assert_eq!(error, SensorError::Missing);
        assert!(OV7670.remedy(error).contains("XCLK"), "{}", OV7670.remedy(error));
    }
}
