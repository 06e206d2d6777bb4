//! One live guest that speaks ABI 1.0: how it starts, runs, is reset and ends.

use std::time::Duration;

use engine_core::call::Call;
use engine_core::engine::Invocation;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::Party;

use crate::block::{Record, Records, RunResult, Status};
use crate::exports::{FINIT, INIT, INITIALIZE, RESET, RUN, VERSION};
use crate::guest::{len_bytes, put_or_fail};
use crate::package::Shared;
use crate::runtime::{Budget, Guest, Runtime, RuntimeInstance, RuntimeModule};
use crate::state::State;

/// How much of a guest's message is taken.
const MESSAGE_BYTES: usize = 64 << 10;

/// The least time that a guest has to start, to reset and to end: a short deadline is meant for invocations.
const LIFECYCLE_MS: u32 = 1_000;

type Live<R> = <<R as Runtime>::Module<State> as RuntimeModule<State>>::Instance;

/// A live guest.
pub(crate) struct Sandbox<R: Runtime> {
    guest: Live<R>,
    state: State,
}

impl<R: Runtime> Sandbox<R> {
    /// Makes a guest and lets it initialise itself.
    ///
    /// # Errors
    /// Those of the guest; a limit or `deadline` that it hits.
    pub(crate) fn start(package: &Shared<R>) -> Result<Self> {
        let name = &package.manifest.name;
        let state = State::default();
        let guest = package.module.instantiate(state.clone());
        let guest = guest.map_err(|error| error.at(|| name.to_string()))?;
        let mut sandbox = Self { guest, state };
        sandbox.arm(package);
        let initialised = sandbox.initialise();
        initialised.map_err(|error| error.at(|| format!("{name}/WasmInit")))?;
        Ok(sandbox)
    }

    fn initialise(&mut self) -> Result<()> {
        if self.guest.has(INITIALIZE) {
            self.guest.call(INITIALIZE, &[])?;
        }
        self.guest.call(VERSION, &[])?;
        self.guest.call(INIT, &[])?;
        Ok(())
    }

    /// Arms the guest for something that is no invocation.
    fn arm(&mut self, package: &Shared<R>) {
        let deadline_ms = package.manifest.limits.deadline_ms.max(LIFECYCLE_MS);
        let time = Duration::from_millis(deadline_ms.into());
        let (_, deadline) = package.runtime.ticker().start(time);
        self.guest.arm(Budget {
            deadline,
            deadline_ms,
            fuel: None,
        });
    }

    /// Runs an invocation and takes its intents.
    ///
    /// # Errors
    /// What the invocation ends with.
    pub(crate) fn run(&mut self, call: &Call<'_>) -> Result<()> {
        let Self { guest, state } = self;
        let limits = &call.package().limits;
        state.begin();
        guest.arm(Budget {
            deadline: call.deadline(),
            deadline_ms: limits.deadline_ms,
            fuel: limits.fuel,
        });
        let run = state.slot.enter(call, || run(guest, state, call));
        let flushed = state.output.borrow_mut().flush(call);
        call.used(guest.memory().len() as u64, guest.fuel_used());
        run.and(flushed)
    }

    /// Lets the guest forget the invocation.
    ///
    /// # Errors
    /// Those of the guest, which must not be used any more then.
    pub(crate) fn reset(&mut self, package: &Shared<R>, invocation: &Invocation<'_>) -> Result<()> {
        let trace = |from, to, what| {
            if let Some(tracer) = invocation.tracer {
                tracer.crossing(from, to, what);
            }
        };
        trace(Party::Instance, Party::Guest, "WasmReset()");
        self.arm(package);
        self.guest.call(RESET, &[])?;
        trace(Party::Guest, Party::Instance, "done WasmReset");
        Ok(())
    }

    /// Ends the guest in order; how it takes that concerns nobody.
    pub(crate) fn end(mut self, package: &Shared<R>) {
        self.arm(package);
        let _ = self.guest.call(FINIT, &[]);
    }
}

fn run<G: Guest<State>>(guest: &mut G, state: &State, call: &Call<'_>) -> Result<()> {
    let extension = call.extension();
    let name = put_or_fail(guest, call, &[extension.name.as_bytes(), &[0]])?;
    state.held.set([Some(name), None]);
    let args = put_or_fail(guest, call, &[&len_bytes(call.args()), call.args()])?;
    state.held.set([Some(name), Some(args)]);
    call.trace(Party::Instance, Party::Guest, || {
        format!("WasmRun({}, {})", extension.name, extension.kind)
    });
    let kind = extension.kind as i32;
    let result = guest.call(RUN, &[name.address(), kind, args.address()])?;
    call.trace(Party::Guest, Party::Instance, || "done WasmRun".to_owned());
    hand_over(
        call,
        state,
        RunResult::read(guest.memory(), result.cast_unsigned())?,
    )
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
    let kind = match result.status {
        Status::Ok => return Ok(()),
        Status::Rejected => ErrorKind::Rejected,
        Status::NotFound => ErrorKind::NotFound,
        Status::BadKey => ErrorKind::BadKey,
        Status::Io => ErrorKind::Io,
    };
    match state.failed_read.take() {
        Some(error) if result.message.is_empty() && error.kind() == kind => Err(error),
        _ => Err(Error::new(kind, message(result.message))),
    }
}

/// The words of a guest, cut to their limit at the end of a character.
fn message(bytes: &[u8]) -> String {
    let most = bytes.len().min(MESSAGE_BYTES);
    // A character has at most three bytes behind its first.
    let ends = |len: &usize| bytes.get(*len).is_none_or(|byte| byte & 0xc0 != 0x80);
    let len = (most.saturating_sub(3)..=most)
        .rev()
        .find(ends)
        .unwrap_or(most);
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_the_end_of_a_character() {
        for start in 0..4 {
            let text = "x".repeat(start) + &"🦀".repeat(MESSAGE_BYTES / 4 + 1);
            let cut = message(text.as_bytes());
            assert!(text.starts_with(&cut));
            assert!(
                (MESSAGE_BYTES - 3..=MESSAGE_BYTES).contains(&cut.len()),
                "{start}"
            );
        }
    }

    #[test]
    fn a_message_that_is_not_utf8_is_taken_as_well_as_it_can_be() {
        assert_eq!(message(b"no\xff"), "no\u{fffd}");
        assert_eq!(
            message(&[0x80; MESSAGE_BYTES + 9]).chars().count(),
            MESSAGE_BYTES
        );
        assert_eq!(message(b""), "");
    }
}
