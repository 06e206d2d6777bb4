//! A case of the matrix: a call at a place, and what it answers.

use proxy_wasm::Status;

/// Where a guest calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Where {
    /// While it starts, before there is any context.
    Start,
    /// In the plugin's context.
    Configure,
    /// In a stream's.
    Headers,
    Body,
    ResponseHeaders,
    /// When a call was answered.
    Answer,
    /// When a gRPC stream has a message, and when it ended.
    Message,
    /// When the stream is over and the guest was left its context.
    Tick,
    /// In a stream's, where every call is refused, as of no known cluster, or as one that cannot be sent.
    Refused,
    Unknown,
    Unsendable,
    /// In a stream's, on a host without randomness.
    Chanceless,
}

/// An argument of a call.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    N(i64),
    /// A text's address and length.
    T(&'static str),
    /// A place for an answer.
    Out,
    /// What the last answer was put into `Out`.
    Got,
    /// An address that leads nowhere.
    Bad,
    /// The address of nowhere, and a length.
    BadText,
}

/// A function's name and its arguments.
pub(super) type Call = (&'static str, &'static [Arg]);

pub(super) const EMPTY_MAP: &str = "";

/// A call, after others at the same place, and the number that it answers.
pub(super) struct Cell {
    pub(super) answer: i32,
    pub(super) at: Where,
    pub(super) before: &'static [Call],
    pub(super) call: Call,
}

pub(super) const fn cell(status: Status, at: Where, call: Call) -> Cell {
    Cell {
        answer: status as i32,
        at,
        before: &[],
        call,
    }
}

pub(super) const fn after(before: &'static [Call], status: Status, at: Where, call: Call) -> Cell {
    Cell {
        answer: status as i32,
        at,
        before,
        call,
    }
}
