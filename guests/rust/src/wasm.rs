//! The guest's side of ABI 1.0: its exports, its imports, and what it hands over.

#![allow(
    unsafe_code,
    reason = "exports, imports and the blocks that lie at the addresses the host gives"
)]

mod arena;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::panic;
use std::slice;

use crate::backend::{Backend, Op};
use crate::builder::KeyBuilder;
use crate::error::{Error, ErrorKind};
use crate::registry::extensions;
use crate::row::Row;
use crate::state::State;
use arena::Arena;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    #[link_name = "HostGetElem"]
    fn host_get_elem(key: *const u8, element: *mut *const u8) -> i32;
    #[link_name = "HostReadElems"]
    fn host_read_elems(context: *mut c_void, prefix: *const u8) -> i32;
}

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

/// What `WasmRun` hands over, as the ABI lays it out.
#[derive(Clone, Copy)]
#[repr(C)]
struct Handover {
    status: u32,
    message_len: usize,
    message: *const u8,
    intents_len: usize,
    intents: *const u8,
}

/// The status of an invocation of an extension that the package does not have; the host answers `abi` for it.
const NO_SUCH_EXTENSION: u32 = 5;

thread_local! {
    static ARENA: RefCell<Arena> = const { RefCell::new(Arena::new()) };
    static INTENTS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
    static HANDOVER: Cell<Handover> = const {
        Cell::new(Handover {
            status: 0,
            message_len: 0,
            message: std::ptr::null(),
            intents_len: 0,
            intents: std::ptr::null(),
        })
    };
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

#[unsafe(export_name = "WasmAbiVersion_1_0")]
extern "C" fn abi_version() {}

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

#[unsafe(export_name = "WasmMalloc")]
extern "C" fn malloc(size: usize) -> *mut u8 {
    ARENA.with_borrow_mut(|arena| arena.alloc(size))
}

#[unsafe(export_name = "WasmReset")]
extern "C" fn reset() {
    ARENA.with_borrow_mut(Arena::reset);
    INTENTS.with_borrow_mut(Vec::clear);
    MESSAGE.take();
}

#[unsafe(export_name = "WasmRun")]
extern "C" fn run(name: *const c_char, kind: i32, args: *const u8) -> *const Handover {
    // SAFETY: the host gives a NUL-terminated name and a block, both of which stay until `WasmReset`.
    let (name, args) = unsafe { (CStr::from_ptr(name), block(args)) };
    INTENTS.with_borrow_mut(Vec::clear);
    let found = extensions().find(|extension| {
        extension.name.as_bytes() == name.to_bytes() && extension.kind as i32 == kind
    });
    let (status, message) = match found {
        None => {
            let name = name.to_string_lossy();
            let message = format!("the package has no extension `{name}` of kind number {kind}");
            (NO_SUCH_EXTENSION, message)
        }
        Some(extension) => {
            RUNNING.set(true);
            let ended = (extension.run)(&mut State::new(&Host), &Row::new(args));
            let ended = ended.map_or_else(status_of, |()| (0, String::new()));
            RUNNING.set(false);
            ended
        }
    };
    hand_over(status, message)
}

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

fn hand_over(status: u32, message: String) -> *const Handover {
    INTENTS.with_borrow(|intents| {
        if status == 0 && intents.is_empty() {
            return std::ptr::null();
        }
        MESSAGE.set(message);
        let message = MESSAGE.with_borrow(|message| (message.len(), message.as_ptr()));
        HANDOVER.set(Handover {
            status,
            message_len: message.0,
            message: message.1,
            intents_len: intents.len(),
            intents: intents.as_ptr(),
        });
        HANDOVER.with(|handover| handover.as_ptr().cast_const())
    })
}

/// The host, across the boundary.
struct Host;

/// What a range read calls for each row. Its address is the read's `ctx_id`, so reads nest without a table.
struct Each<'a>(&'a mut dyn FnMut(&[u8], &[u8]));

impl Backend for Host {
    fn get<'run>(&'run self, key: &KeyBuilder) -> Result<Option<Cow<'run, [u8]>>, Error> {
        let mut element = std::ptr::null();
        // SAFETY: the key block is whole, and the host writes nothing but the one address.
        let code = unsafe { host_get_elem(key.as_block().as_ptr(), &raw mut element) };
        match code {
            // SAFETY: on 0 the host has written the address of a block that it allocated here, which stays until
            // `WasmReset`. No extension can keep it longer: it runs with a lifetime that ends with the invocation.
            0 => Ok(Some(unsafe { block(element) }.into())),
            1 => Ok(None),
            code => Err(failure(code, key)),
        }
    }

    fn read(&self, prefix: &KeyBuilder, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let mut each = Each(each);
        // SAFETY: the key block is whole, and `each` lives until the call is over, in which alone the host uses it.
        let code = unsafe { host_read_elems((&raw mut each).cast(), prefix.as_block().as_ptr()) };
        match code {
            0 => Ok(()),
            code => Err(failure(code, prefix)),
        }
    }

    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) {
        let pieces = [storage.as_bytes(), key, value];
        INTENTS.with_borrow_mut(|intents| {
            intents.extend_from_slice(&(op as u32).to_le_bytes());
            for piece in pieces {
                intents.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            }
            for piece in pieces {
                intents.extend_from_slice(piece);
            }
        });
    }
}

fn failure(code: i32, key: &KeyBuilder) -> Error {
    let storage = key.storage();
    match code {
        2 => Error::new(
            ErrorKind::BadKey,
            format!("not a key of storage `{storage}`"),
        ),
        3 => Error::new(
            ErrorKind::Io,
            format!("the host could not read storage `{storage}`"),
        ),
        4 => panic!("no memory for an element of storage `{storage}`"),
        code => panic!("the host answered {code} for storage `{storage}`"),
    }
}

#[unsafe(export_name = "WasmOnRead")]
extern "C" fn on_read(context: *mut Each<'_>, key: *const u8, element: *const u8) {
    // SAFETY: the host hands back the context of the read that is running, which nothing else uses meanwhile, and two
    // blocks that it allocated here, which stay until `WasmReset`.
    unsafe {
        let storage_len = number(key) as usize;
        let key_len = number(key.add(4)) as usize;
        let key = slice::from_raw_parts(key.add(8 + storage_len), key_len);
        ((*context).0)(key, block(element));
    }
}

/// The bytes of a block `{u32 len, bytes}`.
///
/// # Safety
/// There must be a block at the address, unchanged as long as the bytes are used.
unsafe fn block<'a>(start: *const u8) -> &'a [u8] {
    // SAFETY: the caller's.
    unsafe { slice::from_raw_parts(start.add(4), number(start) as usize) }
}

/// # Safety
/// Four bytes must be readable at the address.
unsafe fn number(at: *const u8) -> u32 {
    // SAFETY: the caller's; blocks are not aligned.
    u32::from_le(unsafe { at.cast::<u32>().read_unaligned() })
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
