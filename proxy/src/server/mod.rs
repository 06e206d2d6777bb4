//! The proxy itself: a main thread, workers, and what a configuration becomes on them.
//!
//! A [`Generation`] is a configuration with everything that can be prepared for all threads. A `Site` is a generation on
//! one thread, with machines, connections to services and all else that stays there.
//! Another configuration becomes another generation; connections end on the site that they began on.

mod access;
mod admin;
mod connection;
mod counts;
mod end;
mod generation;
mod http;
mod lines;
mod main_thread;
mod outlet;
mod parts;
mod pieces;
mod refuse;
mod route;
mod site;
mod stream;
mod tcp;
mod way;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use filters::Level;

pub use generation::{Generation, Options};
pub use lines::Lines;
pub use main_thread::{Proxy, stop_signal};

/// Takes a line of the log: its level, the filter's or the part's name, and the words.
pub type LogSink = Arc<dyn Fn(Level, &str, &str) + Send + Sync>;

/// Where a running proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The listener's name.
    pub name: String,
    /// The address, with the port that the system chose where the configuration says 0.
    pub address: SocketAddr,
}
