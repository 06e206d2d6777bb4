//! The store on disk: a log-structured merge tree, for states larger than memory.
//!
//! The partition's log is the tree's write-ahead log. A group goes to a table in memory together with its position;
//! such tables are flushed whole, and rotated only between groups, so that the files are always the state behind exactly
//! one group, whenever the power fails, and the rows of that state say which group it was. Whoever opens the store
//! applies the log behind that position.
//!
//! The tree reads and writes its files by itself, not through [`Platform`](crate::platform::Platform): this store needs
//! a real machine. Its thread and its lock are the platform's.
//!
//! In the tree, the first two bytes of a key are the number of its storage, which the store gives to the storage's name
//! when it sees it first. Number 0 has the store's own rows: [`POSITION`], and a number for each name behind [`NAME`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::TakeRow;
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, Guard, SeqNo, SequenceNumberCounter};

use super::{MAX_KEY, Snapshot, StateStore, View, Write, range_end, range_start};
use crate::folder::io;
use crate::log::Position;
use crate::partition::catch;
use crate::platform::{FolderLock, JoinHandle, Platform};

/// The key of the position up to which groups are applied.
const POSITION: &[u8] = &[0, 0, 0];
/// What the key of a storage's number begins with; its name follows.
const NAME: &[u8] = &[0, 0, 1];
/// The folder of the tree's tables, in the tree's folder.
const TABLES: &str = "tables";
/// How many full tables in memory may wait for the keeper before the writer waits too.
const WAITING: usize = 2;

/// Rows on disk.
pub struct DiskStore {
    rows: Arc<Rows>,
    position: Position,
    wake: Option<Sender<()>>,
    keeper: Option<JoinHandle>,
}

/// What the store shares with its snapshots and with its keeper, the thread that flushes and compacts.
struct Rows {
    tree: AnyTree,
    folder: PathBuf,
    /// The number of each storage, as the first two bytes of its keys.
    numbers: Vec<[u8; 2]>,
    /// The next sequence number, and the one below which every write belongs to a whole group.
    next: SequenceNumberCounter,
    whole: SequenceNumberCounter,
    /// Bytes from which on a table in memory is flushed.
    buffer: u64,
    strategy: Arc<Leveled>,
    /// How many snapshots are held at each sequence number.
    held: Mutex<BTreeMap<SeqNo, usize>>,
    /// Held while a group is written, and while the table in memory is replaced.
    group: Mutex<()>,
    /// What the keeper failed at.
    failed: Mutex<Option<Error>>,
    /// The keeper has done something, or failed.
    kept: Condvar,
    closing: AtomicBool,
    /// Snapshots may outlive the store, and nobody else may open the folder while their files are there.
    _lock: FolderLock,
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

/// The folder of the tree, in the store's.
fn tree_folder(folder: &Path) -> PathBuf {
    folder.join("tree")
}

/// Checks the file that says which tables the tree has, before the tree removes all others: it reads this one file
/// without its checksum, which stands in `current` as `{u64 number, u128 XXH3, u8 0}`, little-endian.
fn check_tables(folder: &Path, tree: &Path) -> Result<()> {
    let read =
        |name: &str| std::fs::read(tree.join(name)).map_err(|error| failure(folder, error.into()));
    let current = read("current")?;
    let Some((number, rest)) = current.split_first_chunk::<8>() else {
        return Err(damaged(folder, "`current` is cut"));
    };
    let tables = read(&format!("v{}", u64::from_le_bytes(*number)))?;
    let checksum = xxhash_rust::xxh3::xxh3_128(&tables).to_le_bytes();
    match rest.split_first_chunk() {
        Some((expected, [0])) if *expected == checksum => Ok(()),
        _ => Err(damaged(folder, "its list of tables has another checksum")),
    }
}

/// Makes `to` the folder of a store with the rows of the one in `from`, which stays as it is: the tables, which never
/// change, have one more name.
///
/// # Errors
/// `io`.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (tree_folder(from), tree_folder(to));
    let files = |folder: &Path| match std::fs::read_dir(folder) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        files => files?.collect::<std::io::Result<Vec<_>>>(),
    };
    let link = || {
        for file in files(&from)? {
            std::fs::create_dir_all(to.join(TABLES))?;
            if file.file_type()?.is_file() {
                std::fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        for table in files(&from.join(TABLES))? {
            let name = table.file_name();
            std::fs::hard_link(table.path(), to.join(TABLES).join(name))?;
        }
        Ok(())
    };
    link().map_err(io("copy", &from))
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
        let tree = catch("opening the store", || {
            Config::new(&path, next.clone(), whole.clone())
                .use_cache(Arc::new(Cache::with_capacity_bytes(memory / 2)))
                .open()
                .map_err(|error| failure(folder, error))
        });
        let tree = tree.map_err(|error| match error.kind() {
            // The tree gives up on some damage with a panic.
            ErrorKind::Internal => damaged(folder, error.message()),
            _ => error,
        })?;
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
        Ok(Self {
            rows,
            position,
            wake: Some(wake),
            keeper: Some(keeper),
        })
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.rows.closing.store(true, Ordering::Relaxed);
        self.wake = None;
        if let Some(keeper) = self.keeper.take() {
            // A panic of the keeper was caught before.
            drop(keeper.join());
        }
    }
}

impl Rows {
    /// One of the store's own numbers.
    fn number(&self, key: &[u8]) -> Result<Option<u64>> {
        let value = self.tree.get(key, SeqNo::MAX);
        let value = value.map_err(|error| failure(&self.folder, error))?;
        value.map(|value| self.parse_number(&value)).transpose()
    }

    fn parse_number(&self, value: &[u8]) -> Result<u64> {
        let number = value.try_into().map(u64::from_be_bytes);
        number.map_err(|_| damaged(&self.folder, "a number of its own has another form"))
    }

    fn set_number(&self, key: &[u8], number: u64) {
        let seqno = self.next.next();
        self.tree.insert(key, number.to_be_bytes(), seqno);
    }

    /// Gives each storage its number: the one that its name has, or the next one.
    fn name<'a>(&mut self, names: impl Iterator<Item = &'a str>, position: Position) -> Result<()> {
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

    fn key(&self, storage: StorageId, key: &[u8]) -> Vec<u8> {
        let number = &self.numbers[usize::from(storage.0)];
        [number, key].concat()
    }

    fn get(&self, at: SeqNo, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
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

    fn scan(
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

    /// Below which sequence number only the last write of each key is needed.
    fn needed(&self) -> SeqNo {
        let held = locked(&self.held);
        let oldest = held.keys().next().copied();
        oldest.unwrap_or_else(|| self.whole.get()).saturating_sub(1)
    }

    /// Makes everything that is applied durable.
    fn persist(&self) -> Result<()> {
        let whole = locked(&self.group);
        self.tree.rotate_memtable();
        drop(whole);
        self.flush()
    }

    /// Writes the full tables in memory to files, durably.
    fn flush(&self) -> Result<()> {
        let one = self.tree.get_flush_lock();
        let flushed = self.tree.flush(&one, self.needed());
        drop(one);
        flushed.map_err(|error| failure(&self.folder, error))?;
        // Whoever waits holds this lock while it looks.
        drop(locked(&self.failed));
        self.kept.notify_all();
        Ok(())
    }

    /// The keeper: flushes and compacts whenever it is woken.
    fn keep(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            if let Err(error) = catch("the store's keeper", || self.tidy()) {
                *locked(&self.failed) = Some(error);
                self.kept.notify_all();
                return;
            }
        }
    }

    fn tidy(&self) -> Result<()> {
        self.flush()?;
        let mut before = None;
        while !self.closing.load(Ordering::Relaxed) {
            // One step of compaction says nothing of itself; the tables are others where it did something.
            let now = self.levels();
            if before == Some(now) {
                return Ok(());
            }
            before = Some(now);
            let compacted = self.tree.compact(self.strategy.clone(), self.needed());
            compacted.map_err(|error| failure(&self.folder, error))?;
            self.flush()?;
        }
        Ok(())
    }

    fn levels(&self) -> ([usize; 7], u64) {
        let tables = std::array::from_fn(|level| self.tree.level_table_count(level).unwrap_or(0));
        (tables, self.tree.disk_space())
    }

    /// Waits until fewer full tables are in memory than may wait.
    fn wait_for_keeper(&self) -> Result<()> {
        let mut failed = locked(&self.failed);
        loop {
            if let Some(error) = &*failed {
                return Err(error.clone());
            }
            if self.tree.sealed_memtable_count() < WAITING {
                return Ok(());
            }
            failed = self
                .kept
                .wait(failed)
                .unwrap_or_else(PoisonError::into_inner);
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
        let whole = locked(&rows.group);
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
        drop(whole);
        // Where the channel is full, the keeper is yet to come.
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
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

/// The rows as they were at one sequence number.
struct DiskSnapshot {
    rows: Arc<Rows>,
    at: SeqNo,
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

/// A failure of the tree in the contract's terms: what is missing, short or unreadable in its files is damage.
fn failure(folder: &Path, error: lsm_tree::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    match error {
        lsm_tree::Error::Io(source)
            if !matches!(
                source.kind(),
                InvalidData | InvalidInput | NotFound | UnexpectedEof
            ) =>
        {
            io("use", folder)(source)
        }
        error => damaged(folder, &error.to_string()).with_source(error),
    }
}

fn damaged(folder: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the store {} is damaged: {what}; remove this folder, and the next opening makes it anew from the log where \
             the log has its beginning; else restore the data folder from a copy",
            folder.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use engine_core::catalog::StorageId;
    use engine_core::error::ErrorKind;
    use lsm_tree::AbstractTree;
    use proptest::prelude::*;

    use super::{DiskStore, tree_folder};
    use crate::log::Position;
    use crate::platform::OsPlatform;
    use crate::store::suite::{self, Model, STORAGES, check, keeps_the_contract, writes};
    use crate::store::{StateStore, View, Write};

    const NAMES: [&str; STORAGES] = ["a", "b"];

    /// Opens a store with so little memory that the suite's rows do not fit.
    fn open_as(folder: &Path, names: &[&str]) -> engine_core::error::Result<DiskStore> {
        let platform = OsPlatform::new().unwrap();
        DiskStore::open(&platform, folder, names.iter().copied(), 1)
    }

    fn open(folder: &Path) -> DiskStore {
        open_as(folder, &NAMES).unwrap()
    }

    fn row(key: u16, value: &[u8]) -> Write {
        Write {
            storage: StorageId(0),
            key: suite::key(key).into(),
            value: Some(value.into()),
        }
    }

    #[test]
    fn the_store_on_disk_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let count = std::cell::Cell::new(0);
        keeps_the_contract(|storages| {
            assert_eq!(storages, NAMES.len());
            count.set(count.get() + 1);
            Box::new(open(&folder.path().join(count.get().to_string())))
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_store_that_is_opened_again_has_the_rows_of_the_position_that_it_says(
            groups in prop::collection::vec((writes(), any::<bool>()), 1..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            let mut states = vec![Model::default()];
            let mut persisted = 0;
            for (group, persist) in groups {
                let mut model = states[states.len() - 1].clone();
                let position = states.len() as u64;
                store.apply(Position::from_u64(position), &mut group.iter().cloned()).unwrap();
                group.into_iter().for_each(|write| model.write(write));
                states.push(model);
                if persist {
                    prop_assert!(store.snapshot().unwrap().persist().unwrap());
                    persisted = position;
                }
            }
            drop(store);
            let store = open(folder.path());
            let position = store.position().to_u64();
            prop_assert!(position >= persisted);
            check(&store, &states[position as usize])?;
        }
    }

    #[test]
    fn a_snapshot_stays_as_it_is_over_flushes_and_compactions() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store
            .apply(Position::from_u64(1), &mut [row(1, b"then")].into_iter())
            .unwrap();
        let snapshot = store.snapshot().unwrap();
        for n in 2..400 {
            let group = (0..100).map(|key| row(key, &[n as u8; 100]));
            store.apply(Position::from_u64(n), &mut { group }).unwrap();
        }
        store.snapshot().unwrap().persist().unwrap();
        store.rows.tidy().unwrap();
        let mut value = Vec::new();
        assert!(
            snapshot
                .get(StorageId(0), &suite::key(1), &mut value)
                .unwrap()
        );
        assert_eq!(value, b"then");
        assert!(
            !snapshot
                .get(StorageId(0), &suite::key(2), &mut value)
                .unwrap()
        );
    }

    #[test]
    fn rows_that_are_written_again_and_again_take_no_more_and_more_space() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        for n in 1..2_000 {
            let group = (0..100).map(|key| row(key, &[n as u8; 100]));
            store.apply(Position::from_u64(n), &mut { group }).unwrap();
        }
        store.rows.persist().unwrap();
        store.rows.tidy().unwrap();
        // Twenty megabytes were written; ten kilobytes are the state.
        let space = store.rows.tree.disk_space();
        assert!(space < 2 << 20, "{space}");
    }

    #[test]
    fn storages_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store
            .apply(Position::from_u64(1), &mut [row(1, b"in a")].into_iter())
            .unwrap();
        store.rows.persist().unwrap();
        drop(store);
        let store = open_as(folder.path(), &["new", "b", "a"]).unwrap();
        for (storage, expected) in [(0, false), (1, false), (2, true)] {
            let found = store.get(StorageId(storage), &suite::key(1), &mut Vec::new());
            assert_eq!(found.unwrap(), expected, "{storage}");
        }
    }

    #[test]
    fn a_store_that_another_has_open_is_busy() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let refused = open_as(folder.path(), &NAMES).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        // Compaction would remove files under a snapshot's feet.
        let snapshot = store.snapshot().unwrap();
        drop(store);
        let refused = open_as(folder.path(), &NAMES).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        drop(snapshot);
        open(folder.path());
    }

    #[test]
    fn a_folder_whose_tree_is_gone_or_says_no_position_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        std::fs::remove_file(tree_folder(folder.path()).join("current")).unwrap();
        let refused = open_as(folder.path(), &NAMES).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_key_that_is_longer_than_any_row_has_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let key = vec![1; 70_000];
        assert!(!store.get(StorageId(0), &key, &mut Vec::new()).unwrap());
        let take = &mut |_: &[u8], _: &[u8]| panic!("there is no row");
        store.scan(StorageId(0), &key, None, take).unwrap();
    }
}
