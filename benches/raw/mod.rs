//! The raw runtimes: the same guests over bare host functions, with the same limits on, and nothing else around them.
//!
//! Raw runs what the engines run: the extensions of `guests/bench` with the SDK's rows and keys, over the same
//! [`World`](crate::world::World). It leaves out what is ours: the ABI, capabilities, quotas, the checks of keys and
//! rows, the ledger. Memory, functions and the place of the arguments are looked up once; the deadline is armed for each
//! call; the intents arrive in one block that nobody reads.
//! - WebAssembly: `guests/bare`, which is `guests/bench` over two imports, `get` and `emit`. `Empty` is a typed call of
//!   an exported function with an empty body.
//! - Luau: the same `bench.lua`, over host functions that know the benches' storages by heart.
//! - builtin: the same functions, called through their pointers.

mod builtin;
mod lua;
mod wasmer;
mod wasmtime;

pub use builtin::RawBuiltin;
pub use lua::{LuaTemplate, RawLua};
pub use wasmer::{RawWasmer, WasmerCode, WasmerTemplate};
pub use wasmtime::{RawWasmtime, WasmtimeCode, WasmtimeTemplate, Watch};

pub(crate) use wasmer::{SLICE, bytes};
pub(crate) use wasmtime::DEADLINE;

use crate::world::World;

/// Where a guest's memory holds what the host reads or writes.
pub(crate) fn range(at: u32, len: u32) -> std::ops::Range<usize> {
    at as usize..at as usize + len as usize
}

/// Bytes of the buffer that rows are copied into.
const BUFFER: usize = 64 << 10;

/// Writes the blobs of a group row by row, from the buffer's beginning again whenever it is full.
fn copy(prefix: &[u8], mut write: impl FnMut(usize, &[u8])) {
    let mut at = 0;
    for (key, value) in World::get().blobs(prefix, None) {
        if at + key.len() + value.len() > BUFFER {
            at = 0;
        }
        for piece in [key, value] {
            write(at, piece);
            at += piece.len();
        }
    }
}
