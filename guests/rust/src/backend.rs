//! What stands behind a [`State`](crate::State): the host across the WASM boundary, an engine, or a test.

use crate::builder::KeyBuilder;
use crate::error::Error;
use crate::row::Row;

/// What an extension asks for with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Op {
    /// Answer a row as a result; it has no storage and no key.
    Result = 0,
    /// Add a row whose key must be absent.
    Insert = 1,
    /// Replace a row whose key must be present.
    Update = 2,
    /// Write a row, whether its key is present or not.
    Put = 3,
    /// Remove a row, whether its key is present or not; the value is empty.
    Delete = 4,
}

/// What stands behind a [`State`](crate::State). Authors of extensions do not need it.
pub trait Backend {
    /// The value of a row, or none where there is no such row.
    ///
    /// # Errors
    /// `BadKey` and `Io`.
    fn get<'run>(&'run self, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, Error>;

    /// Hands the encoded keys and values of the rows whose keys begin with `prefix` to `each`, in key order.
    ///
    /// # Errors
    /// `BadKey` and `Io`.
    fn read(
        &self,
        prefix: &KeyBuilder<'_>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Error>;

    /// Calls a foreign function.
    ///
    /// # Errors
    /// `Rejected` in the function's words.
    fn call(&self, function: &str, argument: &[u8]) -> Result<Vec<u8>, Error>;

    /// Takes what the extension asks for. A faulty request decides how the invocation ends, and is not answered here.
    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]);
}
