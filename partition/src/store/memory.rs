//! The store in memory: one persistent ordered map a storage.
//!
//! A snapshot shares the maps' nodes, and the writer copies only those that it changes afterwards, so taking one costs a
//! few pointers and nothing is copied where nobody reads.

use std::ops::Bound;
use std::sync::Arc;

use engine_core::catalog::StorageId;
use engine_core::error::Result;
use engine_core::host::RowChunk;
use engine_core::key::RANGE_END;
use imbl::OrdMap;

use super::{Bytes, Snapshot, StateStore, View, Write};
use crate::log::Position;

/// Rows in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    storages: Vec<OrdMap<Bytes, Bytes>>,
    position: Position,
}

impl MemoryStore {
    /// Makes an empty store for so many storages.
    pub fn new(storages: usize) -> Self {
        Self {
            storages: vec![OrdMap::new(); storages],
            position: Position::START,
        }
    }

    /// Sets or removes one row.
    pub fn write(&mut self, write: Write) {
        let rows = &mut self.storages[usize::from(write.storage.0)];
        match write.value {
            Some(value) => rows.insert(write.key, value),
            None => rows.remove(&write.key),
        };
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
        chunk: &mut RowChunk,
    ) -> Result<()> {
        let rows = &self.storages[usize::from(storage.0)];
        let end = range_end(prefix);
        for (key, value) in
            rows.range::<_, [u8]>((range_start(prefix, after), Bound::Excluded(&end[..])))
        {
            if chunk.is_full() {
                break;
            }
            chunk.push(key, value);
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
        writes.for_each(|write| self.write(write));
        self.position = position;
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::store::suite::keeps_the_contract;

    #[test]
    fn the_store_in_memory_keeps_the_contract() {
        keeps_the_contract(|storages| Box::new(MemoryStore::new(storages)));
    }
}
