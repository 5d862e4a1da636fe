//! What the core with the model does, as long as the board has power.

use core::convert::Infallible;

use crate::app::{App, AppError, Clock, FrameSource as _};
use crate::live::Live;
use crate::overlay::notice::Notice;
use crate::screen::Screen;

/// Classifies the newest frame and shows the answer, again and again. While no frames come, the
/// screen says why; it goes on by itself when they do.
///
/// # Errors
/// If the frames are not what was said about them, or the screen fails.
pub fn serve<B, W, S, const CLASSES: usize, const WINDOW: usize>(
    app: &mut App<'_, '_, CLASSES, WINDOW>,
    live: &mut Live<'_, B, W>,
    clock: &mut impl Clock,
    screen: &mut S,
) -> Result<Infallible, AppError<S::Error>>
where
    B: AsRef<[u8]>,
    W: FnMut(),
    S: Screen,
{
    loop {
        let error = match live.next_shot() {
            Ok(Some(shot)) => {
                app.step(&shot, clock, screen)?;
                continue;
            }
            // There is always another.
            Ok(None) => continue,
            Err(error) => error,
        };
        #[cfg(feature = "defmt")]
        defmt::warn!("camera: {}", error);
        screen.show_notice(&Notice::from(&error)).map_err(AppError::Board)?;
        let recovered = live.recovered(error);
        #[cfg(feature = "defmt")]
        if recovered {
            defmt::info!("camera: frames again");
        }
        #[cfg(not(feature = "defmt"))]
        let _ = recovered;
    }
}
