//! What can go wrong with a command log.

use std::io;
use std::path::{Path, PathBuf};

use super::{Owner, Position};

/// Why a command log did not do what it was asked to.
///
/// `path` is the file or folder concerned, or whatever names the place in a
/// driver that has no files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The system failed to read, write or name something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase before the path.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The storage has no space left. Nothing that was appended before is lost.
    #[error("no space left to {what} {}; free some and open the log again: {source}", path.display())]
    Full {
        /// What was tried, as a verb phrase before the path.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log is damaged, and not in the way that a crash leaves it. No record was changed.
    #[error("{} is damaged at byte {offset}: {what}; restore this file from a copy", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file the damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file of the log belongs to another partition or application. No record was changed.
    #[error(
        "{} belongs to {}, not to partition {} here: folders or files were mixed up; put each back where it was",
        path.display(), found.instead_of(*expected), expected.partition()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Owner,
        /// Whose it was to be.
        expected: Owner,
    },
    /// Another writer has this log open.
    #[error("another process has the log in {} open; stop it first", path.display())]
    Locked {
        /// The log's folder.
        path: PathBuf,
    },
    /// An earlier operation failed, so this log answers nothing until it is opened again.
    #[error("an earlier write to the log failed; open the log again")]
    Poisoned,
    /// The group is larger than this log takes. Nothing was tried.
    #[error("a group of {len} bytes is larger than the log's maximum of {max}")]
    TooLarge {
        /// The size of the group, in bytes.
        len: usize,
        /// The largest size that the log takes, in bytes.
        max: usize,
    },
    /// The log does not reach to this position: it was forgotten, or never appended.
    #[error("the log has nothing at position {position}: it reaches from {oldest} to {tail}")]
    OutOfRange {
        /// What was asked for.
        position: Position,
        /// The oldest position that can be read after.
        oldest: Position,
        /// The position of the last durable group.
        tail: Position,
    },
}

impl LogError {
    /// An error of the system, told apart by whether space ran out.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::Full { what, path, source }
                }
                _ => Self::Io { what, path, source },
            }
        }
    }
}
