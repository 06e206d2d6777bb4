//! The store on disk: a log-structured merge tree, for states larger than memory.
//!
//! The partition's log is the tree's write-ahead log. A group goes to a table in memory together with its position;
//! such tables are flushed whole, and rotated only between groups, so that the files are always the state behind exactly
//! one group, whenever the power fails, and the rows of that state say which group it was. Whoever opens the store
//! applies the log behind that position.
//!
//! The tree reads and writes its files by itself, not through [`Platform`](crate::platform::Platform): this store needs
//! a real machine. Its thread and its lock are the platform's.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::TakeRow;
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, Cache, Config, SeqNo, SequenceNumberCounter};

use self::files::{check_tables, damaged, open_tree, tree_folder};
use self::rows::{POSITION, Rows};
use self::snapshot::DiskSnapshot;
use super::{Snapshot, StateStore, View, Write};
use crate::folder::io;
use crate::log::Position;
use crate::platform::{JoinHandle, Platform};

mod files;
mod keeper;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;

pub(super) use files::{check, link};

/// Rows on disk.
pub struct DiskStore {
    rows: Arc<Rows>,
    position: Position,
    keeper: Option<JoinHandle>,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("folder", &self.rows.folder)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DiskStore {
    /// Opens the store in a folder, or makes one without rows, for storages of these names in their order.
    ///
    /// `memory` is about how many bytes the store may use: half of them for blocks that were read, the others for rows
    /// that are not yet in files. What is open besides, a filter and an index for each recent table, grows with the rows
    /// by about a hundredth of them.
    ///
    /// # Errors
    /// `corrupt` where the files are damaged, `busy` where another has the folder open, `io`.
    pub fn open<'a>(
        platform: &dyn Platform,
        folder: &Path,
        names: impl Iterator<Item = &'a str>,
        memory: u64,
    ) -> Result<Self> {
        let files = platform.files();
        files.create_dir_all(folder).map_err(io("create", folder))?;
        let lock = files.lock(folder).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => Error::new(
                ErrorKind::Busy,
                format!(
                    "the store {} is open already, or a snapshot of it is still held",
                    folder.display()
                ),
            ),
            _ => io("lock", folder)(source),
        })?;
        if !folder.is_dir() {
            let simulated = "a store on disk needs the machine's own files";
            return Err(Error::new(ErrorKind::Io, simulated));
        }
        let path = tree_folder(folder);
        let is_new = !path.try_exists().map_err(io("look for", &path))?;
        if !is_new {
            check_tables(folder, &path)?;
        }
        let (next, whole) = (
            SequenceNumberCounter::default(),
            SequenceNumberCounter::default(),
        );
        // Two tables that wait, the one that is filled, and as much again for what a row costs beside its bytes.
        let buffer = (memory / 8).clamp(64 << 10, 64 << 20);
        let config = Config::new(&path, next.clone(), whole.clone());
        let cache = Arc::new(Cache::with_capacity_bytes(memory / 2));
        let tree = open_tree(folder, config.use_cache(cache))?;
        let begin = tree
            .get_highest_persisted_seqno()
            .map_or(1, |last| last + 1);
        next.set(begin);
        whole.set(begin);
        let mut rows = Rows {
            tree,
            folder: folder.to_owned(),
            numbers: Vec::new(),
            next,
            whole,
            buffer,
            strategy: Arc::new(Leveled::default().with_table_target_size(buffer)),
            held: Mutex::default(),
            group: Mutex::default(),
            wake: Mutex::default(),
            compacting: Mutex::default(),
            failed: Mutex::default(),
            kept: Condvar::new(),
            closing: AtomicBool::new(false),
            _lock: lock,
        };
        let position = match rows.number(POSITION)? {
            Some(position) => Position::from_u64(position),
            None if is_new => Position::START,
            None => return Err(damaged(folder, "it does not say how far it is")),
        };
        rows.name(names, position)?;
        let rows = Arc::new(rows);
        let (wake, woken) = crossbeam_channel::bounded(1);
        let keeper = {
            let rows = rows.clone();
            let task = Box::new(move || rows.keep(&woken));
            platform.spawn("extengine-store", task)
        };
        let keeper = keeper.map_err(io("start a thread for", folder))?;
        *locked(&rows.wake) = Some(wake);
        // The last opening may have ended before its keeper was done.
        rows.wake_keeper();
        Ok(Self {
            rows,
            position,
            keeper: Some(keeper),
        })
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.rows.closing.store(true, Ordering::Relaxed);
        *locked(&self.rows.wake) = None;
        if let Some(keeper) = self.keeper.take() {
            // A panic of the keeper was caught before.
            drop(keeper.join());
        }
    }
}

impl View for DiskStore {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.rows.get(SeqNo::MAX, storage, key, value)
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        self.rows.scan(SeqNo::MAX, storage, prefix, after, take)
    }
}

impl StateStore for DiskStore {
    fn position(&self) -> Position {
        self.position
    }

    fn apply(&mut self, position: Position, writes: &mut dyn Iterator<Item = Write>) -> Result<()> {
        let rows = &*self.rows;
        let group = locked(&rows.group);
        for Write {
            storage,
            key,
            value,
        } in writes
        {
            let key = rows.key(storage, &key);
            let seqno = rows.next.next();
            match value {
                Some(value) => rows.tree.insert(key, &*value, seqno),
                None => rows.tree.remove(key, seqno),
            };
        }
        rows.set_number(POSITION, position.to_u64());
        rows.whole.fetch_max(rows.next.get());
        self.position = position;
        if rows.tree.active_memtable().size() < rows.buffer {
            return Ok(());
        }
        rows.tree.rotate_memtable();
        drop(group);
        rows.wake_keeper();
        rows.wait_for_keeper()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let mut held = locked(&self.rows.held);
        let at = self.rows.whole.get();
        *held.entry(at).or_default() += 1;
        drop(held);
        Ok(Arc::new(DiskSnapshot {
            rows: self.rows.clone(),
            at,
        }))
    }
}
