//! The command log: groups of bytes in one order, durable before they are answered.
//!
//! [`CommandLog`] is the contract that every driver keeps, wherever the log
//! lives. [`SegmentLog`] keeps it in a folder of files, [`MemoryLog`] in
//! memory, for tests.
//!
//! Opening is the driver's own business, but always means the same: whoever
//! opens a log takes it over. The driver finds the tail, appends a takeover
//! record with the new writer's epoch, and from then on every append of an
//! earlier writer is [`Append::Stale`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

mod error;
mod group;
mod memory;
mod owner;
mod segment;

pub use error::LogError;
pub use group::GroupBuffer;
pub use memory::{MemoryLog, MemoryStore};
pub use owner::Owner;
pub use segment::{OpenReport, SegmentLog, SegmentOptions, verify};

/// Where a group is in its log. Later groups have greater positions.
///
/// Positions mean nothing but their order: they have gaps, and where they are
/// next is for the driver to say. A position stays the same for as long as the
/// log exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before the first group of any log.
    pub const START: Self = Self(0);

    /// The position that [`to_u64`](Self::to_u64) gave out, read back from a store.
    #[must_use]
    pub const fn from_u64(position: u64) -> Self {
        Self(position)
    }

    /// The position as a number to store.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of an append.
#[derive(Debug)]
#[must_use]
pub enum Append {
    /// The group is durable and has this position, the log's new tail.
    Appended(Position),
    /// The tail is not the expected one; nothing was written. Another writer
    /// has taken over, or the caller did not append at the tail.
    Stale,
    /// The group may be in the log or not. The log is poisoned: open it again
    /// and read its tail before anything of the group is answered.
    Unknown(LogError),
}

/// The writer's side of a command log.
///
/// Groups are appended one at a time, in order. An append that ends in
/// [`Append::Unknown`], or in an error other than [`LogError::TooLarge`],
/// poisons the log: all later calls fail with [`LogError::Poisoned`] until it
/// is opened again. Readers of a poisoned log go on reading what is durable.
pub trait CommandLog: Send + fmt::Debug {
    /// The largest group that the log takes, in bytes.
    fn max_group(&self) -> usize;

    /// The epoch of this writer: greater than that of every writer before it.
    fn epoch(&self) -> u64;

    /// The position of the last record, which the next append expects.
    /// Right after opening this is the writer's own takeover record.
    ///
    /// # Errors
    /// `Poisoned`; `Io` in drivers that ask another machine.
    fn tail(&mut self) -> Result<Position, LogError>;

    /// Appends one group after the record at `expected`, and returns when it is durable.
    ///
    /// What the driver stores with the group it puts in front of it; whoever uses the buffer again clears it first.
    ///
    /// # Errors
    /// `TooLarge`, with nothing tried; `Poisoned`; `Io` and `Full` where the
    /// group is certainly not in the log. Where that is not certain, the
    /// answer is [`Append::Unknown`].
    fn append(&mut self, expected: Position, group: &mut GroupBuffer) -> Result<Append, LogError>;

    /// A cheap handle that reads the log, from any thread, while this writer appends.
    fn reader(&self) -> Arc<dyn LogReader>;

    /// Forgets groups with positions less than `below`, as many as is convenient, maybe none.
    ///
    /// The group at `below` and all later ones stay, and so do the `retain` bytes of log before it.
    ///
    /// # Errors
    /// `Io`, after which the log is poisoned; `Poisoned`.
    fn forget(&mut self, below: Position, retain: u64) -> Result<(), LogError>;

    /// Reads the whole log up to the tail, and reports all damage.
    ///
    /// # Errors
    /// `Io` where the log cannot be read at all. Damage is not an error here.
    fn verify(&self) -> Result<Verification, LogError>;
}

/// The readers' side of a command log. Only durable groups are seen.
pub trait LogReader: Send + Sync + fmt::Debug {
    /// The position of the last durable record.
    fn tail(&self) -> Position;

    /// The oldest position that [`read`](Self::read) accepts: everything that
    /// the log still holds comes after it.
    fn oldest(&self) -> Position;

    /// A cursor on the groups after the one at `after`.
    ///
    /// # Errors
    /// `OutOfRange`.
    fn read(&self, after: Position) -> Result<Box<dyn LogCursor>, LogError>;
}

/// Groups of a log one after the other.
pub trait LogCursor: Send + fmt::Debug {
    /// The next group, or `None` where the next one is not durable yet. Call
    /// again later to follow the log.
    ///
    /// # Errors
    /// `Corrupt`; `Io`; `OutOfRange` where the log forgot what comes next.
    /// The cursor stays where it is and the call can be repeated.
    fn next_group(&mut self) -> Result<Option<Group<'_>>, LogError>;

    /// Up to where the cursor has read: at the tail this is the tail's
    /// position, even if the last record is a takeover and no group.
    fn position(&self) -> Position;
}

/// One group of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its position.
    pub position: Position,
    /// What was appended.
    pub bytes: &'a [u8],
}

/// What a walk over a whole log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whole groups.
    pub groups: u64,
    /// Bytes in whole groups.
    pub bytes: u64,
    /// What is damaged. Groups that were lost to it are not counted.
    pub damage: Vec<Finding>,
    /// What a crash left behind, which the next opening puts right without loss.
    pub notices: Vec<Finding>,
}

/// Something that was found in a log, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, or whatever names the place in a driver that has no files.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What.
    pub what: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, what } = self;
        write!(f, "{} at byte {offset}: {what}", path.display())
    }
}
