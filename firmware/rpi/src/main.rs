//! `picovit-camera`: classifies what a camera sees, on a Raspberry Pi.
//!
//! Three threads: one reads frames, one classifies the newest of them, one shows what came out. The
//! engine and what is made of its answers (smoothing, doubt, the picture on a display) are those of
//! the chips.
#![forbid(unsafe_code)]

mod camera;
mod capture;
mod cli;
mod error;
mod frame;
mod huffman;
mod inference;
mod model;
mod output;
mod record;
mod run;
mod say;
mod slot;
mod stream;
mod v4l2;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(&cli::Args::parse()) {
        Ok(()) => {
            say::finish(None);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = error.exit_code();
            say::finish(Some(format!("{:?}", miette::Report::new(error))));
            ExitCode::from(code)
        }
    }
}
