//! Which pin is what: change it here, and nowhere else.
//!
//! The pins are those of the camera connector of WeAct's MiniSTM32H743. Pins of DCMI, I2C, SPI and MCO
//! can be moved to others of the same function, `power_down` and those of the display except `sck` and
//! `mosi` to any. The compiler refuses what the chip cannot do.

use assign_resources::assign_resources;
use embassy_stm32::{Peri, peripherals};

assign_resources! {
    camera: Camera {
        // Data, low bit first.
        d0: PC6,
        d1: PC7,
        d2: PE0,
        d3: PE1,
        d4: PE4,
        d5: PD3,
        d6: PE5,
        d7: PE6,
        // Pixel clock, row valid, between frames.
        pclk: PA6,
        href: PA4,
        vsync: PB7,
        // Clock to the camera.
        xclk: PA8,
        output: MCO1,
        // Control.
        sda: PB9,
        scl: PB8,
        i2c: I2C1,
        // High switches off.
        power_down: PA7,
        port: DCMI,
        dma: DMA1_CH0,
    }
    display: Display {
        cs: PB12,
        sck: PB13,
        mosi: PB15,
        spi: SPI2,
        // Command or data, reset, light.
        dc: PB14,
        reset: PB10,
        light: PB11,
    }
    watchdog: Watchdog {
        watchdog: IWDG1,
    }
}

/// Hands out what the parts of the program need.
pub fn assign(peripherals: embassy_stm32::Peripherals) -> AssignedResources {
    split_resources!(peripherals)
}
