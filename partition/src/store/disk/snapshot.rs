//! Snapshots of the store on disk: what they hold, the tree keeps.

use std::fmt;
use std::sync::Arc;

use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::host::TakeRow;
use lsm_tree::SeqNo;

use super::locked;
use super::rows::Rows;
use crate::store::{Snapshot, View};

/// The rows as they were at one sequence number.
pub(super) struct DiskSnapshot {
    pub(super) rows: Arc<Rows>,
    pub(super) at: SeqNo,
}

impl fmt::Debug for DiskSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskSnapshot")
            .field("folder", &self.rows.folder)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Drop for DiskSnapshot {
    fn drop(&mut self) {
        let mut held = locked(&self.rows.held);
        if let Some(count) = held.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.at);
            }
        }
    }
}

impl View for DiskSnapshot {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.rows.get(self.at, storage, key, value)
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        self.rows.scan(self.at, storage, prefix, after, take)
    }
}

impl Snapshot for DiskSnapshot {
    fn persist(&self) -> Result<bool> {
        self.rows.persist().map(|()| true)
    }
}
