//! One invocation of a guest that speaks ABI 1.0.

use engine_core::call::Call;
use engine_core::error::Result;
use engine_core::host::Party;

use super::block::{Record, Records, RunResult};
use super::guest::{len_bytes, put_or_fail};
use crate::ending::Status;
use crate::exports::RUN;
use crate::runtime::Guest;
use crate::state::State;

/// Runs an invocation and takes what the guest hands over.
///
/// # Errors
/// What the invocation ends with.
pub(crate) fn run<G: Guest<State>>(guest: &mut G, state: &State, call: &Call<'_>) -> Result<()> {
    let extension = call.extension();
    let held = &state.v1_0.held;
    let args = state.slot.leave(|| {
        let name = put_or_fail(guest, call, &[extension.name.as_bytes(), &[0]])?;
        held.set([Some(name), None]);
        let args = put_or_fail(guest, call, &[&len_bytes(call.args()), call.args()])?;
        held.set([Some(name), Some(args)]);
        Ok([name, args])
    });
    let [name, args] = args?;
    call.trace(Party::Instance, Party::Guest, || {
        format!("WasmRun({}, {})", extension.name, extension.kind)
    });
    let kind = extension.kind as i32;
    let result = guest.call(RUN, &[name.address(), kind, args.address()])?;
    call.trace(Party::Guest, Party::Instance, || "done WasmRun".to_owned());
    let memory = guest.memory();
    call.used_memory(memory.len());
    let result = RunResult::read(memory, result.cast_unsigned())?;
    hand_over(call, state, result)
}

/// Takes what a guest hands over.
///
/// Behind a faulty intent, which the call remembers, the rest is still read: a malformed region is worse than what is in it.
fn hand_over(call: &Call<'_>, state: &State, result: RunResult<'_>) -> Result<()> {
    for record in Records::new(result.intents) {
        let record = record?;
        // Only the log of a guest that refuses is of interest.
        if result.status != Status::Ok && !record.is_log() {
            continue;
        }
        // The call remembers the first error and takes nothing behind it.
        let _ = match record {
            Record::Result(row) => call.result(row),
            Record::Intent {
                verb,
                storage,
                key,
                value,
            } => match call.storage(storage) {
                Ok(storage) => call.write(verb, storage, key, value),
                Err(error) => Err(call.refuse_intent(error)),
            },
        };
    }
    result.status.settle(state, result.message)
}
