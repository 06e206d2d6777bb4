//! ABI 1.1, the host's side: storages by number, rows into the guest's buffer, foreign functions, the next invocation of
//! a batch.

use std::cell::RefCell;

use engine_core::call::{Call, Filled};
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::foreign::ForeignId;
use engine_core::host::Party;

use super::output;
use super::run::{hand_in, trace_run};
use crate::memory::{abi, bytes, bytes_mut, write};
use crate::runtime::{Guest, HostCall, HostFunction};
use crate::sandbox::{begin, finish};
use crate::state::State;

const NOT_THERE: i32 = -1;
const BAD_KEY: i32 = -2;
const IO: i32 = -3;

/// What `HostNext` answers where there is no invocation any more.
const NO_MORE: i64 = -1;

/// How much of a name is remembered that is not known.
const NAME_BYTES: usize = 256;

/// No name is longer: whatever is, is not looked at.
const MAX_NAME_BYTES: usize = 4096;

macro_rules! function {
    ($name:literal, $shape:ident, $call:expr) => {
        HostFunction {
            module: "env",
            name: $name,
            call: HostCall::$shape($call),
        }
    };
}

/// The host's functions.
pub(crate) static FUNCTIONS: [HostFunction<State>; 9] = [
    function!("HostStorage", R2, host_storage),
    function!("HostGet", R5, host_get),
    function!("HostTake", R2, host_take),
    function!("HostScan", R3, host_scan),
    function!("HostRows", R3, host_rows),
    function!("HostClose", N1, host_close),
    function!("HostNext", L1, host_next),
    function!("HostForeign", R2, host_foreign),
    function!("HostCall", R5, host_call),
];

/// The storage of a number that `HostStorage` gave out.
///
/// # Errors
/// `denied`, not sticky: the caller decides whether this was a read or an intent.
pub(super) fn storage(state: &State, number: u32) -> Result<StorageId> {
    state.catalog.numbered(number).ok_or_else(|| {
        let name = state.v1_1.unknown.borrow();
        let message = format!("the manifest gives this extension no access to a storage `{name}`");
        Error::new(ErrorKind::Denied, message)
    })
}

fn readable(call: &Call<'_>, state: &State, number: i32) -> Result<StorageId> {
    storage(state, number.cast_unsigned()).map_err(|error| call.fail(error))
}

/// The code of a failed read that the guest may handle; it is kept, for a guest that hands it on without words.
///
/// # Errors
/// Every other failure, which ends the guest.
fn code(state: &State, error: Error) -> Result<i32> {
    let code = match error.kind() {
        ErrorKind::BadKey => BAD_KEY,
        ErrorKind::Io => IO,
        _ => return Err(error),
    };
    state.failed_read.replace(Some(error));
    Ok(code)
}

/// Whoever traces learns a storage's name.
fn trace_in(call: &Call<'_>, state: &State, what: &str, number: i32) {
    call.trace(Party::Guest, Party::Instance, || {
        match storage(state, number.cast_unsigned()) {
            Ok(storage) => format!("{what}({})", state.catalog.storage(storage).name),
            Err(_) => format!("{what}({number})"),
        }
    });
}

fn trace_out(call: &Call<'_>, what: &str, answer: i32) {
    call.trace(Party::Instance, Party::Guest, || {
        format!("done {what}: {answer}")
    });
}

fn host_storage(guest: &mut dyn Guest<State>, name_at: i32, name_len: i32) -> Result<i32> {
    let (memory, state) = guest.split();
    let (at, len) = (name_at.cast_unsigned(), name_len.cast_unsigned());
    let name = bytes(memory, "the name of a storage", at, len)?;
    if let Some(id) = known(name).and_then(|name| state.catalog.id(name)) {
        return Ok(id.0.into());
    }
    remember(&state.v1_1.unknown, name);
    Ok(NOT_THERE)
}

/// The name, if it can be one.
fn known(name: &[u8]) -> Option<&str> {
    let name = Some(name).filter(|name| name.len() <= MAX_NAME_BYTES)?;
    std::str::from_utf8(name).ok()
}

/// Remembers a name that is not known.
fn remember(unknown: &RefCell<String>, name: &[u8]) {
    let name = &name[..name.len().min(NAME_BYTES)];
    *unknown.borrow_mut() = String::from_utf8_lossy(name).into_owned();
}

fn host_get(
    guest: &mut dyn Guest<State>,
    number: i32,
    key_at: i32,
    key_len: i32,
    buffer_at: i32,
    buffer_len: i32,
) -> Result<i32> {
    let (memory, state) = guest.split();
    state.slot.with(|call| {
        trace_in(call, state, "HostGet", number);
        let (at, len) = (key_at.cast_unsigned(), key_len.cast_unsigned());
        let key = bytes(memory, "a key", at, len)?;
        let storage = readable(call, state, number)?;
        let mut value = state.value.take();
        value.clear();
        let found = call.get(storage, key, &mut value);
        state.v1_1.waiting.set(false);
        let answer = match found {
            Ok(true) => {
                let (at, len) = (buffer_at.cast_unsigned(), buffer_len.cast_unsigned());
                deliver(memory, state, &value, at, len)?
            }
            Ok(false) => NOT_THERE,
            Err(error) => code(state, error)?,
        };
        state.value.set(value);
        trace_out(call, "HostGet", answer);
        Ok(answer)
    })
}

/// Writes a value to the guest's buffer, or keeps it where it does not fit; answers its length.
fn deliver(memory: &mut [u8], state: &State, value: &[u8], at: u32, room: u32) -> Result<i32> {
    let fits = value.len() <= room as usize;
    if fits {
        write(memory, "the buffer of a value", at, value)?;
    }
    state.v1_1.waiting.set(!fits);
    // No value that a host hands out is longer than 2 GiB, and a longer one could not be addressed.
    i32::try_from(value.len()).map_err(|_| abi("a value is longer than a guest can address"))
}

fn host_take(guest: &mut dyn Guest<State>, buffer_at: i32, buffer_len: i32) -> Result<i32> {
    let (memory, state) = guest.split();
    state.slot.with(|call| {
        call.trace(Party::Guest, Party::Instance, || "HostTake".to_owned());
        call.check()?;
        let mut answer = NOT_THERE;
        if state.v1_1.waiting.get() {
            let value = state.value.take();
            let (at, len) = (buffer_at.cast_unsigned(), buffer_len.cast_unsigned());
            answer = deliver(memory, state, &value, at, len)?;
            state.value.set(value);
        }
        trace_out(call, "HostTake", answer);
        Ok(answer)
    })
}

fn host_scan(
    guest: &mut dyn Guest<State>,
    number: i32,
    prefix_at: i32,
    prefix_len: i32,
) -> Result<i32> {
    let (memory, state) = guest.split();
    state.slot.with(|call| {
        trace_in(call, state, "HostScan", number);
        let (at, len) = (prefix_at.cast_unsigned(), prefix_len.cast_unsigned());
        let prefix = bytes(memory, "a prefix", at, len)?;
        let storage = readable(call, state, number)?;
        let answer = match call.open(storage, prefix) {
            // Four at most are open.
            Ok(cursor) => cursor as i32,
            Err(error) => code(state, error)?,
        };
        trace_out(call, "HostScan", answer);
        Ok(answer)
    })
}

fn host_rows(
    guest: &mut dyn Guest<State>,
    cursor: i32,
    buffer_at: i32,
    buffer_len: i32,
) -> Result<i32> {
    let (memory, state) = guest.split();
    state.slot.with(|call| {
        call.trace(Party::Guest, Party::Instance, || {
            format!("HostRows({cursor})")
        });
        let (at, len) = (buffer_at.cast_unsigned(), buffer_len.cast_unsigned());
        let buffer = bytes_mut(memory, "the buffer of rows", at, len)?;
        let number = usize::try_from(cursor).unwrap_or(usize::MAX);
        let answer = match call.fill(number, buffer) {
            Ok(Filled { used: 0, needed }) => -length(needed)?,
            Ok(Filled { used, .. }) => length(used)?,
            Err(error) => {
                call.close(number);
                code(state, error)?
            }
        };
        if answer == 0 {
            call.close(number);
        }
        trace_out(call, "HostRows", answer);
        Ok(answer)
    })
}

fn length(bytes: usize) -> Result<i32> {
    i32::try_from(bytes).map_err(|_| abi("a row is longer than a guest can address"))
}

fn host_close(guest: &mut dyn Guest<State>, cursor: i32) -> Result<()> {
    guest.state().slot.with(|call| {
        call.trace(Party::Guest, Party::Instance, || {
            format!("HostClose({cursor})")
        });
        call.close(usize::try_from(cursor).unwrap_or(usize::MAX));
        Ok(())
    })
}

fn host_next(guest: &mut dyn Guest<State>, status: i32) -> Result<i64> {
    let slot = guest.state().slot.clone();
    slot.with(|call| {
        if !call.is_running() {
            return Err(abi("HostNext was called outside of WasmBatch"));
        }
        call.trace(Party::Guest, Party::Instance, || {
            format!("HostNext({status})")
        });
        let (memory, state) = guest.split();
        let run = output::take(call, state, memory, status);
        let run = finish(guest, call, run);
        if !call.settle(run) {
            return Err(abi(
                "the guest cannot be used again after what it handed over",
            ));
        }
        if !call.advance() {
            return Ok(NO_MORE);
        }
        begin(guest, call);
        let [number, len] = hand_in(guest, call)?;
        trace_run(call, "done HostNext: ");
        Ok(i64::from(number) << 32 | i64::from(len))
    })
}

fn host_foreign(guest: &mut dyn Guest<State>, name_at: i32, name_len: i32) -> Result<i32> {
    let (memory, state) = guest.split();
    let (at, len) = (name_at.cast_unsigned(), name_len.cast_unsigned());
    let name = bytes(memory, "the name of a foreign function", at, len)?;
    let functions = state.catalog.foreign();
    if let Some(id) = known(name).and_then(|name| functions.id(name)) {
        return Ok(id.0.into());
    }
    remember(&state.v1_1.unknown_foreign, name);
    Ok(NOT_THERE)
}

fn host_call(
    guest: &mut dyn Guest<State>,
    number: i32,
    argument_at: i32,
    argument_len: i32,
    buffer_at: i32,
    buffer_len: i32,
) -> Result<i32> {
    let (memory, state) = guest.split();
    state.slot.with(|call| {
        let id = u16::try_from(number).ok().map(ForeignId);
        let functions = state.catalog.foreign();
        let known = id.and_then(|id| Some((id, functions.numbered(id)?)));
        let Some((id, function)) = known else {
            return Err(call.not_declared(&state.v1_1.unknown_foreign.borrow()));
        };
        call.trace(Party::Guest, Party::Instance, || {
            format!("HostCall({})", function.name())
        });
        let (at, len) = (argument_at.cast_unsigned(), argument_len.cast_unsigned());
        let argument = bytes(memory, "the argument of a foreign function", at, len)?;
        let (at, room) = (buffer_at.cast_unsigned(), buffer_len.cast_unsigned());
        // Before the call, which may not be for nothing.
        bytes(memory, "the buffer of an answer", at, room)?;
        let (answer, failed) = match call.call_foreign(id, argument) {
            Ok(answer) => (answer, false),
            Err(error) if error.kind() == ErrorKind::Rejected => {
                (error.message().as_bytes().to_vec(), true)
            }
            Err(error) => return Err(error),
        };
        let len = deliver(memory, state, &answer, at, room)?;
        if state.v1_1.waiting.get() {
            state.value.set(answer);
        }
        let answer = if failed { !len } else { len };
        trace_out(call, "HostCall", answer);
        Ok(answer)
    })
}
