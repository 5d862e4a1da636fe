//! What an artifact's operations need at least.

use std::collections::HashMap;

use picovit::Model;
use picovit::format::align_up;

/// Bytes that exist during each operation of an artifact: its buffers and the maps kept for later.
/// The largest is a lower bound of every arena for this order of operations.
#[must_use]
pub fn live_bytes(model: &Model<'_>) -> Vec<usize> {
    let ops: Vec<_> = (0..model.op_count()).filter_map(|index| model.op(index).ok()).collect();
    let mut bytes = Vec::new();
    // The value that lies at a place, by the number of operations in front of it.
    let image = model.height() * model.width() * model.channels();
    let start = model.header().input as usize;
    let mut latest = HashMap::from([((start, image), 0)]);
    // Until which operation a value is kept for another than the one behind it.
    let mut kept: HashMap<usize, (usize, usize)> = HashMap::new();
    for (index, op) in ops.iter().enumerate() {
        let [input, output, scratch] = op.buffers().map(|range| (range.start, range.len()));
        let apart = if op.in_place() { 0 } else { align_up(output.1) };
        bytes.push(align_up(input.1) + apart + align_up(scratch.1));
        if let Some((range, _)) = op.second_input()
            && let Some(&given) = latest.get(&(range.start, range.len()))
        {
            kept.insert(given, (index, range.len()));
        }
        latest.insert(output, index + 1);
    }
    for (given, (last, length)) in kept {
        // The operation behind it has it as its input.
        for bytes in bytes.iter_mut().take(last + 1).skip(given + 1) {
            *bytes += align_up(length);
        }
    }
    bytes
}
