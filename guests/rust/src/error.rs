//! The error of an extension.

use std::fmt;

/// What went wrong, as something to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The extension refuses, in its own words.
    Rejected,
    /// A row that the extension requires is not there.
    NotFound,
    /// A key is not a tuple of the storage's key fields.
    BadKey,
    /// The host could not read its state.
    Io,
    /// A field is not of the type that the extension takes it for: code and manifest disagree.
    ///
    /// An invocation that ends with it ends as a crash does, as a `trap`.
    Misfit,
}

/// Why an extension, or a read, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// The extension's own refusal, with the message that the caller gets.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, message)
    }

    /// Makes an error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What went wrong, as something to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What went wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_message(self) -> String {
        self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
