//! Engine `wasmtime` with small guests: what the shared suite does not look at.

// Helpers are tests too: what is allowed in these is allowed in them.
#![cfg(test)]

mod abi_md;
mod blocks;
mod life;
mod limits;
mod numbers;
mod support;
mod threads;
mod trace;
mod wasi;
