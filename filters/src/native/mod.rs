//! Native filters: written in Rust against [`StreamFilter`], registered by name, with asynchronous tasks on tokio.
//!
//! A filter's callbacks and all that touches its stream run on the stream's thread, one at a time, so a filter needs no
//! locks. What takes time is a [task](Stream::spawn) on the host's tokio runtime: the callback answers
//! [`Answer::Running`], the stream waits under its limit, and what the task ends with is the next answer.
//!
//! A direction is held only while something will let it go: data to come, or a task under way. An answer that would
//! hold it otherwise, or that its callback does not take, is logged and answered with a local 500; so is a panic, in a
//! callback or in a task, and a task that is lost.
//!
//! ```
//! use std::sync::Arc;
//!
//! use filters::native::{Answer, BoxError, NativeConfig, NativeFilter, Stream, StreamFilter};
//! use filters::Direction;
//!
//! /// Adds a header to requests.
//! struct Greet(Arc<String>);
//!
//! impl StreamFilter for Greet {
//!     fn decode_headers(&mut self, stream: &Stream<'_, Self>, _end: bool) -> Answer {
//!         if let Some(mut headers) = stream.headers(Direction::Request) {
//!             headers.add("x-greeting", self.0.as_bytes());
//!         }
//!         Answer::Continue
//!     }
//! }
//!
//! impl NativeFilter for Greet {
//!     type Config = String;
//!
//!     fn parse(config: &serde_json::Value) -> Result<String, BoxError> {
//!         Ok(config.as_str().ok_or("the greeting must be text")?.to_owned())
//!     }
//!
//!     fn new(config: &Arc<String>) -> Self {
//!         Self(Arc::clone(config))
//!     }
//! }
//!
//! filters::native_filter!("example.greet", Greet);
//!
//! # fn main() {
//! assert!(NativeConfig::parse("example.greet", &"hello".into()).is_ok());
//! assert!(NativeConfig::parse("example.greet", &7.into()).is_err());
//! # }
//! ```

/// The examples of the guide are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/moving-from-envoy.md")]
struct Guide;

mod adapter;
mod callout;
mod config;
mod stream;
mod task;

use crate::filter::{Direction, EndReason};
use crate::stream::LocalReply;

pub use callout::CallError;
pub use config::{BoxError, NativeConfig, NativeError, NativeFilter, Registration, names};
pub use stream::Stream;
pub use task::{Handle, Outcome};

/// What [`native_filter!`](crate::native_filter!) needs.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}

/// How a stream goes on behind a callback of a native filter, or behind its task.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What the filter holds of this direction, and this, goes on to the next filter.
    Continue,
    /// This is held until the whole body is here, which the next data callback is told of. A larger body than the
    /// stream's limit is refused. Not for trailers.
    StopAndBuffer,
    /// This is held until the next chunk is here, of which the next data callback is told with all that is held. Beyond
    /// the limit the sender waits while a task of this direction is under way; without one the body is refused, since
    /// nobody would let the sender go on. Not for trailers.
    StopAndBufferWatermark,
    /// This data, and what is held of the body, is forgotten; held headers stay held. Only for data.
    StopNoBuffer,
    /// The request is answered in the server's place, and a TCP connection is closed.
    LocalReply(LocalReply),
    /// This is held until the [task](Stream::spawn) of this direction ends; what arrives meanwhile waits, and beyond the
    /// limit the sender does.
    Running,
}

/// One native filter of one stream; every callback runs on the stream's thread, and each lets everything pass unless it
/// is written otherwise.
///
/// "Decode" is what goes from the client to the server, "encode" what comes back. The body that a data callback is about
/// is [`body`](crate::StreamRef::body), and nothing of it is copied before the filter asks for it.
pub trait StreamFilter: Sized + 'static {
    /// The request's headers arrived, and nothing behind them where `end` is set.
    fn decode_headers(&mut self, _stream: &Stream<'_, Self>, _end: bool) -> Answer {
        Answer::Continue
    }

    /// Data of the request, or of a TCP connection from the client, arrived; the last where `end` is set.
    /// Behind the last data there may be trailers instead.
    fn decode_data(&mut self, _stream: &Stream<'_, Self>, _end: bool) -> Answer {
        Answer::Continue
    }

    /// The request's trailers arrived.
    fn decode_trailers(&mut self, _stream: &Stream<'_, Self>) -> Answer {
        Answer::Continue
    }

    /// The response's headers arrived, and nothing behind them where `end` is set.
    fn encode_headers(&mut self, _stream: &Stream<'_, Self>, _end: bool) -> Answer {
        Answer::Continue
    }

    /// Data of the response, or of a TCP connection from the server, arrived; the last where `end` is set.
    /// Behind the last data there may be trailers instead.
    fn encode_data(&mut self, _stream: &Stream<'_, Self>, _end: bool) -> Answer {
        Answer::Continue
    }

    /// The response's trailers arrived.
    fn encode_trailers(&mut self, _stream: &Stream<'_, Self>) -> Answer {
        Answer::Continue
    }

    /// A TCP connection was made; answered as headers are.
    fn on_connection(&mut self, _stream: &Stream<'_, Self>) -> Answer {
        Answer::Continue
    }

    /// One side of a TCP connection was closed: `by_us` where the proxy did it.
    fn on_close(&mut self, _stream: &Stream<'_, Self>, _direction: Direction, _by_us: bool) {}

    /// The stream is over and may be logged; headers and trailers can still be read. Tasks begun here are cancelled at
    /// once; what should outlive the stream is spawned on [`Stream::runtime`].
    fn on_log(&mut self, _stream: &Stream<'_, Self>) {}

    /// The stream is gone after this. Its tasks and calls have been cancelled before.
    fn on_destroy(&mut self, _stream: &Stream<'_, Self>, _reason: EndReason) {}
}
