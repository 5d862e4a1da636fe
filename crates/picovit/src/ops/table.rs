//! Activation tables as part of other operations.

use crate::format::TABLE_ENTRIES;
use crate::kernels::look_up;
use crate::model::Constants;

/// A pointwise function of int8 values, indexed by value + 128.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a>(&'a [i8]);

impl<'a> Table<'a> {
    /// The table at an offset; none at offset 0.
    pub(crate) fn decode(offset: u32, constants: &Constants<'a>) -> Option<Self> {
        (offset != 0).then(|| Self::required(offset, constants))
    }

    /// As [`Self::decode`], where there must be one.
    pub(crate) fn required(offset: u32, constants: &Constants<'a>) -> Self {
        Self(constants.slice(offset, TABLE_ENTRIES))
    }

    /// The function of every value, in place.
    #[inline]
    pub(crate) fn apply(&self, values: &mut [i8]) {
        if let Ok(table) = self.0.try_into() {
            look_up(values, table);
        }
    }
}
