//! A display on SPI.

use embassy_time::Delay;
use embedded_graphics::geometry::Size;
use embedded_graphics::pixelcolor::Rgb565;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiBus;
use embedded_hal_bus::spi::ExclusiveDevice;
use mipidsi::Builder;
use mipidsi::interface::SpiInterface;
use mipidsi::models::Model;
use mipidsi::options::{ColorInversion, Orientation, Rotation};
use picovit_app::screen::PIXEL_BYTES;
use picovit_app::{Banded, Blit, Screen};

/// Memory for what is about to go over the wire.
pub const WIRE_BYTES: usize = 256;

/// A panel behind a controller that `mipidsi` knows.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Columns and rows as they are wired inside: 240x320, or 240x240 for the square one.
    pub size: (u16, u16),
    /// How it is mounted. With a quarter turn, columns and rows change places.
    pub rotation: Rotation,
    /// IPS panels show colours inverted unless told so.
    pub inversion: ColorInversion,
}

impl Panel {
    /// The screen as it is drawn on.
    #[must_use]
    pub const fn screen(&self) -> Size {
        let (columns, rows) = (self.size.0 as u32, self.size.1 as u32);
        match self.rotation {
            Rotation::Deg90 | Rotation::Deg270 => Size::new(rows, columns),
            Rotation::Deg0 | Rotation::Deg180 => Size::new(columns, rows),
        }
    }

    /// Bytes of so many rows of the screen.
    #[must_use]
    pub const fn band_bytes(&self, rows: usize) -> usize {
        self.screen().width as usize * rows * PIXEL_BYTES
    }

    /// Switches the display on. `band` holds at least a row; `None` if the controller has no panel of
    /// this size, or a pin fails.
    pub fn open<'b>(
        &self,
        controller: impl Model<ColorFormat = Rgb565>,
        bus: impl SpiBus,
        (select, data, reset): (impl OutputPin, impl OutputPin, impl OutputPin),
        band: &'b mut [u8],
        wire: &'b mut [u8; WIRE_BYTES],
    ) -> Option<impl Screen> {
        let device = ExclusiveDevice::new(bus, select, Delay).ok()?;
        let display = Builder::new(controller, SpiInterface::new(device, data, wire))
            .reset_pin(reset)
            .display_size(self.size.0, self.size.1)
            .orientation(Orientation::new().rotate(self.rotation))
            .invert_colors(self.inversion)
            .init(&mut Delay)
            .ok()?;
        Some(Banded::new(self.screen(), band, Blit(display)))
    }
}
