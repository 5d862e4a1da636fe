//! One subcommand a file.

pub mod bench;
pub mod eval;
pub mod export;
pub mod export_calibration;
pub mod import;
pub mod inspect;
pub mod models;
pub mod predict;
pub mod quantize;
pub mod train;
