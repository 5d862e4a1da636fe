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

/// Rows of `width` values, two at a time; the second of the last pair may be missing and is empty.
#[inline(always)]
pub(crate) fn pairs<T>(mut rest: &[T], width: usize) -> impl Iterator<Item = [&[T]; 2]> {
    core::iter::from_fn(move || {
        let (first, after) = rest.split_at_checked(width)?;
        let (second, after) = after.split_at_checked(width).unwrap_or_default();
        rest = after;
        (width > 0).then_some([first, second])
    })
}

/// Rows of `width` values, two at a time, to be written.
#[inline(always)]
pub(crate) fn pairs_mut<T>(
    mut rest: &mut [T],
    width: usize,
) -> impl Iterator<Item = [&mut [T]; 2]> {
    core::iter::from_fn(move || {
        let (first, after) = core::mem::take(&mut rest).split_at_mut_checked(width)?;
        let (second, after) = after.split_at_mut_checked(width).unwrap_or_default();
        rest = after;
        (width > 0).then_some([first, second])
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
        assert!(pairs(&[1, 2, 3, 4, 5, 6, 7], 2).eq([[&[1, 2][..], &[3, 4]], [&[5, 6], &[]]]));
        assert_eq!(pairs(&values, 0).count(), 0);
        let mut pairs = pairs_mut(&mut values, 2);
        assert!(pairs.next().is_some_and(|[first, second]| first.len() == 2 && second.len() == 2));
        assert!(pairs.next().is_none());
    }
}
