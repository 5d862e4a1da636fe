//! The camera: clock from the chip, control by I2C, pixels by DCMI and DMA.

use cortex_m::peripheral::SCB;
use embassy_stm32::dcmi::{self, Dcmi};
use embassy_stm32::gpio::{Level, Output, OutputOpenDrain, Pull, Speed};
use embassy_stm32::i2c::{self, I2c};
use embassy_stm32::peripherals::{DCMI, DMA1_CH0};
use embassy_stm32::rcc::{Mco, Mco1Source, McoConfig, McoPrescaler};
use embassy_stm32::{bind_interrupts, dma};
use embassy_time::{Delay, Duration, Instant, TimeoutError, Timer, with_timeout};
use picovit_app::{CameraError, Layout};
use picovit_camera_sensor::release;

use crate::frame::{Frame, SENSOR};
use crate::watch::Watch;
use crate::{EXCHANGE, pins};

/// What its frames are.
pub const LAYOUT: Layout =
    Layout { width: SENSOR.width, height: SENSOR.height, format: SENSOR.format };

/// The driver waits for ever for the rest of a frame that is too short. The slowest camera sends fifteen
/// a second, and what is waited for is at worst the one after that which has just begun.
const FRAME_LIMIT: Duration = Duration::from_millis(150);
/// Without a whole frame for so long, the camera is set up again.
const SILENT_LIMIT: Duration = Duration::from_millis(500);
/// Between two tries to set the camera up.
const TRY_AGAIN: Duration = Duration::from_millis(500);

bind_interrupts!(struct Irqs {
    DCMI => dcmi::InterruptHandler<DCMI>;
    DMA1_STREAM0 => dma::InterruptHandler<DMA1_CH0>;
});

/// Reads frames for ever and hands over the newest. A camera that is missing or falls silent is set up
/// again and again: it may have been plugged in late.
///
/// The data cache is on, and DMA writes behind its back. Nothing but DMA ever writes to a frame, so the
/// cache has nothing of it that memory has not; but it may have old lines, read ahead by the processor
/// as it likes. They are thrown away when a frame is complete, before anybody reads it. That needs no
/// memory without cache, through which the processor would read pixel after pixel.
#[embassy_executor::task]
pub async fn run(mut pins: pins::Camera, mut frame: Frame, mut cache: SCB, mut watch: Watch) {
    let mut clock = McoConfig::default();
    clock.prescaler = McoPrescaler::DIV2;
    let _clock = Mco::new(pins.output, pins.xclk, Mco1Source::HSI48, clock);
    let _on = Output::new(pins.power_down, Level::Low, Speed::Low);
    Timer::after_millis(10).await;

    loop {
        watch.look();
        {
            let (high, slow, up) = (Level::High, Speed::Low, Pull::Up);
            let mut clock = OutputOpenDrain::new_pull(pins.scl.reborrow(), high, slow, up);
            let mut data = OutputOpenDrain::new_pull(pins.sda.reborrow(), high, slow, up);
            release(&mut clock, &mut data, &mut Delay);
        }
        let mut config = i2c::Config::default();
        (config.sda_pullup, config.scl_pullup) = (true, true);
        // A line that is held costs no more than this.
        config.timeout = Duration::from_millis(20);
        let mut bus = I2c::new_blocking(
            pins.i2c.reborrow(),
            pins.scl.reborrow(),
            pins.sda.reborrow(),
            config,
        );
        if let Err(error) = SENSOR.start(&mut bus, &mut Delay) {
            defmt::warn!("{=str}: {}", SENSOR.name, error);
            let remedy = SENSOR.remedy(error);
            EXCHANGE.fail(CameraError::SetUp { reason: error.reason(), remedy });
            Timer::after(TRY_AGAIN).await;
            continue;
        }
        let mut whole = Instant::now();
        while whole.elapsed() < SILENT_LIMIT {
            // Made anew, it has nothing left of a frame that was cut off.
            let mut port = Dcmi::new_8bit(
                pins.port.reborrow(),
                pins.dma.reborrow(),
                Irqs,
                pins.d0.reborrow(),
                pins.d1.reborrow(),
                pins.d2.reborrow(),
                pins.d3.reborrow(),
                pins.d4.reborrow(),
                pins.d5.reborrow(),
                pins.d6.reborrow(),
                pins.d7.reborrow(),
                pins.vsync.reborrow(),
                pins.href.reborrow(),
                pins.pclk.reborrow(),
                dcmi::Config::default(),
            );
            loop {
                watch.look();
                let captured = with_timeout(FRAME_LIMIT, port.capture(frame.words())).await;
                if !matches!(captured, Ok(Ok(()))) {
                    defmt::warn!("a frame is lost: {=str}", reason(captured));
                    break;
                }
                whole = Instant::now();
                let (place, bytes) = frame.place();
                cache.clean_invalidate_dcache_by_address(place, bytes);
                frame = EXCHANGE.swap(frame);
            }
        }
        EXCHANGE.fail(CameraError::Silent);
    }
}

/// What is wrong with a frame. The driver's other error is for cameras without `HREF` and `VSYNC`.
fn reason(captured: Result<Result<(), dcmi::Error>, TimeoutError>) -> &'static str {
    match captured {
        Err(_) => "it is too short, or there is none",
        Ok(Err(dcmi::Error::Overrun)) => "it is too long, or the memory was too slow",
        Ok(_) => "unknown",
    }
}
