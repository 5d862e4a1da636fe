//! A reader of the standard output that leaves before its end, as `head` does.

use std::any::Any;
use std::panic::{self, UnwindSafe};

/// Runs a command, and ends quietly where nobody reads what it prints any more: `println!` panics there.
/// Emulators are stopped and temporary files removed first.
pub fn end_with_the_reader<T>(command: impl FnOnce() -> T + UnwindSafe) -> T {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !has_left(info.payload()) {
            report(info);
        }
    }));
    match panic::catch_unwind(command) {
        Ok(end) => end,
        // As a shell reports a program that was ended by SIGPIPE.
        Err(payload) if has_left(&*payload) => std::process::exit(128 + 13),
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Whether a panic is that nobody reads.
fn has_left(payload: &(dyn Any + Send)) -> bool {
    let said = payload.downcast_ref::<String>().map_or("", String::as_str);
    said.starts_with("failed printing to stdout") && said.contains("Broken pipe")
}
