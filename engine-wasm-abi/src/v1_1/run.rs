//! Invocations of a guest that speaks ABI 1.1: one, and many in one crossing.

use engine_core::call::Call;
use engine_core::error::{Error, Result};
use engine_core::host::Party;
use engine_core::limits::Limit;

use super::output;
use crate::exports::{BATCH, EXCHANGE, INVOKE, RESERVE, RESOLVE};
use crate::memory::{abi, bytes_mut, numbers};
use crate::runtime::Guest;
use crate::state::State;

/// Asks a new guest where its exchange header is.
///
/// # Errors
/// Those of the guest.
pub(crate) fn exchange<G: Guest<State>>(guest: &mut G) -> Result<()> {
    let header = guest.call(EXCHANGE, &[])?;
    guest.state().v1_1.header.set(header.cast_unsigned());
    Ok(())
}

/// Runs an invocation and takes what the guest hands over.
///
/// # Errors
/// What the invocation ends with.
#[inline]
pub(crate) fn run<G: Guest<State>>(guest: &mut G, call: &Call<'_>) -> Result<()> {
    let invocation = hand_in(guest, call)?;
    trace_run(call, "WasmInvoke");
    let status = guest.call(INVOKE, &invocation)?;
    call.trace(Party::Guest, Party::Instance, || {
        "done WasmInvoke".to_owned()
    });
    output::take(call, guest.state(), guest.memory(), status)
}

/// Runs the invocation that has begun and lets the guest pull those behind it.
///
/// # Errors
/// What the guest ends with; whatever runs then has ended with it.
pub(crate) fn run_batch<G: Guest<State>>(guest: &mut G, call: &Call<'_>) -> Result<()> {
    let invocation = hand_in(guest, call)?;
    trace_run(call, "WasmBatch");
    guest.call(BATCH, &invocation)?;
    if call.is_running() {
        return Err(abi(
            "WasmBatch returned before it handed over its last invocation",
        ));
    }
    Ok(())
}

#[inline]
pub(super) fn trace_run(call: &Call<'_>, how: &str) {
    call.trace(Party::Instance, Party::Guest, || {
        let extension = call.extension();
        format!("{how}({}, {})", extension.name, extension.kind)
    });
}

/// Puts the arguments of the running invocation into the input buffer; answers the guest's number of the extension and
/// their length.
#[inline]
pub(super) fn hand_in<G: Guest<State> + ?Sized>(
    guest: &mut G,
    call: &Call<'_>,
) -> Result<[i32; 2]> {
    let number = match guest.state().v1_1.numbers.get(call.extension_number()) {
        Some(number) => number,
        None => resolve(guest, call)?,
    };
    if number < 0 {
        let extension = call.extension();
        return Err(abi(format!(
            "the package has no {} `{}`",
            extension.kind, extension.name
        )));
    }
    Ok([number, put(guest, call, call.args())?])
}

/// Asks the guest for its number of the extension.
#[cold]
fn resolve<G: Guest<State> + ?Sized>(guest: &mut G, call: &Call<'_>) -> Result<i32> {
    let extension = call.extension();
    let len = put(guest, call, extension.name.as_bytes())?;
    trace_run(call, "WasmResolve");
    let slot = guest.state().slot.clone();
    let number = slot.leave(|| guest.call(RESOLVE, &[extension.kind as i32, len]))?;
    call.trace(Party::Guest, Party::Instance, || {
        format!("done WasmResolve: {number}")
    });
    let number = number.max(-1);
    let numbers = &guest.state().v1_1.numbers;
    numbers.set(call.extension_number(), number);
    Ok(number)
}

/// Puts bytes into the input buffer, which the guest enlarges where it is too small; answers their length.
#[inline]
fn put<G: Guest<State> + ?Sized>(guest: &mut G, call: &Call<'_>, bytes: &[u8]) -> Result<i32> {
    match put_there(guest, bytes)? {
        Some(len) => Ok(len),
        None => enlarge_and_put(guest, call, bytes),
    }
}

#[cold]
fn enlarge_and_put<G: Guest<State> + ?Sized>(
    guest: &mut G,
    call: &Call<'_>,
    bytes: &[u8],
) -> Result<i32> {
    if let Ok(len) = i32::try_from(bytes.len()) {
        call.trace(Party::Instance, Party::Guest, || {
            format!("WasmReserve({len})")
        });
        let slot = guest.state().slot.clone();
        slot.leave(|| guest.call(RESERVE, &[len]))?;
        if let Some(len) = put_there(guest, bytes)? {
            return Ok(len);
        }
    }
    let allowed = call.package().limits.memory;
    Err(call.fail(Error::limit(
        Limit::Memory,
        format_args!("the guest's WasmReserve has no room left; {allowed} bytes"),
    )))
}

#[inline]
fn put_there<G: Guest<State> + ?Sized>(guest: &mut G, bytes: &[u8]) -> Result<Option<i32>> {
    let (memory, state) = guest.split();
    let header = state.v1_1.header.get();
    let [at, room, _, _] = numbers(memory, "the exchange header", header)?;
    let fits = i32::try_from(bytes.len()).ok();
    if let Some(len) = fits.filter(|len| len.cast_unsigned() <= room) {
        bytes_mut(memory, "the input buffer", at, len.cast_unsigned())?.copy_from_slice(bytes);
        return Ok(Some(len));
    }
    Ok(None)
}
