//! Filters in Lua, with the interface that users of Envoy know.
//!
//! A script defines `envoy_on_request(handle)`, `envoy_on_response(handle)` or both; each runs as a coroutine on the
//! streams that pass, and waits where it asks for a body, for trailers or for another service.
//! The crate's README has all methods and what differs from Envoy.
//!
//! ```
//! use filter_lua::{LuaConfig, LuaFilters};
//! use filters::{Chain, Direction, Headers, Settings, StreamInfo, testing};
//!
//! let filters = LuaFilters::load(LuaConfig {
//!     default_source_code: Some(
//!         "function envoy_on_request(handle) handle:headers():add('x-greeting', 'hello') end".into(),
//!     ),
//!     ..LuaConfig::default()
//! })
//! .unwrap();
//! let thread = filters.on_thread();
//! let filter = thread.filter(None);
//! let mut chain = Chain::new(vec![filter], StreamInfo::default(), Settings::default(), testing::worker());
//! chain.headers(Direction::Request, Headers::from_iter([(":path", "/")]), true);
//! let stream = chain.stream();
//! let headers = stream.headers(Direction::Request).unwrap();
//! assert_eq!(headers.get("x-greeting"), Some(&b"hello"[..]));
//! ```
//!
//! # Virtual machines
//! [`LuaFilters`] is compiled once and shared. Each thread has its own [`Machines`], with one virtual machine for each
//! script: what a script makes global there is shared by the streams of that thread, and by no other script.
//!
//! # Errors
//! A script's mistake ends its coroutine: it is logged and counted (`lua.errors`), and what it held goes on as it is then.
//! A limit (memory, stack, or the deadline from where a coroutine is resumed to where it waits) answers the stream with
//! 500, or breaks it off where a response has begun to go to the client, and is counted as `lua.limits`. The next
//! stream gets a new virtual machine. Streams that wait in the old one go on in it; what they need beyond the limit of
//! memory, which all of them share, ends each of them in the same way.
//! Nothing that a script calls runs longer than the bounds that `engine-lua` names.

mod buffer;
mod call;
mod config;
mod filter;
mod handle;
mod headers;
mod info;
mod json;
mod keys;
mod machine;
mod run;
mod scan;
mod stats;
mod tls;

pub use config::{LoadError, LuaConfig, LuaFilters, LuaLimits, LuaRoute, LuaRouteConfig};
pub use machine::Machines;
