//! Which pin is what: change it here, and nowhere else.
//!
//! - `d0` to `d7`, `pclk`, `href` and `vsync` are eleven pins in a row: the state machine that reads
//!   the camera counts from `d0`.
//! - `xclk` is an output of the PWM slice below it, see [`clock`].
//! - `scl` and `sda` belong to the I2C peripheral below them, `sck` and `mosi` to the SPI peripheral.
//! - All others are any pins.
//!
//! The compiler refuses what the chip cannot do, except that the eleven pins are in a row: that is said
//! in the log.

use assign_resources::assign_resources;
use embassy_rp::pwm::{Config, Pwm};
use embassy_rp::{Peri, peripherals};

assign_resources! {
    camera: Camera {
        // Data, low bit first.
        d0: PIN_0,
        d1: PIN_1,
        d2: PIN_2,
        d3: PIN_3,
        d4: PIN_4,
        d5: PIN_5,
        d6: PIN_6,
        d7: PIN_7,
        // Pixel clock, row valid, between frames.
        pclk: PIN_8,
        href: PIN_9,
        vsync: PIN_10,
        // Clock to the camera.
        xclk: PIN_11,
        slice: PWM_SLICE5,
        // Control.
        sda: PIN_12,
        scl: PIN_13,
        i2c: I2C0,
        // Low resets, high switches off.
        reset: PIN_14,
        power_down: PIN_15,
        pio: PIO0,
        dma: DMA_CH0,
    }
    display: Display {
        cs: PIN_17,
        sck: PIN_18,
        mosi: PIN_19,
        spi: SPI0,
        // Command or data, reset, light.
        dc: PIN_20,
        reset: PIN_21,
        light: PIN_22,
    }
    core: Core {
        core1: CORE1,
        watchdog: WATCHDOG,
    }
}

/// Hands out what the parts of the program need.
pub fn assign(peripherals: embassy_rp::Peripherals) -> AssignedResources {
    split_resources!(peripherals)
}

/// The clock to the camera: an odd pin is output B of its slice, an even one output A.
pub fn clock(
    slice: Peri<'static, peripherals::PWM_SLICE5>,
    pin: Peri<'static, peripherals::PIN_11>,
    config: Config,
) -> Pwm<'static> {
    Pwm::new_output_b(slice, pin, config)
}
