//! `cargo firmware`: builds picovit firmware, runs it on emulated boards and measures it.
#![forbid(unsafe_code)]

use clap::Parser;

/// Ends quietly where standard output is closed, as by `| head`: `println!` panics there.
fn end_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload().downcast_ref::<String>().map_or("", String::as_str);
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            // As a shell reports a program that was ended by SIGPIPE.
            std::process::exit(128 + 13);
        }
        report(info);
    }));
}

fn main() -> miette::Result<()> {
    end_with_the_reader();
    picovit_firmware_tool::run(picovit_firmware_tool::Cli::parse())
}
