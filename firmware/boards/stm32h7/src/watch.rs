//! The watchdog, fed as long as camera and model are alive.

use embassy_stm32::Peri;
use embassy_stm32::peripherals::IWDG1;
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_time::Instant;
use picovit_app::Vigil;

use crate::PULSE;

/// The board starts again when nobody looked for so long, in microseconds. Setting the camera up takes
/// a tenth.
const LIMIT_US: u32 = 4_000_000;
/// The model is given up when it showed nothing for so long: more than any inference takes.
const MODEL_LIMIT_MS: u64 = 12_000;

/// The watchdog and what it depends on.
pub struct Watch {
    watchdog: IndependentWatchdog<'static, IWDG1>,
    vigil: Vigil,
    over: bool,
}

impl Watch {
    /// Starts the watchdog; it cannot be stopped again.
    pub fn start(watchdog: Peri<'static, IWDG1>) -> Self {
        let mut watchdog = IndependentWatchdog::new(watchdog, LIMIT_US);
        watchdog.unleash();
        Self { watchdog, vigil: Vigil::new(MODEL_LIMIT_MS), over: false }
    }

    /// The camera's task is alive; feeds the watchdog if the model is.
    pub fn look(&mut self) {
        if self.vigil.alive(&PULSE, Instant::now().as_millis()) {
            self.watchdog.pet();
        } else if !self.over {
            self.over = true;
            defmt::error!("the model has stopped: the watchdog starts the board again");
        }
    }
}
