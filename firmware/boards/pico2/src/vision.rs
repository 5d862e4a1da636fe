//! Core 1: the model, and the display.

use embassy_time::Instant;
use picovit::Arena;
use picovit_app::region::{CLASSES, SUPPORTED};
use picovit_app::{App, Clock, Cost, Live, Notice, Screen as _, Settings, WINDOW, boot, serve};

use crate::camera::LAYOUT;
use crate::display::{self, BAND_BYTES, WIRE_BYTES};
use crate::sizes::ARENA_BYTES;
use crate::{EXCHANGE, PULSE, model, pins};

/// The application, for any model that fits.
pub type Application = App<'static, 'static, CLASSES, WINDOW>;

/// Memory that lives as long as the board.
pub struct Memory {
    /// For the engine.
    pub arena: &'static mut Arena<ARENA_BYTES>,
    /// For the application.
    pub app: &'static mut Option<Application>,
    /// For the display.
    pub band: &'static mut [u8; BAND_BYTES],
    /// For its bus.
    pub wire: &'static mut [u8; WIRE_BYTES],
}

/// Shows what the camera sees, or what is wrong. Does not return: a reset would change nothing, and the
/// watchdog is fed meanwhile.
pub fn run(pins: pins::Display, memory: Memory) -> ! {
    let Some(mut screen) = display::open(pins, memory.band, memory.wire) else {
        defmt::error!("display: its size or place is not one that the driver knows");
        rest();
    };
    PULSE.beat();
    match boot(memory.app, model::region(), SUPPORTED, memory.arena, Settings::default()) {
        Ok(app) => {
            defmt::info!("model: {=usize} classes, self-test passed", app.model().classes());
            let mut live = Live::new(&EXCHANGE, LAYOUT, &PULSE, cortex_m::asm::wfe);
            if serve(app, &mut live, &mut Micros::new(), &mut screen).is_err() {
                defmt::error!("a frame or the display is not what it should be");
            }
        }
        Err(error) => {
            // It has been logged.
            let _ = screen.show_notice(&Notice::from(&error));
        }
    }
    rest()
}

/// Nothing more to do; the other core wakes this one with every frame.
fn rest() -> ! {
    loop {
        PULSE.beat();
        cortex_m::asm::wfe();
    }
}

/// Time.
struct Micros(Instant);

impl Micros {
    fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Micros {
    fn start(&mut self) {
        self.0 = Instant::now();
    }

    fn stop(&mut self) -> Cost {
        Cost::Micros(Instant::now().saturating_duration_since(self.0).as_micros())
    }
}
