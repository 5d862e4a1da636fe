//! `cargo firmware`: builds picovit firmware, runs it on emulated boards and measures it.
#![forbid(unsafe_code)]

use clap::Parser;
use picovit_firmware_tool::{Cli, end_with_the_reader, run};

fn main() -> miette::Result<()> {
    end_with_the_reader(|| run(Cli::parse()))
}
