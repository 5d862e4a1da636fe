//! The watchdog, fed as long as both cores are alive.

use embassy_rp::Peri;
use embassy_rp::peripherals::WATCHDOG;
use embassy_rp::watchdog::Watchdog;
use embassy_time::{Duration, Instant};
use picovit_app::Vigil;

use crate::PULSE;

/// The board starts again when core 0 did not look for so long. Setting the camera up takes a tenth.
const CORE_0_LIMIT: Duration = Duration::from_secs(4);
/// Core 1 is given up when it showed nothing for so long: more than any model's inference takes.
const CORE_1_LIMIT_MS: u64 = 12_000;

/// What is kept where a reset by the watchdog leaves it: that it was started here. The boot loader, too,
/// starts the board by the watchdog.
const STARTED: (usize, u32) = (0, 0x7069_636f);

/// The watchdog and what it depends on.
pub struct Watch {
    watchdog: Watchdog,
    vigil: Vigil,
    over: bool,
}

impl Watch {
    /// Starts the watchdog, and says if it was the reason of this start.
    pub fn start(watchdog: Peri<'static, WATCHDOG>) -> Self {
        let mut watchdog = Watchdog::new(watchdog);
        let (place, started) = STARTED;
        if watchdog.reset_reason().is_some() && watchdog.get_scratch(place) == started {
            defmt::error!("started again by the watchdog");
        }
        watchdog.set_scratch(place, started);
        watchdog.pause_on_debug(true);
        watchdog.start(CORE_0_LIMIT);
        Self { watchdog, vigil: Vigil::new(CORE_1_LIMIT_MS), over: false }
    }

    /// Core 0 is alive; feeds the watchdog if core 1 is.
    pub fn look(&mut self) {
        if self.vigil.alive(&PULSE, Instant::now().as_millis()) {
            self.watchdog.feed(CORE_0_LIMIT);
        } else if !self.over {
            self.over = true;
            defmt::error!("core 1 has stopped: the watchdog starts the board again");
        }
    }
}
