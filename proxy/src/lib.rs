//! A proxy whose filters are extensions, configured by the part of Envoy's static bootstrap that such deployments use.
//!
//! [`config`] reads a configuration and says everything that is wrong with it.

pub mod config;
mod headers;
mod tls;
mod upstream;
