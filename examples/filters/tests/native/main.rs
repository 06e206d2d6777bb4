//! The example filters in a chain, without a network.

mod authorise;
mod bench;
mod redact;
mod scan;
