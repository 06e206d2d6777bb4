//! A proxy that serves: real sockets, configurations in Envoy's form, filters in WAT.

mod bodies;
mod callouts;
mod endings;
mod filters;
mod harness;
mod mixed;
mod requests;
mod running;
mod services;
mod soak;
mod tls;
mod ways;
mod yaml;
