//! Elements of a tensor in row-major order, whatever order its storage has.

/// A tensor's place in its storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Strided {
    pub(super) shape: Vec<usize>,
    /// Distances of neighbours, as many as there are extents.
    pub(super) strides: Vec<usize>,
    /// The first element.
    pub(super) offset: usize,
}

impl Strided {
    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().fold(1usize, |count, &extent| count.saturating_mul(extent))
    }

    /// Copies the elements, of `size` bytes each.
    ///
    /// # Errors
    /// If they reach beyond the storage, or are more than the storage has: those of an expanded
    /// tensor, whose extents say nothing about how much there is.
    pub(super) fn gather(&self, storage: &[u8], size: usize) -> Result<Vec<u8>, String> {
        if self.shape.contains(&0) {
            return Ok(vec![]);
        }
        let available = storage.len() / size;
        let count = self.shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        // An axis of one element has no neighbours: any stride may stand there.
        let axes = self.shape.iter().zip(&self.strides).filter(|(extent, _)| **extent > 1);
        let axes: Vec<_> = axes.map(|(&extent, &stride)| (extent, stride)).collect();
        let last = axes.iter().try_fold(self.offset, |last, (extent, stride)| {
            last.checked_add((extent - 1).checked_mul(*stride)?)
        });
        if last.is_none_or(|last| last >= available) {
            return Err("reaches beyond its storage; is the file complete?".into());
        }
        let Some(count) = count.filter(|&count| count <= available) else {
            return Err("repeats its elements (it is expanded); save it with .contiguous()".into());
        };
        let mut bytes = Vec::with_capacity(count * size);
        let mut index = vec![0; axes.len()];
        let mut at = self.offset;
        for _ in 0..count {
            bytes.extend(&storage[at * size..][..size]);
            for (index, (extent, stride)) in index.iter_mut().zip(&axes).rev() {
                *index += 1;
                at += stride;
                if *index < *extent {
                    break;
                }
                at -= extent * stride;
                *index = 0;
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORAGE: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

    fn view(shape: &[usize], strides: &[usize], offset: usize) -> Strided {
        Strided { shape: shape.into(), strides: strides.into(), offset }
    }

    #[test]
    fn strides_are_followed() {
        let gather = |shape: &[usize], strides: &[usize], offset| {
            view(shape, strides, offset).gather(&STORAGE, 1).unwrap()
        };
        assert_eq!(gather(&[2, 3], &[3, 1], 2), [2, 3, 4, 5, 6, 7]);
        assert_eq!(gather(&[2, 3], &[1, 2], 0), [0, 2, 4, 1, 3, 5]);
        // Channels last: two channels of 2x3.
        assert_eq!(
            gather(&[1, 2, 2, 3], &[usize::MAX, 1, 6, 2], 0),
            [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]
        );
        // A column of a matrix, a scalar, nothing.
        assert_eq!(gather(&[3], &[4], 1), [1, 5, 9]);
        assert_eq!(gather(&[], &[], 11), [11]);
        assert!(gather(&[3, 0], &[1, 1], 50).is_empty());
        let pairs = view(&[3, 2], &[1, 3], 0).gather(&STORAGE, 2).unwrap();
        assert_eq!(pairs, [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let refused = |shape: &[usize], strides: &[usize], offset| {
            view(shape, strides, offset).gather(&STORAGE, 1).unwrap_err()
        };
        assert!(refused(&[2, 3], &[3, 1], 7).contains("beyond"));
        assert!(refused(&[2], &[usize::MAX], 1).contains("beyond"));
        assert!(refused(&[3, 5], &[0, 1], 0).contains(".contiguous()"));
        assert!(refused(&[usize::MAX, 2], &[0, 0], 0).contains(".contiguous()"));
    }
}
