//! Rows of a matrix. Unlike `chunks_exact`, a width of zero is no panic but no rows, so no panic
//! path is left in the firmware.

/// Whole rows of `width` values.
#[inline(always)]
pub(crate) fn rows<T>(mut rest: &[T], width: usize) -> impl Iterator<Item = &[T]> {
    core::iter::from_fn(move || {
        let (row, after) = rest.split_at_checked(width)?;
        rest = after;
        (width > 0).then_some(row)
    })
}

/// Whole rows of `width` values, to be written.
#[inline(always)]
pub(crate) fn rows_mut<T>(mut rest: &mut [T], width: usize) -> impl Iterator<Item = &mut [T]> {
    core::iter::from_fn(move || {
        let (row, after) = core::mem::take(&mut rest).split_at_mut_checked(width)?;
        rest = after;
        (width > 0).then_some(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_rows_are_given() {
        let mut values = [1, 2, 3, 4, 5];
        assert!(rows(&values, 2).eq([&[1, 2][..], &[3, 4]]));
        assert_eq!(rows(&values, 6).count(), 0);
        assert_eq!(rows(&values, 0).count(), 0);
        rows_mut(&mut values, 5).for_each(|row| row.fill(9));
        assert_eq!(values, [9; 5]);
        assert_eq!(rows_mut(&mut values, 0).count(), 0);
    }
}
