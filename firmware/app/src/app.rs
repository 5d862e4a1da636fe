//! The loop: frame to model to smoothed label to screen.

use core::fmt;
use core::sync::atomic::{Ordering, compiler_fence};

use heapless::Vec;
use picovit::image::{self, Frame, ImageError};
use picovit::{Engine, Model, Prediction, postprocess};

use crate::history::{Entry, History};
use crate::overlay::{Picture, Scene};
use crate::screen::Screen;
use crate::smoothing::Smoother;

/// Classes listed in an [`Outcome`].
pub const TOP: usize = 3;

/// Frames that boards average unless they have a reason to differ.
pub const WINDOW: usize = 4;

/// One frame and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Shot<'a> {
    /// The picture, of any size.
    pub frame: Frame<'a>,
    /// Its class, where that is known (test pictures).
    pub expected: Option<u16>,
    /// The scene has nothing to do with the previous one, so smoothing starts afresh.
    pub cut: bool,
}

/// Where frames come from: a camera, pictures in flash.
pub trait FrameSource {
    /// What can go wrong.
    type Error;

    /// The next frame; `None` when there will be no more.
    ///
    /// # Errors
    /// Whatever the source meets.
    fn next_shot(&mut self) -> Result<Option<Shot<'_>>, Self::Error>;
}

/// Measures one inference.
pub trait Clock {
    /// Starts measuring.
    fn start(&mut self);

    /// What happened since [`Self::start`].
    fn stop(&mut self) -> Cost;

    /// Microseconds from the start before to the latest one, which is the time a frame takes; `None`
    /// for the first, and where there is no such clock.
    fn period(&self) -> Option<u64> {
        None
    }

    /// With the feature `profile`: operation `index` is about to start.
    fn op(&mut self, index: u16) {
        let _ = index;
    }
}

/// What one inference cost, in the unit the board can measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nobody measured.
    Unknown,
    /// Instructions, on emulators that count them. Not cycles.
    Instructions(u64),
    /// Microseconds.
    Micros(u64),
}

impl Cost {
    /// The bare number, 0 if unknown.
    #[must_use]
    pub const fn value(&self) -> u64 {
        match *self {
            Self::Unknown => 0,
            Self::Instructions(value) | Self::Micros(value) => value,
        }
    }

    /// Name of the unit.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Instructions(_) => "instructions",
            Self::Micros(_) => "microseconds",
        }
    }
}

/// Choices of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Below this smoothed probability (65535 for certainty) the answer is "unsure".
    pub unsure_below: u16,
}

impl Default for Settings {
    /// Unsure below one half.
    fn default() -> Self {
        Self { unsure_below: 1 << 15 }
    }
}

/// The smoothed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The class is probable enough to be shown.
    Sure(Prediction),
    /// The best guess is not.
    Unsure(Prediction),
}

impl Verdict {
    /// The best class, sure or not.
    #[must_use]
    pub const fn best(&self) -> Prediction {
        match *self {
            Self::Sure(best) | Self::Unsure(best) => best,
        }
    }

    /// Whether the class is probable enough.
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        matches!(self, Self::Sure(_))
    }
}

/// The answer for one frame.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Number of the frame, from 0.
    pub index: u32,
    /// The network's answer to this frame alone.
    pub predicted: Prediction,
    /// The smoothed answer, as shown.
    pub verdict: Verdict,
    /// The most likely classes after smoothing.
    pub top: Vec<Prediction, TOP>,
    /// The class, where that is known.
    pub expected: Option<u16>,
    /// What the inference cost.
    pub cost: Cost,
    /// Microseconds since the frame before, where there is a clock.
    pub period: Option<u64>,
}

/// Why an application cannot start or a step did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppError<E> {
    /// The model has more classes than the application was built for.
    TooManyClasses {
        /// Classes of the model.
        classes: usize,
        /// Classes there is room for.
        room: usize,
    },
    /// The frame cannot be taken.
    Image(ImageError),
    /// The source or the screen failed.
    Board(E),
}

impl<E: fmt::Display> fmt::Display for AppError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyClasses { classes, room } => {
                write!(f, "the model has {classes} classes, the firmware has room for {room}")
            }
            Self::Image(error) => error.fmt(f),
            Self::Board(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> core::error::Error for AppError<E> {}

/// An engine with everything that remembers earlier frames.
///
/// `CLASSES` is at least the number of the model's classes, `WINDOW` the number of frames that are
/// averaged.
#[derive(Debug)]
pub struct App<'m, 'a, const CLASSES: usize, const WINDOW: usize> {
    model: Model<'m>,
    engine: Engine<'m, 'a>,
    settings: Settings,
    logits: Vec<i16, CLASSES>,
    smoother: Smoother<CLASSES, WINDOW>,
    history: History,
    frames: u32,
}

impl<'m, 'a, const CLASSES: usize, const WINDOW: usize> App<'m, 'a, CLASSES, WINDOW> {
    /// Wraps an engine.
    ///
    /// # Errors
    /// [`AppError::TooManyClasses`].
    pub fn new<E>(engine: Engine<'m, 'a>, settings: Settings) -> Result<Self, AppError<E>> {
        let model = *engine.model();
        let classes = model.classes();
        if classes > CLASSES {
            return Err(AppError::TooManyClasses { classes, room: CLASSES });
        }
        Ok(Self {
            model,
            engine,
            settings,
            logits: Vec::new(),
            smoother: Smoother::new(),
            history: History::new(),
            frames: 0,
        })
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// The engine.
    pub(crate) const fn engine(&mut self) -> &mut Engine<'m, 'a> {
        &mut self.engine
    }

    /// Logits of the latest frame.
    #[must_use]
    pub fn logits(&self) -> &[i16] {
        &self.logits
    }

    /// What was shown before.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Classifies one frame. Only the inference itself is measured.
    ///
    /// # Errors
    /// If the frame is not one.
    pub fn classify(
        &mut self,
        shot: &Shot<'_>,
        clock: &mut impl Clock,
    ) -> Result<Outcome, ImageError> {
        self.fit(&shot.frame)?;

        clock.start();
        compiler_fence(Ordering::SeqCst);
        #[cfg(not(feature = "profile"))]
        let logits = self.engine.run();
        #[cfg(feature = "profile")]
        let logits = run_by_op(&mut self.engine, clock);
        compiler_fence(Ordering::SeqCst);
        let cost = clock.stop();

        self.logits.clear();
        // `new` has checked that they fit.
        let _ = self.logits.extend_from_slice(logits);
        Ok(self.judge(shot, cost, clock.period()))
    }

    /// What the logits say. Not inlined: what it needs is not on the stack during an inference.
    #[inline(never)]
    fn judge(&mut self, shot: &Shot<'_>, cost: Cost, period: Option<u64>) -> Outcome {
        let mut probabilities = [0u16; CLASSES];
        let probabilities = probabilities.get_mut(..self.logits.len()).unwrap_or_default();
        postprocess::probabilities(&self.model, &self.logits, probabilities);
        let class = postprocess::argmax(&self.logits);
        let probability = probabilities.get(class).copied().unwrap_or(0);
        let predicted = Prediction { class: class as u16, probability };

        if shot.cut {
            self.smoother.clear();
        }
        let top = postprocess::top_k::<TOP>(self.smoother.push(probabilities));
        let best = top.first().copied().unwrap_or(predicted);
        let verdict = if best.probability < self.settings.unsure_below {
            Verdict::Unsure(best)
        } else {
            Verdict::Sure(best)
        };
        self.history.push(Entry {
            class: verdict.is_sure().then_some(best.class),
            probability: best.probability,
        });

        let index = self.frames;
        self.frames = self.frames.wrapping_add(1);
        let expected = shot.expected;
        let outcome = Outcome { index, predicted, verdict, top, expected, cost, period };
        self.log(&outcome);
        outcome
    }

    /// What to show for the frame that was just classified. The picture in it is what the network
    /// saw: the frame is fitted into the input buffer once more, because the run reuses it.
    ///
    /// # Errors
    /// If the frame is not one.
    pub fn scene<'s>(
        &'s mut self,
        shot: &Shot<'_>,
        outcome: &'s Outcome,
    ) -> Result<Scene<'s>, ImageError> {
        self.fit(&shot.frame)?;
        Ok(Scene {
            labels: &self.model,
            picture: Picture {
                height: self.model.height(),
                width: self.model.width(),
                channels: self.model.channels(),
                pixels: self.engine.input(),
            },
            top: &outcome.top,
            verdict: outcome.verdict,
            expected: outcome.expected,
            history: &self.history,
            cost: outcome.cost,
            period: outcome.period,
        })
    }

    /// Classifies one frame and shows the answer.
    ///
    /// # Errors
    /// If the frame is not one, or the screen fails.
    pub fn step<S: Screen>(
        &mut self,
        shot: &Shot<'_>,
        clock: &mut impl Clock,
        screen: &mut S,
    ) -> Result<Outcome, AppError<S::Error>> {
        let outcome = self.classify(shot, clock).map_err(AppError::Image)?;
        let scene = self.scene(shot, &outcome).map_err(AppError::Image)?;
        screen.show(&scene).map_err(AppError::Board)?;
        Ok(outcome)
    }

    /// Runs until the source has no more frames; the number of frames classified.
    ///
    /// # Errors
    /// If a frame is not one, or the source or the screen fails.
    pub fn run<F, S, E>(
        &mut self,
        source: &mut F,
        clock: &mut impl Clock,
        screen: &mut S,
    ) -> Result<u32, AppError<E>>
    where
        F: FrameSource<Error: Into<E>>,
        S: Screen<Error: Into<E>>,
    {
        let mut frames = 0;
        loop {
            match source.next_shot() {
                Ok(Some(shot)) => match self.step(&shot, clock, screen) {
                    Ok(_) => frames += 1,
                    Err(AppError::Board(error)) => return Err(AppError::Board(error.into())),
                    Err(AppError::Image(error)) => return Err(AppError::Image(error)),
                    Err(AppError::TooManyClasses { classes, room }) => {
                        return Err(AppError::TooManyClasses { classes, room });
                    }
                },
                Ok(None) => return Ok(frames),
                Err(error) => return Err(AppError::Board(error.into())),
            }
        }
    }

    #[inline(never)]
    fn fit(&mut self, frame: &Frame<'_>) -> Result<(), ImageError> {
        let model = &self.model;
        let (height, width, channels) = (model.height(), model.width(), model.channels());
        image::fit(frame, height, width, channels, self.engine.input())
    }

    /// One line a frame. `cargo firmware` reads it, so the keys are fixed; the logits are exact.
    #[cfg(feature = "defmt")]
    fn log(&self, outcome: &Outcome) {
        defmt::println!(
            "result index={=u32} class={=u16} probability={=u16} shown={=u16} sure={=bool} expected={=i32} cost={=u64} unit={=str} logits={=[?]}",
            outcome.index,
            outcome.predicted.class,
            outcome.predicted.probability,
            outcome.verdict.best().class,
            outcome.verdict.is_sure(),
            outcome.expected.map_or(-1, i32::from),
            outcome.cost.value(),
            outcome.cost.unit(),
            self.logits.as_slice()
        );
    }

    #[cfg(not(feature = "defmt"))]
    fn log(&self, _: &Outcome) {}
}

/// One inference with the clock hearing of every operation.
#[cfg(feature = "profile")]
fn run_by_op<'e>(engine: &'e mut Engine<'_, '_>, clock: &mut impl Clock) -> &'e [i16] {
    for index in 0..engine.model().op_count() {
        clock.op(index);
        compiler_fence(Ordering::SeqCst);
        engine.run_op(index);
        compiler_fence(Ordering::SeqCst);
    }
    engine.logits()
}
