//! Reading a log of segments while its writer appends.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::record::Kind;
use super::scan::{Found, Scanner};
use crate::log::{Group, LogCursor, LogError, LogReader, Position};
use crate::platform::Platform;

/// What the writer and the readers of one open log share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) platform: Arc<dyn Platform>,
    pub(super) folder: PathBuf,
    /// Where each segment begins.
    segments: RwLock<BTreeSet<u64>>,
    /// The position of the last durable record. Everything before it is in the files.
    durable: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        platform: Arc<dyn Platform>,
        folder: PathBuf,
        segments: BTreeSet<u64>,
        durable: u64,
    ) -> Self {
        Self {
            platform,
            folder,
            segments: RwLock::new(segments),
            durable: AtomicU64::new(durable),
        }
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn set_durable(&self, position: u64) {
        self.durable.store(position, Ordering::Release);
    }

    /// Looks at, or changes, where the segments begin.
    pub(super) fn segments<T>(&self, f: impl FnOnce(&mut BTreeSet<u64>) -> T) -> T {
        f(&mut self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the segment with the record after `position` begins, and the
    /// position up to which it can be read now.
    fn segment_after(&self, position: u64, durable: u64) -> Option<(u64, u64)> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let first = *segments.range(..=position).next_back()?;
        let next = segments.range(position.checked_add(1)?..).next();
        Some((first, next.map_or(durable, |next| durable.min(*next))))
    }

    fn out_of_range(&self, position: u64) -> LogError {
        LogError::OutOfRange {
            position: Position(position),
            oldest: self.oldest(),
            tail: Position(self.durable()),
        }
    }

    fn oldest(&self) -> Position {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        Position(segments.first().copied().unwrap_or_default())
    }
}

/// A handle to read a log with.
#[derive(Debug)]
pub(super) struct SegmentReader(pub(super) Arc<Shared>);

impl LogReader for SegmentReader {
    fn tail(&self) -> Position {
        Position(self.0.durable())
    }

    fn oldest(&self) -> Position {
        self.0.oldest()
    }

    fn read(&self, after: Position) -> Result<Box<dyn LogCursor>, LogError> {
        if !(self.oldest()..=self.tail()).contains(&after) {
            return Err(self.0.out_of_range(after.0));
        }
        Ok(Box::new(SegmentCursor {
            shared: Arc::clone(&self.0),
            scanner: None,
            position: after.0,
        }))
    }
}

#[derive(Debug)]
struct SegmentCursor {
    shared: Arc<Shared>,
    /// The segment read last.
    scanner: Option<Scanner>,
    position: u64,
}

impl SegmentCursor {
    /// Goes on by one record. Returns its kind, or `None` at the tail.
    fn step(&mut self) -> Result<Option<Kind>, LogError> {
        let durable = self.shared.durable();
        if self.position >= durable {
            return Ok(None);
        }
        let (first, limit) = self
            .shared
            .segment_after(self.position, durable)
            .ok_or_else(|| self.shared.out_of_range(self.position))?;
        let scanner = match &mut self.scanner {
            Some(scanner) if scanner.header.first == first => scanner,
            other => {
                let Shared {
                    platform, folder, ..
                } = &*self.shared;
                other.insert(Scanner::open(platform.files(), folder, first)?)
            }
        };
        match scanner.find(self.position, limit)? {
            Found::Record(head) => {
                self.position = head.end;
                Ok(Some(head.kind))
            }
            Found::Broken { what, .. } => {
                let offset = scanner.header.offset(self.position);
                Err(scanner.corrupt(offset, what))
            }
        }
    }
}

impl LogCursor for SegmentCursor {
    fn next_group(&mut self) -> Result<Option<Group<'_>>, LogError> {
        loop {
            match self.step()? {
                None => return Ok(None),
                Some(Kind::Takeover) => {}
                Some(Kind::Group) => break,
            }
        }
        Ok(self.scanner.as_ref().map(|scanner| Group {
            position: Position(self.position),
            bytes: scanner.payload(),
        }))
    }

    fn position(&self) -> Position {
        Position(self.position)
    }
}
