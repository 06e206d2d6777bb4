//! The state store: what a partition knows, as rows in storages.
//!
//! [`StateStore`] is the contract that every driver keeps. [`MemoryStore`] keeps the rows in memory, ordered; what makes
//! them durable is the log, and checkpoints of its snapshots. `DiskStore`, with the feature `disk`, keeps them in files
//! of its own, behind the log. Nothing here assumes that the rows fit in memory.

use std::fmt;
use std::sync::Arc;

use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::host::TakeRow;

use crate::log::Position;

mod bytes;
#[cfg(feature = "disk")]
mod disk;
mod kind;
mod memory;
#[cfg(test)]
pub(crate) mod suite;
mod tree;

pub use bytes::Bytes;
#[cfg(feature = "disk")]
pub use disk::DiskStore;
pub use kind::StoreKind;
pub(crate) use kind::{Scratch, StorePlace};
pub use memory::MemoryStore;
pub(crate) use memory::{range_end, range_start};
pub(crate) use tree::{Tree, head};

/// The most bytes of a key, on every driver, so that an application may change to another one.
pub const MAX_KEY: usize = 60 << 10;

/// Rows that can be read.
pub trait View {
    /// Appends the value of a row to `value` and answers true, or answers false where there is no such row.
    ///
    /// # Errors
    /// `io` and `corrupt` where the row cannot be read.
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool>;

    /// Hands the rows whose keys begin with `prefix` to `take`, in key order, from behind the key `after` on, until it
    /// answers false for one or there is none left.
    ///
    /// # Errors
    /// `io` and `corrupt` where rows cannot be read.
    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()>;
}

/// A view that never changes, whatever is applied to its store.
pub trait Snapshot: View + Send + Sync + fmt::Debug {
    /// Makes these rows durable, with the position behind which they are, where their store keeps rows in files of its
    /// own, and answers true. Of any other store it answers false: whoever wants the rows durable must write them out.
    ///
    /// # Errors
    /// `io` and `corrupt`.
    fn persist(&self) -> Result<bool>;
}

/// One write to a store: a value to set, or none to remove the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The storage.
    pub storage: StorageId,
    /// The encoded key.
    pub key: Bytes,
    /// The encoded value, or none.
    pub value: Option<Bytes>,
}

/// The rows of one partition, written by its one writer.
pub trait StateStore: View + Send + fmt::Debug {
    /// The position of the last group that is applied.
    fn position(&self) -> Position;

    /// Applies the writes of the group at a position, with the position, all of them or none. The log already holds
    /// them, so nothing here waits for a disk, unless the store cannot keep up.
    ///
    /// # Errors
    /// `io` and `corrupt`, after which the store is not used again until it is opened anew.
    fn apply(&mut self, position: Position, writes: &mut dyn Iterator<Item = Write>) -> Result<()>;

    /// A view of the rows as they are now, cheap to take and to share.
    ///
    /// # Errors
    /// `io`.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;

    /// A view of some storages as they are now, for a reader that never looks at the others, whose rows it may lack.
    ///
    /// # Errors
    /// `io`.
    fn snapshot_of(&self, storages: &[StorageId]) -> Result<Arc<dyn Snapshot>> {
        let _ = storages;
        self.snapshot()
    }
}

/// Hands every row of a storage to `each`, in key order.
///
/// # Errors
/// Those of the view and of `each`.
pub fn for_each_row(
    view: &dyn View,
    storage: StorageId,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let mut ended = Ok(());
    view.scan(storage, &[], None, &mut |key, value| {
        ended = each(key, value);
        ended.is_ok()
    })?;
    ended
}
