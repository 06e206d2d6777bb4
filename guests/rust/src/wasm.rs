//! The guest's side of the WASM boundary: its exports, its imports, and what it hands over.
//!
//! A guest speaks ABI 1.1, or with the feature `abi-1-0` the older 1.0.

#![allow(
    unsafe_code,
    reason = "exports, imports and what lies at the addresses that cross the boundary"
)]

mod arena;
#[cfg(feature = "abi-1-0")]
mod v1_0;
#[cfg(not(feature = "abi-1-0"))]
mod v1_1;

use std::cell::{Cell, RefCell};
use std::panic;

use crate::backend::Backend;
use crate::builder::KeyBuilder;
use crate::error::{Error, ErrorKind};
use crate::registry::Extension;
use crate::row::Row;
use crate::state::State;
use arena::Arena;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn fd_write(fd: i32, texts: *const IoVec, count: i32, written: *mut u32) -> i32;
}

unsafe extern "C" {
    /// Runs the constructors by which extensions register. The linker provides it, and leaves exports as they are
    /// where it is called by name; else it would have each export run the constructors again.
    fn __wasm_call_ctors();
}

/// WASI's description of a piece of output.
#[repr(C)]
struct IoVec {
    start: *const u8,
    len: usize,
}

thread_local! {
    static ARENA: RefCell<Arena> = const { RefCell::new(Arena::new()) };
    /// The records that the running extension hands over.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

#[unsafe(export_name = "WasmInit")]
extern "C" fn init() {
    // SAFETY: the host calls `WasmInit` once, and nothing ran before it.
    unsafe { __wasm_call_ctors() };
    panic::set_hook(Box::new(|panic| {
        // Outside of an invocation there is no log.
        if RUNNING.get() {
            let message = panic.payload_as_str().unwrap_or("a value that is no text");
            let place = panic.location().map(|at| format!(" at {at}"));
            let place = place.unwrap_or_default();
            print(&format!("the extension panicked{place}: {message}\n"));
        }
    }));
}

/// Nothing to end: the instance goes with its memory.
#[unsafe(export_name = "WasmFinit")]
extern "C" fn finit() {}

/// Runs an extension; one that fails has a status and the words that go with it.
fn run(extension: &Extension, backend: &dyn Backend, args: &[u8]) -> Result<(), (u32, String)> {
    RUNNING.set(true);
    let ended = (extension.run)(&mut State::new(backend), &Row::new(args));
    let ended = ended.map_err(status_of);
    RUNNING.set(false);
    ended
}

#[cold]
fn status_of(error: Error) -> (u32, String) {
    let status = match error.kind() {
        ErrorKind::Rejected => 1,
        ErrorKind::NotFound => 2,
        ErrorKind::BadKey => 3,
        ErrorKind::Io => 4,
        ErrorKind::Misfit => {
            print(&format!("{error}\n"));
            std::arch::wasm32::unreachable()
        }
    };
    (status, error.into_message())
}

fn bad_key(key: &KeyBuilder<'_>) -> Error {
    let message = format!("not a key of storage `{}`", key.storage());
    Error::new(ErrorKind::BadKey, message)
}

fn io(key: &KeyBuilder<'_>) -> Error {
    let message = format!("the host could not read storage `{}`", key.storage());
    Error::new(ErrorKind::Io, message)
}

/// Appends a record of the output: numbers, then the pieces whose lengths they end with.
fn record(numbers: [u32; 4], pieces: &[&[u8]]) {
    let mut head = [0; 16];
    for (place, number) in head.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    OUTPUT.with_borrow_mut(|output| {
        output.extend_from_slice(&head);
        for piece in pieces {
            output.extend_from_slice(piece);
        }
    });
}

/// Writes to standard error, which the host takes into its log.
fn print(text: &str) {
    let piece = IoVec {
        start: text.as_ptr(),
        len: text.len(),
    };
    let mut written = 0;
    // SAFETY: one piece, which is readable, and a place for the number of bytes written.
    unsafe { fd_write(2, &raw const piece, 1, &raw mut written) };
}
