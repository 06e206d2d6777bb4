//! A proxy whose filters are extensions, configured by the part of Envoy's static bootstrap that such deployments use.
//!
//! [`config`] reads a configuration and says everything that is wrong with it; [`Proxy`] serves one, or only
//! prepares it.

pub mod config;
mod headers;
mod server;
mod tls;
mod upstream;

pub use server::{Generation, Lines, Listening, LogSink, Options, Proxy, stop_signal};
