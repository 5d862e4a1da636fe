//! The model, and what it says.

use picovit_app::region::{CLASSES, SUPPORTED};
use picovit_app::{App, Exchange, Layout, Live, Notice, Pulse, Screen, Settings, WINDOW};
use picovit_app::{boot, serve};

use crate::clock::Micros;
use crate::model;

/// The application, for any model that fits.
pub type Application = App<'static, 'static, CLASSES, WINDOW>;

/// Where the model runs: with frames from elsewhere, and somebody who watches over it.
#[derive(Debug)]
pub struct Station<B: 'static> {
    /// Where the frames come from.
    pub exchange: &'static Exchange<B>,
    /// What they are.
    pub layout: Layout,
    /// Shows that this is alive.
    pub pulse: &'static Pulse,
}

impl<B: AsRef<[u8]>> Station<B> {
    /// Shows what the camera sees, or what is wrong. Does not return: a reset would change nothing, and
    /// the watchdog is fed meanwhile. `app` and `arena` live as long as the board.
    pub fn run(
        &self,
        screen: Option<impl Screen>,
        app: &'static mut Option<Application>,
        arena: &'static mut [u8],
    ) -> ! {
        // Not let go, whatever happens: its pins would be, and with its reset line what it shows.
        let mut screen = screen;
        if let Some(screen) = &mut screen {
            self.show(screen, app, arena);
        } else {
            defmt::error!("display: no panel of this size, or a pin fails");
        }
        // Whoever reads the camera wakes this with every frame.
        loop {
            self.pulse.beat();
            cortex_m::asm::wfe();
        }
    }

    fn show(
        &self,
        screen: &mut impl Screen,
        app: &'static mut Option<Application>,
        arena: &'static mut [u8],
    ) {
        self.pulse.beat();
        match boot(app, model::region(), SUPPORTED, arena, Settings::default()) {
            Ok(app) => {
                let model = app.model();
                defmt::info!(
                    "model: {=usize} x {=usize}, {=usize} classes, self-test passed",
                    model.width(),
                    model.height(),
                    model.classes()
                );
                let idle = cortex_m::asm::wfe;
                let mut live = Live::new(self.exchange, self.layout, self.pulse, idle);
                if serve(app, &mut live, &mut Micros::new(), screen).is_err() {
                    defmt::error!("the frames are not what they should be, or the display fails");
                }
            }
            // It has been logged.
            Err(error) => _ = screen.show_notice(&Notice::from(&error)),
        }
    }
}
