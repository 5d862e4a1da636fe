//! Whole matrices of [`Packing::Wide`] at once, for hosts.

use super::{Packing, Quads, WIDE_QUAD, WIDE_TILE, copy};
use crate::rows::{rows, rows_mut};

/// Packs a matrix `[outputs][inputs]` of [`Packing::Wide`].
pub(crate) fn set_all_outputs(packed: &mut [i8], matrix: &[i8], inputs: usize) {
    let tiles = rows_mut(packed, Packing::Wide.matrix_bytes(WIDE_TILE, inputs));
    for (tile, rows) in tiles.zip(matrix.chunks(WIDE_TILE * inputs.max(1))) {
        for (fours, rows) in rows.chunks(WIDE_QUAD * inputs.max(1)).enumerate() {
            let [a, b, c, d] = four(rows, inputs);
            // Without a second row and so on, those outputs become anything.
            let [b, c, d] = [b, c, d].map(|row| if row.is_empty() { a } else { row });
            let rows = Quads(a).zip(Quads(b)).zip(Quads(c).zip(Quads(d)));
            for (step, ((a, b), (c, d))) in tile.as_chunks_mut::<STEP>().0.iter_mut().zip(rows) {
                if let Some(place) = step.as_chunks_mut().0.get_mut(fours) {
                    *place = bytemuck::must_cast::<_, [i8; WIDE_TILE]>([a, b, c, d]);
                }
            }
        }
    }
}

/// Packs a matrix `[outputs][inputs]` of [`Packing::Wide`] from `[inputs][outputs]`.
pub(crate) fn set_all_inputs(packed: &mut [i8], columns: &[i8], outputs: usize) {
    let inputs = columns.len().checked_div(outputs).unwrap_or(0);
    let tile_bytes = Packing::Wide.matrix_bytes(WIDE_TILE, inputs);
    for (quad, columns) in columns.chunks(WIDE_QUAD * outputs.max(1)).enumerate() {
        let mut columns = four(columns, outputs);
        for tile in rows_mut(packed, tile_bytes) {
            let Some(step) = tile.as_chunks_mut::<STEP>().0.get_mut(quad) else { continue };
            let columns = columns.each_mut().map(next);
            #[cfg(target_arch = "x86_64")]
            let values = crate::kernels::interleave(columns);
            #[cfg(not(target_arch = "x86_64"))]
            let values = interleave(columns);
            *step = values;
        }
    }
}

/// The first values of all columns, then the second ones and so on.
#[cfg(not(target_arch = "x86_64"))]
fn interleave([a, b, c, d]: [[i8; WIDE_TILE]; WIDE_QUAD]) -> [i8; STEP] {
    let mut values = [0; STEP];
    let columns = a.into_iter().zip(b).zip(c.into_iter().zip(d));
    for (place, ((a, b), (c, d))) in values.as_chunks_mut().0.iter_mut().zip(columns) {
        *place = [a, b, c, d];
    }
    values
}

/// Bytes of a tile of [`Packing::Wide`] for four inputs.
const STEP: usize = WIDE_TILE * WIDE_QUAD;

/// Up to four rows; those that are missing are empty.
#[inline(always)]
fn four(values: &[i8], width: usize) -> [&[i8]; WIDE_QUAD] {
    let mut rows = rows(values, width);
    [(); WIDE_QUAD].map(|()| rows.next().unwrap_or_default())
}

/// Takes the outputs of a tile off a column.
#[inline(always)]
fn next(column: &mut &[i8]) -> [i8; WIDE_TILE] {
    if let Some((values, rest)) = column.split_first_chunk() {
        *column = rest;
        return *values;
    }
    some(core::mem::take(column))
}

/// Fewer values than a tile has outputs, and 0.
#[cold]
#[inline(never)]
fn some(values: &[i8]) -> [i8; WIDE_TILE] {
    let mut all = [0; WIDE_TILE];
    copy(values, &mut all);
    all
}
