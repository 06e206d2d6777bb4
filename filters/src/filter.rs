//! What a filter is: callbacks for what passes, and verdicts on how it goes on.

use std::any::Any;

use crate::stream::StreamRef;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server, through the filters in order.
    Request,
    /// From the server to the client, through the filters in reverse.
    Response,
}

impl Direction {
    /// Both ways.
    pub const BOTH: [Self; 2] = [Self::Request, Self::Response];
}

/// How a stream goes on behind a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What the filter holds of this direction, and this, goes on to the next filter.
    Continue,
    /// Nothing goes on before a later callback says so, or the filter [resumes](StreamRef::resume) the direction.
    Hold(Next),
    /// This data is forgotten, and what the filter holds stays held; headers and trailers are held.
    Discard,
}

/// Which callback comes next while a filter holds a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// None before the filter resumes the direction. What arrives waits; beyond the limit the sender is asked to wait.
    Resumed,
    /// Each further chunk, with all that is held before it. A body beyond the limit is refused.
    Each,
    /// Each further chunk, with all that is held before it. Beyond the limit the sender is asked to wait.
    EachWaiting,
    /// One for the whole body. A body beyond the limit is refused.
    Whole,
}

/// Why a filter's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Everything went through, or a local reply did.
    Done,
    /// The client, the server or the proxy broke it off.
    Reset,
}

/// One filter of one stream, on the stream's thread.
///
/// The body that [`Filter::on_data`] is about is [`StreamRef::body`].
/// A callback that sends a [local reply](StreamRef::local_reply) ends the request whatever it answers.
pub trait Filter: Any {
    /// A TCP connection was made; HTTP streams begin with their headers.
    fn on_connection(&mut self, _stream: &StreamRef) -> Verdict {
        Verdict::Continue
    }

    /// Headers arrived, and nothing behind them where `end` is set.
    fn on_headers(&mut self, _stream: &StreamRef, _direction: Direction, _end: bool) -> Verdict {
        Verdict::Continue
    }

    /// Data arrived, the last of its direction where `end` is set.
    fn on_data(&mut self, _stream: &StreamRef, _direction: Direction, _end: bool) -> Verdict {
        Verdict::Continue
    }

    /// Trailers arrived. Any `Hold` means: until resumed.
    fn on_trailers(&mut self, _stream: &StreamRef, _direction: Direction) -> Verdict {
        Verdict::Continue
    }

    /// One side of a TCP connection was closed: `by_us` where the proxy did it.
    fn on_close(&mut self, _stream: &StreamRef, _direction: Direction, _by_us: bool) {}

    /// The stream is over and may be logged; headers and trailers can still be read.
    fn on_log(&mut self, _stream: &StreamRef) {}

    /// The stream is gone after this; called once for each filter, whatever happened before.
    fn on_destroy(&mut self, _stream: &StreamRef, _reason: EndReason) {}
}
