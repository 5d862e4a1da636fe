//! `cargo firmware`: builds picovit firmware, runs it on emulated boards and measures it.
#![forbid(unsafe_code)]

use clap::Parser;

fn main() -> miette::Result<()> {
    picovit_firmware_tool::run(picovit_firmware_tool::Cli::parse())
}
