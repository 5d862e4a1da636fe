//! Camera sensors with a parallel port (DVP), as the boards use them: who is on the control bus, and
//! how it is set up.
//!
//! A [`Sensor`] is a table: address, identity, registers, and what the frames are then. The bus is any
//! I2C of `embedded-hal`; SCCB, as the sensors call theirs, is I2C without a repeated start. Pixels are
//! the board's concern.
//!
//! ```no_run
//! use picovit_camera_sensor::OV7670;
//! # fn example(mut i2c: impl embedded_hal::i2c::I2c, mut delay: impl embedded_hal::delay::DelayNs) {
//! // The sensor answers only while it has a clock.
//! match OV7670.start(&mut i2c, &mut delay) {
//!     Ok(()) => { /* frames of OV7670.width x OV7670.height are coming */ }
//!     Err(error) => { /* error.reason() is for people */ }
//! }
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod bus;
mod others;
mod ov7670;
mod ov7725;
#[cfg(any(feature = "pio", test))]
pub mod port;
mod sensor;

pub use bus::release;
pub use ov7670::OV7670;
pub use ov7725::OV7725;
pub use sensor::{Registers, Sensor, SensorError};
