//! The thread that classifies.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use embedded_graphics::geometry::Size;
use embedded_graphics::primitives::Rectangle;
use picovit::{Engine, Model};
use picovit_app::{App, AppError, Banded, Clock, Cost, Screen as _, Settings, Shot, Sink, WINDOW};

use crate::camera::Camera;
use crate::capture::{Captured, DAMAGED};
use crate::error::Error;
use crate::frame::{Format, Picture};
use crate::model::{Aligned, Artifact};
use crate::output::framebuffer::Overlay;
use crate::record::Record;
use crate::say::say;
use crate::slot::{Slot, Taken};

/// Classes a model may have.
const CLASSES: usize = 4096;

/// What to do.
pub(crate) struct Job<'a> {
    /// The model.
    pub artifact: &'a Artifact,
    /// Smoothed probabilities below this are unsure.
    pub unsure_below: f64,
    /// Frames to classify.
    pub frames: Option<u64>,
    /// Whether records have the logits.
    pub logits: bool,
    /// The display's extent, where there is one.
    pub screen: Option<Size>,
    /// How long to wait for a frame.
    pub stall: Duration,
    /// Whether a damaged frame is the end.
    pub every_frame: bool,
    /// What the source is called.
    pub source: String,
    /// The program behind it.
    pub camera: Option<Camera>,
}

/// A classified frame.
#[derive(Debug)]
pub(crate) struct Shown {
    /// What is said about it.
    pub record: Record,
    /// The frame.
    pub picture: Picture,
    /// What a display shows.
    pub overlay: Option<Overlay>,
    /// The frame as a JPEG, once somebody has asked for it.
    jpeg: OnceLock<Result<Vec<u8>, String>>,
}

impl Shown {
    /// The frame as a JPEG, which is made once for all that ask.
    pub(crate) fn jpeg(&self) -> Result<&[u8], &str> {
        if self.picture.format == Format::Mjpeg {
            return Ok(&self.picture.bytes);
        }
        let encode = || self.picture.encoded().map_err(|error| error.to_string());
        let jpeg = self.jpeg.get_or_init(encode).as_ref();
        jpeg.map(Vec::as_slice).map_err(String::as_str)
    }
}

/// Microseconds.
#[derive(Default)]
struct Stopwatch {
    started: Option<Instant>,
    period: Option<u64>,
}

impl Clock for Stopwatch {
    fn start(&mut self) {
        let now = Instant::now();
        self.period = self.started.map(|before| micros(now - before));
        self.started = Some(now);
    }

    fn stop(&mut self) -> Cost {
        self.started.map_or(Cost::Unknown, |started| Cost::Micros(micros(started.elapsed())))
    }

    fn period(&self) -> Option<u64> {
        self.period
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The display in memory.
struct Collect(Vec<u8>);

impl Sink for Collect {
    type Error = Infallible;

    fn take(&mut self, _: &Rectangle, pixels: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(pixels);
        Ok(())
    }
}

/// The application of the chips with what it remembers.
struct Classifier<'m, 'a, 'j> {
    job: &'j Job<'j>,
    model: Model<'m>,
    app: App<'m, 'a, CLASSES, WINDOW>,
    clock: Stopwatch,
    /// Rows of the display that are drawn at a time: all.
    band: Vec<u8>,
}

/// Classifies what comes through the slot until there is no more or nobody wants to see it.
pub(crate) fn run(
    job: &Job<'_>,
    slot: &Slot<Captured>,
    results: &SyncSender<Shown>,
) -> Result<(), Error> {
    let model = job.artifact.model();
    let mut arena = Aligned::zeros(model.arena_bytes());
    let engine = Engine::new(&model, arena.bytes_mut()).map_err(|e| job.artifact.refused(e))?;
    let settings = Settings { unsure_below: (job.unsure_below * 65_535.0).round() as u16 };
    let app = App::new(engine, settings)
        .map_err(|error: AppError<Infallible>| job.artifact.refused(error))?;
    let pixels = job.screen.map_or(0, |size| (size.width * size.height) as usize);
    let band = vec![0; pixels * picovit_app::screen::PIXEL_BYTES];
    let mut classifier = Classifier { job, model, app, clock: Stopwatch::default(), band };

    let (mut seen, mut damaged) = (0, 0);
    while job.frames.is_none_or(|frames| seen < frames) {
        let (captured, dropped) = match slot.take(job.stall) {
            Taken::Item(captured, dropped) => (captured, dropped),
            Taken::End(end) => return end,
            Taken::Nothing => {
                let (name, seconds) = (job.source.clone(), job.stall.as_secs());
                let said = job.camera.as_ref().map(Camera::last_words).unwrap_or_default();
                return Err(Error::Stalled { name, frames: seen, seconds, said });
            }
        };
        let number = captured.number;
        match classifier.classify(captured, dropped) {
            Ok(shown) => {
                (seen, damaged) = (seen + 1, 0);
                if results.send(shown).is_err() {
                    return Ok(());
                }
            }
            Err(reason) => {
                damaged += 1;
                let error = Error::Damaged { name: job.source.clone(), frame: number, reason };
                if job.every_frame || damaged == DAMAGED {
                    return Err(error);
                }
                say(format_args!("warning: {error}"));
            }
        }
    }
    Ok(())
}

impl Classifier<'_, '_, '_> {
    fn classify(&mut self, captured: Captured, dropped: u64) -> Result<Shown, String> {
        let Captured { number, picture } = captured;
        let pixels = picture.pixels(self.model.channels()).map_err(|error| error.to_string())?;
        let shot = Shot { frame: pixels.frame(), expected: None, cut: false };
        let outcome =
            self.app.classify(&shot, &mut self.clock).map_err(|error| error.to_string())?;
        let logits = self.job.logits.then(|| self.app.logits());
        let record = Record::new(&self.model, &outcome, (number, dropped), logits);
        let overlay = match self.job.screen {
            None => None,
            Some(size) => {
                let scene = self.app.scene(&shot, &outcome).map_err(|error| error.to_string())?;
                let collect = Collect(Vec::with_capacity(self.band.len()));
                let mut screen = Banded::new(size, &mut self.band, collect);
                let Ok(()) = screen.show(&scene);
                Some(Overlay { size, pixels: std::mem::take(&mut screen.sink_mut().0) })
            }
        };
        drop(pixels);
        Ok(Shown { record, picture, overlay, jpeg: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Range, Size as Extent};
    use crate::record::Guess;

    #[test]
    fn a_picture_is_encoded_once() {
        let guess = Guess { label: "x".to_owned(), class: 0, probability: 1.0 };
        let record = Record {
            frame: 0,
            label: "x".to_owned(),
            class: 0,
            probability: 1.0,
            unsure: false,
            top: vec![guess.clone()],
            alone: guess,
            inference_us: 1,
            dropped: 0,
            logits: None,
        };
        let size = Extent { width: 2, height: 2 };
        for format in [Format::Rgb888, Format::Mjpeg] {
            let picture = Picture { format, size, range: Range::Full, bytes: vec![0xFF; 12] };
            let bytes = picture.bytes.as_ptr();
            let (record, jpeg) = (record.clone(), OnceLock::new());
            let shown = Shown { record, picture, overlay: None, jpeg };
            let first = shown.jpeg().unwrap().as_ptr();
            assert_eq!(first, shown.jpeg().unwrap().as_ptr());
            assert_eq!(first == bytes, format == Format::Mjpeg);
        }
    }
}
