//! A command log in memory, for tests: it keeps the contract, but nothing after the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Append, CommandLog, Group, GroupBuffer, LogCursor, LogError, LogReader, Position, Verification,
};

/// The largest group that a [`MemoryLog`] takes, in bytes.
const MAX_GROUP: usize = 64 << 20;

/// What several openings of one volatile log share. Clones are handles to the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    epoch: u64,
    /// How many of the first records are forgotten.
    forgotten: usize,
    /// Groups, and `None` for takeovers, behind those that are forgotten. The first record of all has position 1.
    records: VecDeque<Option<Arc<[u8]>>>,
}

impl Records {
    fn tail(&self) -> Position {
        Position((self.forgotten + self.records.len()) as u64)
    }

    fn oldest(&self) -> Position {
        Position(self.forgotten as u64)
    }
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer of a volatile log. Every opening of the store takes it over.
#[derive(Debug)]
pub struct MemoryLog {
    store: MemoryStore,
    epoch: u64,
}

impl MemoryLog {
    /// Takes the log in `store` over.
    #[must_use]
    pub fn open(store: &MemoryStore) -> Self {
        let mut records = store.lock();
        records.epoch += 1;
        records.records.push_back(None);
        Self {
            store: store.clone(),
            epoch: records.epoch,
        }
    }
}

impl CommandLog for MemoryLog {
    fn max_group(&self) -> usize {
        MAX_GROUP
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        Ok(self.store.lock().tail())
    }

    fn append(&mut self, expected: Position, group: &mut GroupBuffer) -> Result<Append, LogError> {
        if group.len() > MAX_GROUP {
            return Err(LogError::TooLarge {
                len: group.len(),
                max: MAX_GROUP,
            });
        }
        let mut records = self.store.lock();
        if records.epoch != self.epoch || records.tail() != expected {
            return Ok(Append::Stale);
        }
        records.records.push_back(Some(group.bytes().into()));
        Ok(Append::Appended(records.tail()))
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(self.store.clone())
    }

    fn forget(&mut self, below: Position, retain: u64) -> Result<(), LogError> {
        let mut records = self.store.lock();
        let end = below.min(records.tail()).0.saturating_sub(1);
        let mut end = usize::try_from(end).unwrap_or(usize::MAX);
        let mut kept = 0;
        while end > records.forgotten && kept < retain {
            end -= 1;
            let record = &records.records[end - records.forgotten];
            kept += record.as_ref().map_or(0, |group| group.len() as u64);
        }
        while records.forgotten < end {
            records.records.pop_front();
            records.forgotten += 1;
        }
        Ok(())
    }

    fn verify(&self) -> Result<Verification, LogError> {
        let mut found = Verification::default();
        for group in self.store.lock().records.iter().flatten() {
            found.groups += 1;
            found.bytes += group.len() as u64;
        }
        Ok(found)
    }
}

impl LogReader for MemoryStore {
    fn tail(&self) -> Position {
        self.lock().tail()
    }

    fn oldest(&self) -> Position {
        self.lock().oldest()
    }

    fn read(&self, after: Position) -> Result<Box<dyn LogCursor>, LogError> {
        self.lock().check(after)?;
        Ok(Box::new(MemoryCursor {
            store: self.clone(),
            position: after,
            group: Arc::default(),
        }))
    }
}

impl Records {
    fn check(&self, position: Position) -> Result<(), LogError> {
        let (oldest, tail) = (self.oldest(), self.tail());
        if (oldest..=tail).contains(&position) {
            return Ok(());
        }
        Err(LogError::OutOfRange {
            position,
            oldest,
            tail,
        })
    }
}

#[derive(Debug)]
struct MemoryCursor {
    store: MemoryStore,
    position: Position,
    group: Arc<[u8]>,
}

impl LogCursor for MemoryCursor {
    fn next_group(&mut self) -> Result<Option<Group<'_>>, LogError> {
        let records = self.store.lock();
        records.check(self.position)?;
        let done = usize::try_from(self.position.0).unwrap_or(usize::MAX);
        // What is forgotten was passed, or the check would have failed.
        for record in records.records.iter().skip(done - records.forgotten) {
            self.position.0 += 1;
            if let Some(group) = record {
                self.group = Arc::clone(group);
                return Ok(Some(Group {
                    position: self.position,
                    bytes: &self.group,
                }));
            }
        }
        Ok(None)
    }

    fn position(&self) -> Position {
        self.position
    }
}
