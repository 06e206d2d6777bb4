//! ABI 1.0: names, blocks that the host allocates here, rows handed over one by one.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::slice;

use super::{ARENA, OUTPUT, bad_key, io, record};
use crate::backend::{Backend, Op};
use crate::builder::KeyBuilder;
use crate::error::Error;
use crate::registry::extensions;
use crate::row::Row;
use crate::wasm::arena::Arena;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    #[link_name = "HostGetElem"]
    fn host_get_elem(key: *const u8, element: *mut *const u8) -> i32;
    #[link_name = "HostReadElems"]
    fn host_read_elems(context: *mut c_void, prefix: *const u8) -> i32;
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
}

#[unsafe(export_name = "WasmAbiVersion_1_0")]
extern "C" fn abi_version() {}

#[unsafe(export_name = "WasmMalloc")]
extern "C" fn malloc(size: usize) -> *mut u8 {
    ARENA.with_borrow_mut(|arena| arena.alloc(size))
}

#[unsafe(export_name = "WasmReset")]
extern "C" fn reset() {
    ARENA.with_borrow_mut(Arena::reset);
    OUTPUT.with_borrow_mut(Vec::clear);
    MESSAGE.take();
}

#[unsafe(export_name = "WasmRun")]
extern "C" fn run(name: *const c_char, kind: i32, args: *const u8) -> *const Handover {
    // SAFETY: the host gives a NUL-terminated name and a block, both of which stay until `WasmReset`.
    let (name, args) = unsafe { (CStr::from_ptr(name), block(args)) };
    OUTPUT.with_borrow_mut(Vec::clear);
    let found = extensions().find(|extension| {
        extension.name.as_bytes() == name.to_bytes() && extension.kind as i32 == kind
    });
    let ended = match found {
        None => Err((NO_SUCH_EXTENSION, String::new())),
        Some(extension) => super::run(extension, &Host, args),
    };
    let (status, message) = ended.err().unwrap_or_default();
    hand_over(status, message)
}

fn hand_over(status: u32, message: String) -> *const Handover {
    OUTPUT.with_borrow(|intents| {
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

/// The key block `{u32 storage_len, u32 key_len, storage, key}`.
fn key_block(key: &KeyBuilder<'_>) -> Vec<u8> {
    let (storage, key) = (key.storage().as_bytes(), key.as_bytes());
    let lengths = [storage.len() as u32, key.len() as u32].map(u32::to_le_bytes);
    [lengths.as_flattened(), storage, key].concat()
}

impl Backend for Host {
    fn get<'run>(&'run self, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, Error> {
        let mut element = std::ptr::null();
        // SAFETY: the key block is whole, and the host writes nothing but the one address.
        let code = unsafe { host_get_elem(key_block(key).as_ptr(), &raw mut element) };
        match code {
            // SAFETY: on 0 the host has written the address of a block that it allocated here, which stays until
            // `WasmReset`. No extension can keep it longer: it runs with a lifetime that ends with the invocation.
            0 => Ok(Some(Row::new(unsafe { block(element) }))),
            1 => Ok(None),
            code => Err(failure(code, key)),
        }
    }

    fn read(
        &self,
        prefix: &KeyBuilder<'_>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Error> {
        let mut each = Each(each);
        // SAFETY: the key block is whole, and `each` lives until the call is over, in which alone the host uses it.
        let code = unsafe { host_read_elems((&raw mut each).cast(), key_block(prefix).as_ptr()) };
        match code {
            0 => Ok(()),
            code => Err(failure(code, prefix)),
        }
    }

    fn call(&self, function: &str, _: &[u8]) -> Result<Vec<u8>, Error> {
        panic!("no foreign function `{function}`: ABI 1.0 has none")
    }

    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) {
        let pieces = [storage.as_bytes(), key, value];
        let [storage_len, key_len, value_len] = pieces.map(|piece| piece.len() as u32);
        record([op as u32, storage_len, key_len, value_len], &pieces);
    }
}

fn failure(code: i32, key: &KeyBuilder<'_>) -> Error {
    let storage = key.storage();
    match code {
        2 => bad_key(key),
        3 => io(key),
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
