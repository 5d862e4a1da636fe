//! The display: which panel, and how it is connected.

use embassy_rp::gpio::{Level, Output};
use embassy_rp::spi::{self, Spi};
use mipidsi::models::ST7789;
use mipidsi::options::{ColorInversion, Rotation};
use picovit_app::Screen;
use picovit_board::{Panel, WIRE_BYTES};

use crate::pins;

/// The panel: 240x320, mounted a quarter turn round; 240x240 with `Rotation::Deg0` is the square one.
const PANEL: Panel =
    Panel { size: (240, 320), rotation: Rotation::Deg90, inversion: ColorInversion::Inverted };
/// Clock of the bus, Hz; long wires want less.
const FREQUENCY: u32 = 37_500_000;

/// Memory for the rows that are drawn at a time.
pub const BAND_BYTES: usize = PANEL.band_bytes(8);

/// Switches it on.
pub fn open(
    pins: pins::Display,
    band: &'static mut [u8; BAND_BYTES],
    wire: &'static mut [u8; WIRE_BYTES],
) -> Option<impl Screen> {
    let mut config = spi::Config::default();
    config.frequency = FREQUENCY;
    // Mode 3: square panels without CS are always selected and count the clock's edges from a high level
    // on. Those with CS take a bit with its rising edge in either mode.
    config.polarity = spi::Polarity::IdleHigh;
    config.phase = spi::Phase::CaptureOnSecondTransition;
    let bus = Spi::new_blocking_txonly(pins.spi, pins.sck, pins.mosi, config);
    // On for good: a pin that is dropped lets go.
    core::mem::forget(Output::new(pins.light, Level::High));
    let select = Output::new(pins.cs, Level::High);
    let data = Output::new(pins.dc, Level::Low);
    let reset = Output::new(pins.reset, Level::High);
    PANEL.open(ST7789, bus, (select, data, reset), band, wire)
}
