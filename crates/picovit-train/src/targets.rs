//! Targets as the loss takes them.

/// Target distributions `[image][class]` under label smoothing.
pub(crate) fn smoothed(labels: &[u16], classes: usize, smoothing: f32) -> Vec<f32> {
    let mut values = vec![smoothing / classes as f32; labels.len() * classes];
    for (row, &label) in values.chunks_exact_mut(classes).zip(labels) {
        row[usize::from(label)] += 1.0 - smoothing;
    }
    values
}
