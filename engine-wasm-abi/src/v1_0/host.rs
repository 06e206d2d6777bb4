//! ABI 1.0, the host's side: reading one row, and reading a range of rows.

use engine_core::call::Call;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::Party;

use super::block::Key;
use super::guest::{len_bytes, put, put_or_fail};
use crate::exports::ON_READ;
use crate::memory::{bytes, write};
use crate::runtime::{Guest, HostCall, HostFunction};
use crate::state::State;

const OK: i32 = 0;
const NOT_THERE: i32 = 1;
const BAD_KEY: i32 = 2;
const IO: i32 = 3;
const NO_MEMORY: i32 = 4;

/// The host's own functions.
pub(crate) static FUNCTIONS: [HostFunction<State>; 2] = [
    HostFunction {
        module: "env",
        name: "HostGetElem",
        call: HostCall::R2(|guest, key, element| {
            let state = guest.state().clone();
            let mut value = state.value.take();
            value.clear();
            let answer = state.slot.with(|call| {
                get(
                    guest,
                    call,
                    &mut value,
                    key.cast_unsigned(),
                    element.cast_unsigned(),
                )
            });
            state.value.set(value);
            answer
        }),
    },
    HostFunction {
        module: "env",
        name: "HostReadElems",
        call: HostCall::R2(|guest, context, key| {
            let state = guest.state().clone();
            state
                .slot
                .with(|call| read(guest, call, context, key.cast_unsigned()))
        }),
    },
];

fn get(
    guest: &mut dyn Guest<State>,
    call: &Call<'_>,
    value: &mut Vec<u8>,
    key_at: u32,
    element_at: u32,
) -> Result<i32> {
    let memory = guest.memory();
    bytes(memory, "the place for an element's address", element_at, 4)?;
    let Key { storage, key } = Key::read(memory, key_at)?;
    call.trace(Party::Guest, Party::Instance, || {
        format!("HostGetElem({storage})")
    });
    let storage = call.storage(storage).map_err(|error| call.fail(error))?;
    let code = match call.get(storage, key, value) {
        Ok(true) => match put(guest, call, &[&len_bytes(value), value])? {
            Some(block) => {
                let address = block.address().to_le_bytes();
                let place = "the place for an element's address";
                write(guest.split().0, place, element_at, &address)?;
                OK
            }
            None => NO_MEMORY,
        },
        Ok(false) => NOT_THERE,
        Err(error) => code(guest, error)?,
    };
    call.trace(Party::Instance, Party::Guest, || {
        format!("done HostGetElem: {code}")
    });
    Ok(code)
}

fn read(guest: &mut dyn Guest<State>, call: &Call<'_>, context: i32, key_at: u32) -> Result<i32> {
    let Key { storage, key } = Key::read(guest.memory(), key_at)?;
    call.trace(Party::Guest, Party::Instance, || {
        format!("HostReadElems({context}, {storage})")
    });
    let storage = call.storage(storage).map_err(|error| call.fail(error))?;
    let name = call.package().catalog.storage(storage).name.as_bytes();
    // The guest may change its memory while it reads.
    let prefix = key.to_vec();
    let rows = call.read(storage, &prefix, |key, value| {
        let head = [len_bytes(name), len_bytes(key)].concat();
        let key_block = put_or_fail(guest, call, &[&head, name, key])?;
        let element = put_or_fail(guest, call, &[&len_bytes(value), value])?;
        element.apart_from(key_block)?;
        call.trace(Party::Instance, Party::Guest, || {
            format!("WasmOnRead({context})")
        });
        guest.call(ON_READ, &[context, key_block.address(), element.address()])?;
        call.trace(Party::Guest, Party::Instance, || {
            "done WasmOnRead".to_owned()
        });
        Ok(())
    });
    let code = match rows {
        Ok(()) => OK,
        Err(error) => code(guest, error)?,
    };
    call.trace(Party::Instance, Party::Guest, || {
        format!("done HostReadElems: {code}")
    });
    Ok(code)
}

/// The code of a failed read that the guest may handle; it is kept, for a guest that hands it on without words.
///
/// # Errors
/// Every other failure, which ends the guest.
fn code(guest: &dyn Guest<State>, error: Error) -> Result<i32> {
    let code = match error.kind() {
        ErrorKind::BadKey => BAD_KEY,
        ErrorKind::Io => IO,
        _ => return Err(error),
    };
    guest.state().failed_read.replace(Some(error));
    Ok(code)
}
