//! An ST7789 display on SPI.

use embassy_rp::gpio::{Level, Output};
use embassy_rp::spi::{self, Spi};
use embassy_time::Delay;
use embedded_graphics::geometry::Size;
use embedded_hal_bus::spi::ExclusiveDevice;
use mipidsi::Builder;
use mipidsi::interface::SpiInterface;
use mipidsi::models::ST7789;
use mipidsi::options::{ColorInversion, Orientation, Rotation};
use picovit_app::screen::PIXEL_BYTES;
use picovit_app::{Banded, Blit, Screen};

use crate::pins;

/// The panel as it is wired inside; 240x240 for the square one.
const PANEL: (u16, u16) = (240, 320);
/// How it is mounted. With a quarter turn, width and height change places.
const ROTATION: Rotation = Rotation::Deg90;
/// Of IPS panels, colours are inverted.
const INVERSION: ColorInversion = ColorInversion::Inverted;
/// Clock of the bus, Hz; long wires want less.
const FREQUENCY: u32 = 37_500_000;

/// The screen as it is drawn on.
const SIZE: Size = match ROTATION {
    Rotation::Deg90 | Rotation::Deg270 => Size::new(PANEL.1 as u32, PANEL.0 as u32),
    Rotation::Deg0 | Rotation::Deg180 => Size::new(PANEL.0 as u32, PANEL.1 as u32),
};
/// Rows drawn at a time.
const BAND_ROWS: usize = 8;
/// Memory for them.
pub const BAND_BYTES: usize = SIZE.width as usize * BAND_ROWS * PIXEL_BYTES;
/// Memory for what is about to go over the wire.
pub const WIRE_BYTES: usize = 256;

/// Switches the display on. An error is one of the settings above.
pub fn open(
    pins: pins::Display,
    band: &'static mut [u8; BAND_BYTES],
    wire: &'static mut [u8; WIRE_BYTES],
) -> Option<impl Screen> {
    let mut config = spi::Config::default();
    config.frequency = FREQUENCY;
    let bus = Spi::new_blocking_txonly(pins.spi, pins.sck, pins.mosi, config);
    let Ok(device) = ExclusiveDevice::new_no_delay(bus, Output::new(pins.cs, Level::High));
    let interface = SpiInterface::new(device, Output::new(pins.dc, Level::Low), wire);
    let display = Builder::new(ST7789, interface)
        .reset_pin(Output::new(pins.reset, Level::High))
        .display_size(PANEL.0, PANEL.1)
        .orientation(Orientation::new().rotate(ROTATION))
        .invert_colors(INVERSION)
        .init(&mut Delay)
        .ok()?;
    // On for good: dropping the pin would switch it off.
    core::mem::forget(Output::new(pins.light, Level::High));
    Some(Banded::new(SIZE, band, Blit(display)))
}
