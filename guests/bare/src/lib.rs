//! The benches' guest over bare host functions: what the engines' costs are compared with.
//!
//! The extensions and their encodings are those of `guests/bench`, word for word; what is left out is the ABI. The host
//! writes the arguments where `input` says, calls `invoke`, answers each `get` into the guest's buffer, and takes all
//! intents in one `emit`. Nothing is checked on either side.

#![cfg(target_arch = "wasm32")]

#[path = "../../bench/src/lib.rs"]
mod guest;

use std::cell::{Cell, RefCell};

use extengine_guest::{Backend, Error, ErrorKind, KeyBuilder, Op, Row, Run, State};

#[link(wasm_import_module = "bare")]
unsafe extern "C" {
    /// The value's length, or -1 where there is no such row.
    fn get(storage: u32, key: *const u8, key_len: usize, value: *mut u8, capacity: usize) -> i32;
    fn emit(intents: *const u8, len: usize);
}

/// The extensions, in the order of the benches' manifest.
const RUNS: [Run; 8] = [
    guest::empty,
    guest::read_one,
    guest::read_write,
    guest::ten,
    guest::order,
    guest::payload,
    guest::scan,
    guest::spin,
];

/// The most bytes of arguments.
const INPUT: usize = 80 << 10;

/// The most bytes of a row that is read.
const ROW: usize = 128;

/// Bytes for the rows that one invocation reads.
const ROWS: usize = 32 * ROW;

/// Where a cache line begins, so that large arguments are copied at full speed.
#[repr(align(64))]
struct Aligned {
    _bytes: [u8; INPUT],
}

static mut ARGS: Aligned = Aligned { _bytes: [0; INPUT] };
static mut READ: [u8; ROWS] = [0; ROWS];

thread_local! {
    /// How much of `READ` is taken.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
    static INTENTS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Nothing at all: a typed call, and no more.
#[unsafe(export_name = "empty")]
extern "C" fn empty() {}

/// Where the host writes the arguments.
#[unsafe(export_name = "input")]
extern "C" fn input() -> *mut u8 {
    (&raw mut ARGS).cast()
}

/// Runs an extension; answers 0 if it ended well.
#[unsafe(export_name = "invoke")]
extern "C" fn invoke(extension: usize, args_len: usize) -> i32 {
    // SAFETY: the host writes arguments between invocations only.
    let args = unsafe { std::slice::from_raw_parts(input(), args_len) };
    TAKEN.set(0);
    let ended = RUNS[extension](&mut State::new(&Bare), &Row::new(args));
    INTENTS.with_borrow_mut(|intents| {
        if ended.is_ok() && !intents.is_empty() {
            // SAFETY: the host only reads them.
            unsafe { emit(intents.as_ptr(), intents.len()) };
        }
        intents.clear();
    });
    i32::from(ended.is_err())
}

struct Bare;

impl Backend for Bare {
    fn get<'run>(&'run self, key: &KeyBuilder<'_>) -> Result<Option<Row<'run>>, Error> {
        let (bytes, taken) = (key.as_bytes(), TAKEN.get());
        assert!(taken + ROW <= ROWS, "too many rows");
        // SAFETY: the host writes at most `ROW` bytes to what is not taken yet, and says how many. Nobody else has them
        // until the next invocation, which the row does not outlive.
        unsafe {
            let value = (&raw mut READ).cast::<u8>().add(taken);
            let storage = number(key.storage());
            let len = get(storage, bytes.as_ptr(), bytes.len(), value, ROW);
            let Ok(len) = usize::try_from(len) else {
                return Ok(None);
            };
            TAKEN.set(taken + len);
            Ok(Some(Row::new(std::slice::from_raw_parts(value, len))))
        }
    }

    /// Ranges are compared with a copy of their rows, which needs no guest.
    fn read(&self, _: &KeyBuilder<'_>, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Io, "there are no ranges here"))
    }

    fn call(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::rejected("there are no foreign functions here"))
    }

    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) {
        INTENTS.with_borrow_mut(|intents| {
            for number in [
                op as u32,
                number(storage),
                key.len() as u32,
                value.len() as u32,
            ] {
                intents.extend_from_slice(&number.to_le_bytes());
            }
            intents.extend_from_slice(key);
            intents.extend_from_slice(value);
        });
    }
}

/// A storage's number among the benches' own.
fn number(storage: &str) -> u32 {
    match storage {
        "item" => 0,
        "customer" => 1,
        "order" => 2,
        _ => 3,
    }
}
