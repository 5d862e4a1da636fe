//! The control bus, before anybody uses it.

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;

/// Clocks until a sensor has told what it was asked for: a byte and its acknowledgement.
const CLOCKS: usize = 9;
/// Half a period of the clock: 100 kHz.
const HALF_US: u32 = 5;

/// Lets a sensor finish what it was telling when the chip was started again, after which it would hold
/// `sda` low for ever: nine clocks, then a stop condition (the I2C-bus specification, UM10204, section
/// 3.1.16). Both are open drain, with pull-ups. A bus that is free stays so.
pub fn release(scl: &mut impl OutputPin, sda: &mut impl OutputPin, delay: &mut impl DelayNs) {
    let _ = sda.set_high();
    for _ in 0..CLOCKS {
        let _ = scl.set_low();
        delay.delay_us(HALF_US);
        let _ = scl.set_high();
        delay.delay_us(HALF_US);
    }
    let _ = scl.set_low();
    let _ = sda.set_low();
    delay.delay_us(HALF_US);
    let _ = scl.set_high();
    delay.delay_us(HALF_US);
    let _ = sda.set_high();
    delay.delay_us(HALF_US);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::RefCell;
    use core::convert::Infallible;

    use embedded_hal::digital::ErrorType;
    use embedded_hal_mock::eh1::delay::NoopDelay;

    use super::*;

    /// A sensor in the middle of a byte of zeros.
    struct Wires {
        scl: bool,
        sda: bool,
        /// Bits that it still drives.
        left: usize,
        stops: usize,
    }

    impl Wires {
        /// Whether the data line is high: whoever pulls, wins.
        fn data(&self) -> bool {
            self.sda && self.left == 0
        }

        fn set(&mut self, clock: bool, high: bool) {
            let before = self.data();
            if clock {
                self.left -= usize::from(self.scl && !high && self.left > 0);
                self.scl = high;
            } else {
                self.sda = high;
                self.stops += usize::from(self.scl && !before && self.data());
            }
        }
    }

    struct Pin<'a>(&'a RefCell<Wires>, bool);

    impl ErrorType for Pin<'_> {
        type Error = Infallible;
    }

    impl OutputPin for Pin<'_> {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().set(self.1, false);
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().set(self.1, true);
            Ok(())
        }
    }

    #[test]
    fn a_sensor_lets_go_wherever_it_was() {
        for left in 0..=8 {
            let wires = RefCell::new(Wires { scl: true, sda: true, left, stops: 0 });
            release(&mut Pin(&wires, true), &mut Pin(&wires, false), &mut NoopDelay::new());
            let wires = wires.into_inner();
            assert!(wires.scl && wires.data(), "{left}");
            assert_eq!(wires.stops, 1, "{left}");
        }
    }
}
