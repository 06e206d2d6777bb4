//! Engine `wasmer` with the small guests of engine `wasmtime`'s tests, beside that engine, and what is its own.

// Helpers are tests too: what is allowed in these is allowed in them.
#![cfg(test)]

#[path = "../../../engine-wasm-wasmtime/tests/engine/abi_md.rs"]
mod abi_md;
#[path = "../../../engine-wasm-wasmtime/tests/engine/blocks.rs"]
mod blocks;
mod deadline;
mod equal;
#[path = "../../../engine-wasm-wasmtime/tests/engine/limits.rs"]
mod limits;
mod stack;
mod support;
#[path = "../../../engine-wasm-wasmtime/tests/engine/threads.rs"]
mod threads;
mod together;
#[path = "../../../engine-wasm-wasmtime/tests/engine/trace.rs"]
mod trace;
#[path = "../../../engine-wasm-wasmtime/tests/engine/wasi.rs"]
mod wasi;
