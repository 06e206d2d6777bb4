//! The one error type of the contract: a kind to branch on, a message to read.

use std::error::Error as StdError;
use std::fmt;

use crate::limits::Limit;

/// What went wrong, as something to branch on.
///
/// The kind of an extension's failure is part of the contract: the same failure has the same kind on every engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The extension refused, in its own words.
    Rejected,
    /// The extension required a row that is not there.
    NotFound,
    /// A key is not a tuple of the storage's key fields.
    BadKey,
    /// The host state could not be read or written.
    Io,
    /// The arguments do not fit the extension's schema.
    BadArgs,
    /// An intent or a result does not fit its schema, is not canonical, or is not for this kind of extension.
    BadIntent,
    /// The manifest does not give the extension this storage, verb or foreign function.
    Denied,
    /// An `insert` found the key present.
    Exists,
    /// An `update` found the key absent.
    Absent,
    /// The guest crashed: a trap, a panic, an uncaught script error.
    Trap,
    /// The guest broke the rules of the boundary: a pointer out of range, a malformed block.
    Abi,
    /// A limit was hit; the limit names itself.
    Limit(Limit),
    /// The package cannot be loaded; the message is the whole report.
    Package,
    /// The engine cannot keep a limit that the package does not waive.
    NotKept,
    /// Nothing has that name.
    Unknown,
    /// An application's manifest is wrong; the message names each line.
    Manifest,
    /// The queue is full; try again later.
    Busy,
    /// The partition has stopped; nothing more is accepted until it is opened again.
    Stopped,
    /// The command id was used before, with other arguments.
    IdConflict,
    /// Stored data is damaged.
    Corrupt,
    /// The host itself failed where it should not have.
    Internal,
}

impl ErrorKind {
    /// The kind's name on the wire and on the command line, such as `id_conflict`; a limit's own name for [`ErrorKind::Limit`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::NotFound => "not_found",
            Self::BadKey => "bad_key",
            Self::Io => "io",
            Self::BadArgs => "bad_args",
            Self::BadIntent => "bad_intent",
            Self::Denied => "denied",
            Self::Exists => "exists",
            Self::Absent => "absent",
            Self::Trap => "trap",
            Self::Abi => "abi",
            Self::Limit(limit) => limit.name(),
            Self::Package => "package",
            Self::NotKept => "not_kept",
            Self::Unknown => "unknown",
            Self::Manifest => "manifest",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
            Self::IdConflict => "id_conflict",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }

    /// Says whether the guest ended in an orderly way, so that its sandbox can be used again.
    pub fn leaves_instance_usable(self) -> bool {
        matches!(
            self,
            Self::Rejected | Self::NotFound | Self::BadKey | Self::Io
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure: its [kind](ErrorKind), what was wrong, where, and what to do.
///
/// Callers and tests branch on [`Error::kind`], never on the text.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
struct Inner {
    kind: ErrorKind,
    message: String,
    place: Option<String>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The result of everything that can fail in the contract.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The most bytes of words that an invocation's error has, whatever its guest said.
pub const MESSAGE_BYTES: usize = 64 << 10;

impl Error {
    /// Makes an error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            place: None,
            source: None,
        }))
    }

    /// Makes the error of a limit that was hit, with the amount that was allowed.
    pub fn limit(limit: Limit, allowed: impl fmt::Display) -> Self {
        Self::new(
            ErrorKind::Limit(limit),
            format!("limit `{limit}` reached: {allowed} allowed"),
        )
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Keeps so many bytes of the message at most.
    #[must_use]
    pub fn cut(mut self, most: usize) -> Self {
        let message = &mut self.0.message;
        if message.len() > most {
            message.truncate(message.floor_char_boundary(most));
            message.shrink_to_fit();
        }
        self
    }

    /// Names the place, such as `flights/RecordFlight`, unless a place nearer to the failure is named already.
    #[must_use]
    pub fn at(mut self, place: impl FnOnce() -> String) -> Self {
        self.0.place.get_or_insert_with(place);
        self
    }

    /// What went wrong, as something to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it went wrong, where that is known.
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }
}

impl Clone for Error {
    /// Copies everything but the source, which becomes its text.
    fn clone(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            place: self.0.place.clone(),
            source: self.0.source.as_ref().map(|s| s.to_string().into()),
        }))
    }
}
