//! Frames of a camera with a parallel port, by a PIO state machine and DMA.
//!
//! What the state machine does is in [`port`], with tests.

use embassy_rp::dma;
use embassy_rp::peripherals::PIO0;
use embassy_rp::pio::{Common, Config, Pin, ShiftConfig, ShiftDirection, StateMachine};
use embassy_time::{Duration, TimeoutError, with_timeout};

use picovit_camera_sensor::port::{self, HREF, WIRES};

use crate::camera::FRAME_BYTES;

/// The state machine and its channel.
pub struct Capture<'d> {
    machine: StateMachine<'d, PIO0, 0>,
    config: Config<'d, PIO0>,
    dma: dma::Channel<'d>,
}

impl<'d> Capture<'d> {
    /// Sets the state machine up for these wires, which are pins in a row.
    pub fn new(
        common: &mut Common<'d, PIO0>,
        machine: StateMachine<'d, PIO0, 0>,
        dma: dma::Channel<'d>,
        wires: &[Pin<'d, PIO0>; WIRES],
    ) -> Result<Self, &'static str> {
        let program = common
            .try_load_program(&port::program())
            .map_err(|_| "no room for the program that reads the camera")?;
        let in_a_row = wires.iter().zip(wires.iter().skip(1));
        if !in_a_row.map(|(pin, next)| (pin.pin() + 1, next.pin())).all(|(a, b)| a == b) {
            return Err("D0 to D7, PCLK, HREF and VSYNC are not pins in a row");
        }
        let mut config = Config::default();
        config.use_program(&program, &[]);
        // All of them: what is not among the inputs reads as low.
        config.set_in_pins(&wires.each_ref());
        config.set_jmp_pin(&wires[HREF]);
        config.shift_in =
            ShiftConfig { threshold: 8, direction: ShiftDirection::Left, auto_fill: true };
        Ok(Self { machine, config, dma })
    }

    /// Starts afresh with the next frame, wherever in a frame the state machine was.
    pub fn restart(&mut self) {
        let machine = &mut self.machine;
        machine.set_enable(false);
        machine.clear_fifos();
        machine.restart();
        machine.set_config(&self.config);
        // Once: the program keeps it.
        machine.tx().push(port::count(FRAME_BYTES));
        machine.set_enable(true);
    }

    /// Waits for a whole frame. If there is none within the limit, it has to be
    /// [restarted](Self::restart).
    pub fn frame<'a>(
        &'a mut self,
        frame: &'a mut [u8; FRAME_BYTES],
        limit: Duration,
    ) -> impl Future<Output = Result<(), TimeoutError>> + 'a {
        let transfer = self.machine.rx().dma_pull(&mut self.dma, frame.as_mut_slice(), false);
        with_timeout(limit, transfer)
    }
}
