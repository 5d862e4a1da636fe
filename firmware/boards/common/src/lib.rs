//! What boards with a camera and a display have in common.
//!
//! A board brings its pins, its camera and its watchdog; what is here needs of the chip only that it is
//! a Cortex-M, and that the memory map says where the model is (`_model_start`, `_model_end`). Linking
//! this crate brings the log over RTT, and handlers for faults and panics.
#![no_std]

mod clock;
mod display;
mod fault;
mod model;
mod vision;

use defmt_rtt as _;

pub use clock::Micros;
pub use display::{Panel, WIRE_BYTES};
pub use model::region;
pub use vision::{Application, Station};
