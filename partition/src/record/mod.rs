//! What a group of the log holds: commands and projections with their intents, as one MessagePack array.
//!
//! A group is `[version, time, seed, storage names, packages, entries]`. Its packages are `[name, hash]` each: the code that
//! all its commands ran on, that of validators that asked for nothing too. Storages and packages inside a group are numbers
//! into these lists, so that a log outlives a reordered manifest. An entry is one of
//! - `[0, offset, attempt, command, id?, args, results, steps]`, with a step for the command, then for each validator and
//!   synchronous projector that wrote or called an impure foreign function: `[extension, package, intents, answers]`;
//! - `[1, projector, package hash, through offset, after position, events]`, with `[offset, intents, answers]` for each event;
//! - `[2, job, through, error?]`: every due time of the job up to this one is settled, in this group; where it ran, its
//!   intents are a command under the job's name right before this, or it ended in the error `[kind, message]`.
//!
//! An intent is `[verb, storage, key, value]`; an answer `[function, hash of the argument, bytes]`, with the words of a
//! function that failed as text instead.

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;
pub use engine_core::registry::PackageHash;

use self::read::Parser;
pub use crate::journal::ForeignAnswer;

mod read;
mod size;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use size::{JOB_ERROR, max_entry, too_large};
pub(crate) use write::{GroupWriter, Step};

/// The version of this layout.
const VERSION: i64 = 4;

/// What all commands of a group share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupHead {
    /// The time of the group in microseconds since the Unix epoch.
    pub time: i64,
    /// What the random numbers of the group's commands are made of.
    pub seed: [u8; 16],
}

/// What an asynchronous projector made of some events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// The projector.
    pub projector: String,
    /// The package that it is in.
    pub package: PackageHash,
    /// Every event below this offset is counted.
    pub through: u64,
    /// The position in the log up to which every event is counted.
    pub after: u64,
    /// What it made of each event, where it made anything.
    pub events: Vec<Counted>,
}

/// What an asynchronous projector made of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// The offset of the event's command.
    pub offset: u64,
    /// What it asked for.
    pub intents: Intents,
    /// What impure foreign functions answered it.
    pub answers: Vec<ForeignAnswer>,
}

/// A group read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What its commands share.
    pub head: GroupHead,
    /// The code that its commands ran on: name and version of each package.
    pub packages: Vec<(String, PackageHash)>,
    /// The entries in order.
    pub entries: Vec<Entry>,
}

/// One entry of a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An accepted command.
    Command(Command),
    /// What an asynchronous projector made of some events.
    Projection(Projection),
    /// How far a job is.
    Job(JobRun),
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// The job.
    pub job: String,
    /// Every due time up to this one is settled, in microseconds since the Unix epoch.
    pub through: i64,
    /// Kind and message of the error that the job ended in.
    pub error: Option<(String, String)>,
}

/// An accepted command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its place among the partition's commands, from 0.
    pub offset: u64,
    /// Its place among all that the group tried, refused commands too, from 0; its random numbers are made of it.
    pub attempt: u64,
    /// The command.
    pub name: String,
    /// The id that it came with.
    pub id: Option<String>,
    /// The encoded arguments.
    pub args: Vec<u8>,
    /// The encoded result rows.
    pub results: Vec<Vec<u8>>,
    /// What each extension asked for, the command itself first.
    pub steps: Vec<LoggedStep>,
}

/// One step of an accepted command.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedStep {
    /// The extension.
    pub extension: String,
    /// The package that it is in.
    pub package: PackageHash,
    /// What it asked for.
    pub intents: Intents,
    /// What impure foreign functions answered it, in order.
    pub answers: Vec<ForeignAnswer>,
}

impl Group {
    /// Reads a group, with the storages of a catalog.
    ///
    /// # Errors
    /// `corrupt` where the bytes are no group, or name a storage that the catalog lacks.
    pub fn read(bytes: &[u8], catalog: &Catalog) -> Result<Self> {
        Parser::new(bytes, catalog).group().map_err(|error| {
            if error.kind() == ErrorKind::Corrupt {
                return error;
            }
            Error::new(
                ErrorKind::Corrupt,
                format!("a group of the log cannot be read: {}", error.message()),
            )
        })
    }
}
