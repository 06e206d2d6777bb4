//! ABI 1.1: numbers, one exchange buffer, rows pulled from the host, batches.

use std::cell::{Cell, RefCell};
use std::slice;
use std::thread::LocalKey;

use super::{ARENA, OUTPUT, bad_key, io, record};
use crate::backend::{Backend, Op};
use crate::builder::KeyBuilder;
use crate::error::Error;
use crate::names::Names;
use crate::registry::{Extension, extensions};
use crate::row::Row;
use crate::wasm::arena::Arena;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    #[link_name = "HostStorage"]
    fn host_storage(name: *const u8, name_len: usize) -> i32;
    #[link_name = "HostGet"]
    fn host_get(storage: i32, key: *const u8, key_len: usize, to: *mut u8, room: usize) -> i32;
    #[link_name = "HostTake"]
    fn host_take(to: *mut u8, room: usize) -> i32;
    #[link_name = "HostScan"]
    fn host_scan(storage: i32, prefix: *const u8, prefix_len: usize) -> i32;
    #[link_name = "HostRows"]
    fn host_rows(cursor: i32, to: *mut u8, room: usize) -> i32;
    #[link_name = "HostNext"]
    fn host_next(status: u32) -> i64;
    #[link_name = "HostForeign"]
    fn host_foreign(name: *const u8, name_len: usize) -> i32;
    #[link_name = "HostCall"]
    fn host_call(number: i32, arg: *const u8, arg_len: usize, to: *mut u8, room: usize) -> i32;
}

/// The exchange header, as the ABI lays it out.
#[derive(Clone, Copy)]
#[repr(C)]
struct Exchange {
    input: *const u8,
    input_len: usize,
    output: *const u8,
    output_len: usize,
}

/// Bytes of arguments for which there is room without being asked.
const INPUT: usize = 1 << 10;

/// Bytes for the rows of one crossing.
const ROWS: usize = 16 << 10;

thread_local! {
    static EXCHANGE: Cell<Exchange> = const {
        Cell::new(Exchange {
            input: std::ptr::null(),
            input_len: 0,
            output: std::ptr::null(),
            output_len: 0,
        })
    };
    static INPUT_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The storages that were asked for, with their numbers.
    static STORAGES: RefCell<Names<i32>> = const { RefCell::new(Names::new()) };
    /// The foreign functions that were asked for, with their numbers.
    static FOREIGN: RefCell<Names<i32>> = const { RefCell::new(Names::new()) };
    /// Buffers of range reads that are over.
    static ROW_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

#[unsafe(export_name = "WasmAbiVersion_1_1")]
extern "C" fn abi_version() {}

#[unsafe(export_name = "WasmExchange")]
extern "C" fn exchange() -> *const Exchange {
    reserve(INPUT);
    EXCHANGE.with(|exchange| exchange.as_ptr().cast_const())
}

#[unsafe(export_name = "WasmReserve")]
extern "C" fn reserve(size: usize) {
    INPUT_BUFFER.with_borrow_mut(|buffer| {
        // Without room, the host sees by the header that there is none.
        let _ = buffer.try_reserve_exact(size);
        let header = Exchange {
            input: buffer.as_ptr(),
            input_len: buffer.capacity(),
            ..EXCHANGE.get()
        };
        EXCHANGE.set(header);
    });
}

/// An extension's number is its address, the same in every instance.
#[unsafe(export_name = "WasmResolve")]
extern "C" fn resolve(kind: i32, name_len: usize) -> i32 {
    // SAFETY: the host has put so many bytes into the input buffer.
    let name = unsafe { input(name_len) };
    let mut found = extensions().filter(|extension| extension.name.as_bytes() == name);
    match found.find(|extension| extension.kind as i32 == kind) {
        Some(extension) => std::ptr::from_ref(extension) as i32,
        None => -1,
    }
}

#[unsafe(export_name = "WasmInvoke")]
extern "C" fn invoke(extension: *const Extension, args_len: usize) -> u32 {
    ARENA.with_borrow_mut(Arena::reset);
    OUTPUT.with_borrow_mut(Vec::clear);
    // SAFETY: the host hands back a number that `resolve` gave it, and has put the arguments into the input buffer.
    let (extension, args) = unsafe { (&*extension, input(args_len)) };
    let status = match super::run(extension, &Host, args) {
        Ok(()) => 0,
        Err((status, words)) => {
            if !words.is_empty() {
                record([MESSAGE, 0, 0, words.len() as u32], &[words.as_bytes()]);
            }
            status
        }
    };
    OUTPUT.with_borrow(|output| {
        EXCHANGE.set(Exchange {
            output: output.as_ptr(),
            output_len: output.len(),
            ..EXCHANGE.get()
        });
    });
    status
}

/// The op of the record with an error's words.
const MESSAGE: u32 = 5;

#[unsafe(export_name = "WasmBatch")]
extern "C" fn batch(extension: *const Extension, args_len: usize) {
    let (mut extension, mut args_len) = (extension, args_len);
    loop {
        let status = invoke(extension, args_len);
        // SAFETY: the header describes what the invocation hands over.
        let next = unsafe { host_next(status) };
        if next < 0 {
            return;
        }
        extension = (next >> 32) as usize as *const Extension;
        args_len = next as u32 as usize;
    }
}

/// What the host has put into the input buffer.
///
/// # Safety
/// It must have put so many bytes there, and must not be asked for the next invocation while they are used.
unsafe fn input<'a>(len: usize) -> &'a [u8] {
    // SAFETY: the caller's; the buffer is there since `exchange`.
    unsafe { slice::from_raw_parts(EXCHANGE.get().input, len) }
}

/// The host, across the boundary.
struct Host;

/// What the host answers for a name that it does not know. It can say the name when this is used as a number, since it
/// was asked for it last.
const UNKNOWN: i32 = -1;

/// The number of a storage.
fn storage(name: &str) -> i32 {
    // SAFETY: the host reads the name and nothing else.
    let ask = || unsafe { host_storage(name.as_ptr(), name.len()) };
    number(&STORAGES, name, ask)
}

/// The number of a foreign function.
fn foreign(name: &str) -> i32 {
    // SAFETY: the host reads the name and nothing else.
    let ask = || unsafe { host_foreign(name.as_ptr(), name.len()) };
    number(&FOREIGN, name, ask)
}

fn number(
    names: &'static LocalKey<RefCell<Names<i32>>>,
    name: &str,
    ask: impl FnOnce() -> i32,
) -> i32 {
    let ask = || Some(ask()).filter(|number| *number >= 0);
    let known = names.with_borrow_mut(|names| names.find(name, ask));
    known.unwrap_or(UNKNOWN)
}

/// The least room for a value or an answer, so that most need one crossing.
const VALUE: usize = 512;

impl Backend for Host {
    fn get<'run>(&'run self, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, Error> {
        let storage = storage(key.storage());
        let (to, room) = ARENA.with_borrow_mut(|arena| arena.room(VALUE));
        let bytes = key.as_bytes();
        // SAFETY: the host reads the key and writes at most so many bytes to a place that the arena has free.
        let len = unsafe { host_get(storage, bytes.as_ptr(), bytes.len(), to, room) };
        if len < 0 {
            return absent(len, key);
        }
        let place = ARENA.with_borrow_mut(|arena| arena.alloc(len as usize));
        if len as usize > room {
            assert!(!place.is_null(), "no memory for a row of {len} bytes");
            // SAFETY: the arena has just given out the place.
            unsafe { host_take(place, len as usize) };
        }
        // SAFETY: the value was written there: it is the free place itself, or what `host_take` was given. It stays until
        // the next invocation, and no extension can keep it longer: it runs with a lifetime that ends with its own.
        let value = unsafe { slice::from_raw_parts(place, len as usize) };
        Ok(Some(Row::new(value)))
    }

    fn read(
        &self,
        prefix: &KeyBuilder<'_>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Error> {
        let storage = storage(prefix.storage());
        let bytes = prefix.as_bytes();
        // SAFETY: the host reads the prefix and nothing else.
        let cursor = unsafe { host_scan(storage, bytes.as_ptr(), bytes.len()) };
        if cursor < 0 {
            return absent(cursor, prefix).map(drop);
        }
        let mut buffer = ROW_BUFFERS.with_borrow_mut(|spare| spare.pop().unwrap_or_default());
        buffer.reserve(ROWS);
        let ended = loop {
            // SAFETY: the host writes at most so many bytes to the buffer, which are initialised once it answers so.
            let filled = unsafe {
                let filled = host_rows(cursor, buffer.as_mut_ptr(), buffer.capacity());
                buffer.set_len(usize::try_from(filled).unwrap_or(0));
                filled
            };
            match filled {
                0 => break Ok(()),
                ..=-8 => buffer.reserve_exact(filled.unsigned_abs() as usize),
                ..0 => break absent(filled, prefix).map(drop),
                _ => for_each_row(&buffer, each),
            }
        };
        ROW_BUFFERS.with_borrow_mut(|spare| spare.push(buffer));
        ended
    }

    fn call(&self, function: &str, argument: &[u8]) -> Result<Vec<u8>, Error> {
        let number = foreign(function);
        let mut answer: Vec<u8> = Vec::with_capacity(VALUE);
        let (to, room) = (answer.as_mut_ptr(), answer.capacity());
        // SAFETY: the host reads the argument and writes at most so many bytes to the buffer.
        let code = unsafe { host_call(number, argument.as_ptr(), argument.len(), to, room) };
        // Of the two, the one that is not negative.
        let len = code.max(!code) as usize;
        if len > room {
            answer.reserve_exact(len);
            // SAFETY: there is room for so many bytes, which the host has kept.
            unsafe { host_take(answer.as_mut_ptr(), len) };
        }
        // SAFETY: the host has written them.
        unsafe { answer.set_len(len) };
        if code < 0 {
            return Err(Error::rejected(String::from_utf8_lossy(&answer)));
        }
        Ok(answer)
    }

    fn write(&self, op: Op, name: &str, key: &[u8], value: &[u8]) {
        let storage = match op {
            Op::Result => 0,
            _ => storage(name).cast_unsigned(),
        };
        let [key_len, value_len] = [key, value].map(|piece| piece.len() as u32);
        record([op as u32, storage, key_len, value_len], &[key, value]);
    }
}

/// Takes rows `{u32 key_len, u32 value_len, key, value}` apart.
fn for_each_row(mut rows: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) {
    while let Some((head, rest)) = rows.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *head;
        let key_len = u32::from_le_bytes([a, b, c, d]) as usize;
        let value_len = u32::from_le_bytes([e, f, g, h]) as usize;
        let (key, rest) = rest.split_at(key_len);
        let (value, rest) = rest.split_at(value_len);
        each(key, value);
        rows = rest;
    }
}

/// What a negative answer to a read means.
fn absent<'run>(code: i32, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, Error> {
    match code {
        -1 => Ok(None),
        -2 => Err(bad_key(key)),
        -3 => Err(io(key)),
        code => panic!("the host answered {code} for storage `{}`", key.storage()),
    }
}
