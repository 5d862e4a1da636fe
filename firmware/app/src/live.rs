//! A camera that another core reads, as a source of frames.

use core::fmt;

use picovit::image::{Frame, PixelFormat};

use crate::app::{FrameSource, Shot};
use crate::exchange::Exchange;
use crate::overlay::notice::Notice;
use crate::pulse::Pulse;

/// Why no frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CameraError {
    /// The camera cannot be set up.
    SetUp {
        /// Why, in a few words.
        reason: &'static str,
        /// What to do about it, likewise.
        remedy: &'static str,
    },
    /// It has been set up, but sends nothing.
    Silent,
}

impl fmt::Display for CameraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp { reason, .. } => f.write_str(reason),
            Self::Silent => f.write_str("the camera is set up, but sends no frames"),
        }
    }
}

impl core::error::Error for CameraError {}

impl From<&CameraError> for Notice {
    fn from(error: &CameraError) -> Self {
        match *error {
            CameraError::SetUp { reason, remedy } => {
                Self::new("No camera", format_args!("{reason}"), format_args!("{remedy}"))
            }
            CameraError::Silent => Self::new(
                "No picture",
                format_args!("the camera sends no frames"),
                format_args!("check PCLK, HREF, VSYNC and D0 to D7"),
            ),
        }
    }
}

/// What a camera's frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The pixels.
    pub format: PixelFormat,
}

/// The frames of an [`Exchange`]. Waits for the next with `idle`, which on a chip sleeps until
/// something happens, and shows with every turn that its core is alive.
#[derive(Debug)]
pub struct Live<'x, B, W> {
    exchange: &'x Exchange<B>,
    layout: Layout,
    pulse: &'x Pulse,
    idle: W,
    /// The frame that is being looked at.
    held: Option<B>,
}

impl<'x, B, W: FnMut()> Live<'x, B, W> {
    /// Frames of this layout.
    pub const fn new(exchange: &'x Exchange<B>, layout: Layout, pulse: &'x Pulse, idle: W) -> Self {
        Self { exchange, layout, pulse, idle, held: None }
    }

    /// Waits until frames come again after an error, or another one is found; `true` for frames.
    pub fn recovered(&mut self, from: CameraError) -> bool {
        loop {
            match self.exchange.trouble() {
                Some(error) if error == from => self.wait(),
                error => return error.is_none(),
            }
        }
    }

    fn wait(&mut self) {
        self.pulse.beat();
        (self.idle)();
    }
}

impl<B: AsRef<[u8]>, W: FnMut()> FrameSource for Live<'_, B, W> {
    type Error = CameraError;

    /// The newest frame, once there is one. There is always another.
    fn next_shot(&mut self) -> Result<Option<Shot<'_>>, CameraError> {
        self.pulse.beat();
        if let Some(frame) = self.held.take() {
            self.exchange.give_back(frame);
        }
        let frame = loop {
            if let Some(frame) = self.exchange.newest() {
                break frame;
            }
            if let Some(error) = self.exchange.trouble() {
                return Err(error);
            }
            self.wait();
        };
        let Layout { width, height, format } = self.layout;
        let pixels = B::as_ref(self.held.insert(frame));
        let frame = Frame { width, height, format, pixels };
        Ok(Some(Shot { frame, expected: None, cut: false }))
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    const LAYOUT: Layout = Layout { width: 2, height: 1, format: PixelFormat::Gray8 };

    #[test]
    fn frames_are_waited_for_and_given_back() {
        let (exchange, pulse) = (Exchange::new(), Pulse::new());
        exchange.give_back([0, 0]);
        let buffer = Cell::new(Some([1, 2]));
        let turns = Cell::new(0);
        let mut live = Live::new(&exchange, LAYOUT, &pulse, || {
            turns.set(turns.get() + 1);
            if turns.get() % 3 == 0 {
                buffer.set(buffer.take().map(|full| exchange.swap(full)));
            }
        });
        let shot = live.next_shot().unwrap().unwrap();
        assert_eq!((shot.frame.pixels, shot.cut), (&[1, 2][..], false));
        assert_eq!(turns.get(), 3);
        let before = pulse.count();
        live.next_shot().unwrap().unwrap();
        assert_eq!((turns.get(), pulse.count() - before), (6, 4));
    }

    #[test]
    fn trouble_is_reported_and_gets_over() {
        let gone = CameraError::SetUp { reason: "gone", remedy: "look for it" };
        let (exchange, pulse) = (Exchange::new(), Pulse::new());
        exchange.give_back([0, 0]);
        exchange.fail(CameraError::Silent);
        let turns = Cell::new(0);
        let mut live = Live::new(&exchange, LAYOUT, &pulse, || {
            turns.set(turns.get() + 1);
            match turns.get() {
                2 => exchange.fail(gone),
                4 => _ = exchange.swap([3, 4]),
                _ => {}
            }
        });
        assert_eq!(live.next_shot().err(), Some(CameraError::Silent));
        assert!(!live.recovered(CameraError::Silent));
        assert_eq!(live.next_shot().err(), Some(gone));
        assert!(live.recovered(gone));
        assert_eq!(live.next_shot().unwrap().unwrap().frame.pixels, [3, 4]);
    }

    #[test]
    fn a_notice_says_what_to_look_at() {
        let notice = Notice::from(&CameraError::Silent);
        assert!(notice.remedy().contains("VSYNC"), "{}", notice.remedy());
        let error = CameraError::SetUp { reason: "another camera", remedy: "take the right one" };
        let notice = Notice::from(&error);
        assert_eq!((notice.reason(), notice.remedy()), ("another camera", "take the right one"));
    }
}
