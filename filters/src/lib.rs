//! Filters on streams of HTTP and TCP: what a filter is, and the chain that runs some of them in order.
//!
//! A [`Chain`] belongs to one stream and one thread, and does no input or output: what arrives is put into it, what its
//! filters let pass is taken out of it, and what they ask of the world goes through [`Worker`].
//! So the same chain serves a proxy and a test without a network.
//!
//! Requests run through the filters in order, responses in reverse.
//! [`native`] is the friendly way to write a filter in Rust.
//! A filter that panics is answered for with a local reply and never called again; nobody else notices.
//!
//! ```
//! use filters::{Chain, Direction, Filter, Headers, Part, Settings, StreamInfo, StreamRef, Verdict, testing};
//!
//! struct Greet;
//!
//! impl Filter for Greet {
//!     fn on_headers(&mut self, stream: &StreamRef, direction: Direction, _end: bool) -> Verdict {
//!         if direction == Direction::Request {
//!             stream.headers(direction).unwrap().add("x-greeting", "hello");
//!         }
//!         Verdict::Continue
//!     }
//! }
//!
//! let mut chain = Chain::new(vec![Box::new(Greet)], StreamInfo::default(), Settings::default(), testing::worker());
//! chain.headers(Direction::Request, Headers::from_iter([(":path", "/")]), true);
//! assert!(matches!(chain.take(Direction::Request), Some(Part::Headers { end: true })));
//! let stream = chain.stream();
//! let headers = stream.headers(Direction::Request).unwrap();
//! assert_eq!(headers.get("x-greeting"), Some(&b"hello"[..]));
//! ```

pub mod body;
pub mod callout;
#[cfg(feature = "certificates")]
pub mod certificate;
pub mod chain;
pub mod filter;
pub mod handle;
pub mod headers;
pub mod limits;
mod mailbox;
pub mod metrics;
pub mod native;
pub mod panics;
pub mod stream;
pub mod surroundings;
pub mod testing;
pub mod worker;

pub use body::Body;
pub use chain::{Chain, Length, Part, Settings};
pub use filter::{Direction, EndReason, Filter, Next, Verdict};
pub use handle::{StreamGone, StreamHandle};
pub use headers::{Headers, Pairs};
pub use limits::FilterLimits;
pub use stream::{LocalReply, ResponseFlag, StreamInfo, StreamRef, UpstreamOverride};
pub use surroundings::{Json, Metadata, MetadataOf, NodeId, Surroundings, TrafficDirection};
pub use worker::{Level, Worker};
