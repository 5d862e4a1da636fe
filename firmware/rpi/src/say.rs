//! What a person should hear.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to the standard error. That nobody listens there is no reason to end.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
