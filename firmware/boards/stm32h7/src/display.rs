//! The display: which panel, and how it is connected.

use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::spi::{self, Spi};
use embassy_stm32::time::Hertz;
use mipidsi::models::ST7789;
use mipidsi::options::{ColorInversion, Rotation};
use picovit_app::Screen;
use picovit_board::{Panel, WIRE_BYTES};

use crate::pins;

/// The panel: 240x320, mounted a quarter turn round; 240x240 with `Rotation::Deg0` is the square one.
/// An ILI9341 is `mipidsi::models::ILI9341Rgb565` below, with `ColorInversion::Normal`.
const PANEL: Panel =
    Panel { size: (240, 320), rotation: Rotation::Deg90, inversion: ColorInversion::Inverted };
/// Clock of the bus; long wires want less.
const FREQUENCY: Hertz = Hertz(25_000_000);

/// Memory for the rows that are drawn at a time.
pub const BAND_BYTES: usize = PANEL.band_bytes(16);

/// Switches it on.
pub fn open(
    pins: pins::Display,
    band: &'static mut [u8; BAND_BYTES],
    wire: &'static mut [u8; WIRE_BYTES],
) -> Option<impl Screen> {
    let mut config = spi::Config::default();
    config.frequency = FREQUENCY;
    // Square panels without CS are always selected and count the clock's edges from a high level on.
    // Those with CS take a bit with its rising edge in this mode as in mode 0.
    config.mode = spi::MODE_3;
    let bus = Spi::new_blocking_txonly(pins.spi, pins.sck, pins.mosi, config);
    // On for good: a pin that is dropped lets go.
    core::mem::forget(Output::new(pins.light, Level::High, Speed::Low));
    let select = Output::new(pins.cs, Level::High, Speed::VeryHigh);
    let data = Output::new(pins.dc, Level::Low, Speed::VeryHigh);
    let reset = Output::new(pins.reset, Level::High, Speed::Low);
    PANEL.open(ST7789, bus, (select, data, reset), band, wire)
}
