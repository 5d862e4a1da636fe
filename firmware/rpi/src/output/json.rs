//! One line of JSON a frame.

use crate::record::Record;

/// The line.
pub(super) fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a record is JSON");
    line.push(b'\n');
    line
}
