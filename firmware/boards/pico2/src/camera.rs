//! An OV7670 on core 0: clock by PWM, control by I2C, pixels by PIO and DMA.

use embassy_rp::gpio::{Input, Level, Output, OutputOpenDrain, Pull};
use embassy_rp::i2c::{self, I2c};
use embassy_rp::peripherals::{DMA_CH0, PIO0};
use embassy_rp::pio::{self, Pio};
use embassy_rp::{Peri, bind_interrupts, dma, gpio, pwm};
use embassy_time::{Delay, Duration, Timer};
use picovit_app::{CameraError, Layout};
use picovit_camera_sensor::{OV7670, Sensor, SensorError, release};

use crate::capture::Capture;
use crate::watch::Watch;
use crate::{EXCHANGE, Frame, pins};

/// The sensor.
const SENSOR: &Sensor = &OV7670;
/// What its frames are.
pub const LAYOUT: Layout =
    Layout { width: SENSOR.width, height: SENSOR.height, format: SENSOR.format };
/// Bytes of one.
pub const FRAME_BYTES: usize = SENSOR.frame_bytes();

/// The slowest camera sends more than two frames a second.
const FRAME_LIMIT: Duration = Duration::from_millis(500);
/// Between two tries to set the camera up.
const TRY_AGAIN: Duration = Duration::from_millis(500);

bind_interrupts!(struct Irqs {
    PIO0_IRQ_0 => pio::InterruptHandler<PIO0>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>;
});

/// Reads frames for ever and hands over the newest. A camera that is missing or falls silent is set up
/// again and again: it may have been plugged in late.
#[embassy_executor::task]
pub async fn run(pins: pins::Camera, mut frame: Frame, mut watch: Watch) {
    let _clock = pins::clock(pins.slice, pins.xclk, twelfth());
    let _on = Output::new(pins.power_down, Level::Low);
    let mut reset = Output::new(pins.reset, Level::Low);
    // The data sheet asks for a reset of 1 ms with the clock running, and for 1 ms after it.
    Timer::after_millis(5).await;
    reset.set_high();
    Timer::after_millis(5).await;

    let Pio { mut common, sm0, .. } = Pio::new(pins.pio, Irqs);
    let wires = [
        common.make_pio_pin(pins.d0),
        common.make_pio_pin(pins.d1),
        common.make_pio_pin(pins.d2),
        common.make_pio_pin(pins.d3),
        common.make_pio_pin(pins.d4),
        common.make_pio_pin(pins.d5),
        common.make_pio_pin(pins.d6),
        common.make_pio_pin(pins.d7),
        common.make_pio_pin(pins.pclk),
        common.make_pio_pin(pins.href),
        common.make_pio_pin(pins.vsync),
    ];
    let dma = dma::Channel::new(pins.dma, Irqs);
    let capture = Capture::new(&mut common, sm0, dma, &wires);
    let mut capture = capture.inspect_err(|error| defmt::error!("camera: {=str}", error)).ok();

    let (mut i2c, mut scl, mut sda) = (pins.i2c, pins.scl, pins.sda);
    loop {
        watch.look();
        {
            let mut clock = OutputOpenDrain::new(scl.reborrow(), Level::High);
            let mut data = OutputOpenDrain::new(sda.reborrow(), Level::High);
            clock.set_pullup(true);
            data.set_pullup(true);
            release(&mut clock, &mut data, &mut Delay);
        }
        let free = is_free(scl.reborrow()) && is_free(sda.reborrow());
        let outcome = if free {
            let config = i2c::Config::default();
            let mut bus = I2c::new_blocking(i2c.reborrow(), scl.reborrow(), sda.reborrow(), config);
            SENSOR.start(&mut bus, &mut Delay)
        } else {
            // The driver would wait for ever.
            Err(SensorError::Bus)
        };
        let (Ok(()), Some(capture)) = (outcome, &mut capture) else {
            let error = outcome.err().unwrap_or(SensorError::Bus);
            defmt::warn!("{=str}: {}", SENSOR.name, error);
            let remedy = SENSOR.remedy(error);
            fail(CameraError::SetUp { reason: error.reason(), remedy });
            reset.set_low();
            Timer::after(TRY_AGAIN).await;
            reset.set_high();
            Timer::after_millis(5).await;
            continue;
        };
        capture.restart();
        while capture.frame(frame, FRAME_LIMIT).await.is_ok() {
            frame = EXCHANGE.swap(frame);
            // Core 1 sleeps until something happens.
            cortex_m::asm::sev();
            watch.look();
        }
        fail(CameraError::Silent);
    }
}

/// Core 1 is told, and shows it.
fn fail(error: CameraError) {
    EXCHANGE.fail(error);
    cortex_m::asm::sev();
}

/// Whether nobody holds a line of the control bus, and something pulls it up.
fn is_free(pin: Peri<'_, impl gpio::Pin>) -> bool {
    let line = Input::new(pin, Pull::Up);
    // The pull-up inside is weak: the line needs a moment.
    cortex_m::asm::delay(10_000);
    line.is_high()
}

/// The system's clock divided by twelve: 12.5 MHz.
fn twelfth() -> pwm::Config {
    let mut config = pwm::Config::default();
    config.top = 11;
    (config.compare_a, config.compare_b) = (6, 6);
    config
}
