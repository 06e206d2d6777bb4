//! The rows in the tree, and the store's own among them.
//!
//! In the tree, the first two bytes of a key are the number of its storage, which the store gives to the storage's name
//! when it sees it first. Number 0 has the store's own rows: [`POSITION`], and a number for each name behind [`NAME`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};

use crossbeam_channel::Sender;
use engine_core::catalog::StorageId;
use engine_core::error::{Error, Result};
use engine_core::host::TakeRow;
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, Guard, SeqNo, SequenceNumberCounter};

use super::files::{damaged, failure};
use crate::log::Position;
use crate::platform::FolderLock;
use crate::store::{MAX_KEY, range_end, range_start};

/// The key of the position up to which groups are applied.
pub(super) const POSITION: &[u8] = &[0, 0, 0];
/// What the key of a storage's number begins with; its name follows.
const NAME: &[u8] = &[0, 0, 1];

/// What the store shares with its snapshots and with its keeper, the thread that flushes and compacts.
pub(super) struct Rows {
    pub(super) tree: AnyTree,
    pub(super) folder: PathBuf,
    /// The number of each storage, as the first two bytes of its keys.
    pub(super) numbers: Vec<[u8; 2]>,
    /// The next sequence number, and the one below which every write belongs to a whole group.
    pub(super) next: SequenceNumberCounter,
    pub(super) whole: SequenceNumberCounter,
    /// Bytes from which on a table in memory is flushed.
    pub(super) buffer: u64,
    pub(super) strategy: Arc<Leveled>,
    /// How many snapshots are held at each sequence number.
    pub(super) held: Mutex<BTreeMap<SeqNo, usize>>,
    /// Held while a group is written, and while the table in memory is replaced.
    pub(super) group: Mutex<()>,
    /// Wakes the keeper, until the store is dropped.
    pub(super) wake: Mutex<Option<Sender<()>>>,
    /// Held during a step of compaction.
    pub(super) compacting: Mutex<()>,
    /// What the keeper failed at.
    pub(super) failed: Mutex<Option<Error>>,
    /// The keeper has done something, or failed.
    pub(super) kept: Condvar,
    pub(super) closing: AtomicBool,
    /// Snapshots may outlive the store, and nobody else may open the folder while their files are there.
    pub(super) _lock: FolderLock,
}

impl Rows {
    /// One of the store's own numbers.
    pub(super) fn number(&self, key: &[u8]) -> Result<Option<u64>> {
        let value = self.tree.get(key, SeqNo::MAX);
        let value = value.map_err(|error| failure(&self.folder, error))?;
        value.map(|value| self.parse_number(&value)).transpose()
    }

    fn parse_number(&self, value: &[u8]) -> Result<u64> {
        let number = value.try_into().map(u64::from_be_bytes);
        number.map_err(|_| damaged(&self.folder, "a number of its own has another form"))
    }

    pub(super) fn set_number(&self, key: &[u8], number: u64) {
        let seqno = self.next.next();
        self.tree.insert(key, number.to_be_bytes(), seqno);
    }

    /// Gives each storage its number: the one that its name has, or the next one.
    pub(super) fn name<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        position: Position,
    ) -> Result<()> {
        let mut used = 0;
        for row in self.tree.prefix(NAME, SeqNo::MAX, None) {
            let row = row.into_inner();
            let (_, number) = row.map_err(|error| failure(&self.folder, error))?;
            used = used.max(self.parse_number(&number)?);
        }
        let before = used;
        for name in names {
            let key = [NAME, name.as_bytes()].concat();
            let number = match self.number(&key)? {
                Some(number) => number,
                None => {
                    used += 1;
                    self.set_number(&key, used);
                    used
                }
            };
            let number = u16::try_from(number);
            let number = number.map_err(|_| damaged(&self.folder, "it has too many storages"))?;
            self.numbers.push(number.to_be_bytes());
        }
        if used > before {
            self.set_number(POSITION, position.to_u64());
            self.whole.fetch_max(self.next.get());
            self.persist()?;
        }
        Ok(())
    }

    pub(super) fn key(&self, storage: StorageId, key: &[u8]) -> Vec<u8> {
        let number = &self.numbers[usize::from(storage.0)];
        [number, key].concat()
    }

    pub(super) fn get(
        &self,
        at: SeqNo,
        storage: StorageId,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        if key.len() > MAX_KEY {
            return Ok(false);
        }
        let found = self.tree.get(self.key(storage, key), at);
        let found = found.map_err(|error| failure(&self.folder, error))?;
        if let Some(found) = &found {
            value.extend_from_slice(found);
        }
        Ok(found.is_some())
    }

    pub(super) fn scan(
        &self,
        at: SeqNo,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        if prefix.len() > MAX_KEY {
            return Ok(());
        }
        let start = range_start(prefix, after).map(|key| self.key(storage, key));
        let end = Bound::Excluded(self.key(storage, &range_end(prefix)));
        for row in self.tree.range((start, end), at, None) {
            let row = row.into_inner();
            let (key, value) = row.map_err(|error| failure(&self.folder, error))?;
            if !take(&key[2..], &value) {
                break;
            }
        }
        Ok(())
    }
}
