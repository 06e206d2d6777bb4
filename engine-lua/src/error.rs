//! Lua's errors as the contract's, and back: the one file that knows mlua's error type.

use engine_core::error::{Error, ErrorKind, MESSAGE_BYTES};
use engine_core::limits::Limit;

/// How many bytes of a guest's error message are kept.
const MESSAGE: usize = 4096;

/// Why Lua code ended early.
#[derive(Debug)]
pub enum Cause {
    /// An error of the contract, raised by a host function or by the watch.
    Contract(Error),
    /// The allocator refused.
    Memory,
    /// Calls stand too deep.
    Stack,
    /// Anything else, in Lua's words.
    Other(String),
}

/// Makes an error of the contract one that a Lua callback can raise.
///
/// What is raised lies outside of the virtual machine's memory until it is collected, so its words are cut here.
pub fn raise(error: Error) -> mlua::Error {
    mlua::Error::external(error.cut(MESSAGE_BYTES))
}

impl From<mlua::Error> for Cause {
    fn from(error: mlua::Error) -> Self {
        match error {
            mlua::Error::CallbackError { traceback, cause } => match (*cause).clone().into() {
                Self::Other(text) => Self::Other(with_line(text, &traceback)),
                other => other,
            },
            mlua::Error::WithContext { cause, .. } => (*cause).clone().into(),
            mlua::Error::ExternalError(cause) => match cause.downcast_ref::<Error>() {
                Some(error) => Self::Contract(error.clone()),
                None => Self::Other(cause.to_string()),
            },
            mlua::Error::MemoryError(_) => Self::Memory,
            mlua::Error::StackError => Self::Stack,
            mlua::Error::RuntimeError(text) => Self::of_text(&text),
            other => Self::Other(other.to_string()),
        }
    }
}

impl Cause {
    /// Tells Lua's own failures by the words that Luau uses for them.
    ///
    /// They come as plain strings, and `coroutine.wrap` puts a position before them. A guest that raises the same words
    /// itself is taken at its word: its invocation ends with that limit instead of a trap.
    pub fn of_text(text: &str) -> Self {
        if text.ends_with("not enough memory") {
            Self::Memory
        } else if text.ends_with("stack overflow") || text.ends_with("error in error handling") {
            Self::Stack
        } else {
            let end = text.floor_char_boundary(MESSAGE);
            Self::Other(text[..end].to_owned())
        }
    }
}

/// Adds the innermost line of Lua code that a traceback names.
fn with_line(text: String, traceback: &str) -> String {
    let place = traceback.lines().find_map(|line| {
        let mut parts = line.trim_start().splitn(3, ':');
        let (chunk, rest) = (parts.next()?, parts.next()?);
        let digits = rest.split(' ').next()?;
        digits
            .parse::<u32>()
            .ok()
            .map(|line| format!("{chunk}:{line}"))
    });
    match place {
        Some(place) => format!("{place}: {text}"),
        None => text,
    }
}

/// The kind with this name, of those that a guest may catch.
pub(crate) fn kind_named(name: &str) -> ErrorKind {
    let kinds = [
        ErrorKind::Rejected,
        ErrorKind::NotFound,
        ErrorKind::BadKey,
        ErrorKind::Io,
        ErrorKind::BadIntent,
        ErrorKind::Denied,
        ErrorKind::Abi,
    ];
    let limit = || Limit::from_name(name).map(ErrorKind::Limit);
    let named = kinds.into_iter().find(|kind| kind.name() == name);
    named.or_else(limit).unwrap_or(ErrorKind::Trap)
}

/// What a compiler or a virtual machine that does not start says.
pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("{what}: {error}"))
}

/// A syntax error's text with the place first: the compiler says `:3: message`.
pub fn syntax(chunk: &str, error: &mlua::Error) -> String {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    format!("{chunk}:{}", text.trim_start_matches(':'))
}
