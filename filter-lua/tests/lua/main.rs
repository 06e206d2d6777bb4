//! Filters in Lua on streams, without a network.

mod bench;
mod calls;
mod documented;
mod information;
mod interleaved;
mod limits;
mod panics;
mod passing;
