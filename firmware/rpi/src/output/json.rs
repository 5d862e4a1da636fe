//! One line of JSON a frame.

use std::io::{self, Write};

use crate::error::Error;
use crate::record::Record;

/// Writes a line at once; whether anybody reads.
pub(super) fn show(record: &Record) -> Result<bool, Error> {
    let mut line = serde_json::to_vec(record).expect("a record is JSON");
    line.push(b'\n');
    let mut out = io::stdout().lock();
    super::written(out.write_all(&line).and_then(|()| out.flush()))
}
