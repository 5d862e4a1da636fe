//! The board-independent part of picovit firmware.
//!
//! A board supplies a [`FrameSource`] (camera, or pictures in flash), a [`Clock`] and a
//! [`Screen`]; this crate owns the loop between them:
//!
//! ```text
//! frame -> fit into the model's input -> engine -> probabilities -> mean of the last frames
//!       -> label or "unsure" -> overlay -> screen
//! ```
//!
//! Nothing here allocates, computes in floating point or knows the chip, so all of it is tested
//! on the host. The same code redraws on the host what a board showed, pixel for pixel.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod app;
mod boot;
pub mod clip;
pub mod exchange;
pub mod history;
pub mod live;
pub mod overlay;
pub mod pulse;
pub mod region;
pub mod screen;
mod serve;
pub mod smoothing;

pub use app::{App, AppError, Clock, Cost, FrameSource, Outcome, Settings, Shot, Verdict, WINDOW};
pub use boot::boot;
pub use clip::{Clip, ClipHeader};
pub use exchange::Exchange;
pub use history::History;
pub use live::{CameraError, Layout, Live};
pub use overlay::notice::Notice;
pub use overlay::{Labels, Scene};
pub use pulse::{Pulse, Vigil};
pub use region::{Region, RegionError, RegionHeader, SelfTest};
pub use screen::{Banded, Blit, Direct, Screen, Sink};
pub use serve::serve;
pub use smoothing::Smoother;
