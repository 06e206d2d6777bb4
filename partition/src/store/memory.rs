//! The store in memory: one persistent ordered map a storage.
//!
//! A snapshot shares the maps' nodes, and the writer copies only those that it changes afterwards, so taking one costs a
//! few pointers and nothing is copied where nobody reads.

use std::ops::Bound;
use std::sync::Arc;

use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::host::TakeRow;
use engine_core::key::RANGE_END;

use super::{Bytes, Snapshot, StateStore, Tree, View, Write};
use crate::log::Position;

/// Rows in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    storages: Vec<Tree<Bytes>>,
    position: Position,
}

impl MemoryStore {
    /// Makes an empty store for so many storages.
    pub fn new(storages: usize) -> Self {
        Self {
            storages: vec![Tree::default(); storages],
            position: Position::START,
        }
    }

    /// Sets or removes one row.
    pub fn write(&mut self, write: Write) {
        let rows = &mut self.storages[usize::from(write.storage.0)];
        rows.write(std::iter::once((write.key, write.value)));
    }
}

impl View for MemoryStore {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        match self.storages[usize::from(storage.0)].get(key) {
            Some(found) => {
                value.extend_from_slice(found);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        let rows = &self.storages[usize::from(storage.0)];
        let end = range_end(prefix);
        for (key, value) in rows.from(range_start(prefix, after)) {
            if **key >= *end || !take(key, value) {
                break;
            }
        }
        Ok(())
    }
}

/// Where the keys below a prefix, behind `after`, begin.
pub(crate) fn range_start<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    after.map_or(Bound::Included(prefix), Bound::Excluded)
}

/// Where the keys below a prefix end.
pub(crate) fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(prefix.len() + 1);
    end.extend_from_slice(prefix);
    end.push(RANGE_END);
    end
}

impl Snapshot for MemoryStore {
    fn persist(&self) -> Result<bool> {
        Ok(false)
    }
}

impl StateStore for MemoryStore {
    fn position(&self) -> Position {
        self.position
    }

    fn apply(&mut self, position: Position, writes: &mut dyn Iterator<Item = Write>) -> Result<()> {
        let mut writes = writes.peekable();
        while let Some(storage) = writes.peek().map(|write| write.storage) {
            let rows = std::iter::from_fn(|| writes.next_if(|write| write.storage == storage));
            let rows = rows.map(|write| (write.key, write.value));
            self.storages[usize::from(storage.0)].write(rows);
        }
        self.position = position;
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(self.clone()))
    }

    fn snapshot_of(&self, storages: &[StorageId]) -> Result<Arc<dyn Snapshot>> {
        let mut some = Self::new(self.storages.len());
        for storage in storages.iter().map(|storage| usize::from(storage.0)) {
            some.storages[storage] = self.storages[storage].clone();
        }
        Ok(Arc::new(some))
    }
}

#[cfg(test)]
mod tests {
    use engine_core::catalog::StorageId;

    use super::MemoryStore;
    use crate::store::suite::keeps_the_contract;
    use crate::store::{StateStore, Write};

    #[test]
    fn a_snapshot_of_some_storages_holds_no_other() {
        let mut store = MemoryStore::new(2);
        for storage in [StorageId(0), StorageId(1)] {
            store.write(Write {
                storage,
                key: b"key"[..].into(),
                value: Some(b"value"[..].into()),
            });
        }
        let snapshot = store.snapshot_of(&[StorageId(1)]).unwrap();
        let has = |storage| snapshot.get(StorageId(storage), b"key", &mut Vec::new());
        assert!(!has(0).unwrap() && has(1).unwrap());
    }

    #[test]
    fn the_store_in_memory_keeps_the_contract() {
        keeps_the_contract(|storages| Box::new(MemoryStore::new(storages)));
    }
}
