//! Activation tables as part of other operations.

use crate::error::Error;
use crate::format::TABLE_ENTRIES;
use crate::kernels::look_up;
use crate::model::Constants;

/// A pointwise function of int8 values, indexed by value + 128.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a>(&'a [i8; TABLE_ENTRIES]);

impl<'a> Table<'a> {
    /// The table at an offset; none at offset 0.
    pub(crate) fn decode(offset: u32, constants: &Constants<'a>) -> Result<Option<Self>, Error> {
        (offset != 0).then(|| Self::required(offset, constants)).transpose()
    }

    /// As [`Self::decode`], where there must be one.
    pub(crate) fn required(offset: u32, constants: &Constants<'a>) -> Result<Self, Error> {
        let entries = constants.slice(offset, &[TABLE_ENTRIES])?;
        Ok(Self(entries.try_into().map_err(|_| constants.invalid())?))
    }

    /// The function of every value, in place.
    #[inline]
    pub(crate) fn apply(&self, values: &mut [i8]) {
        look_up(values, self.0);
    }
}
