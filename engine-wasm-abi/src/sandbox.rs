//! One live guest: how it starts, runs, is reset and ends.

use engine_core::call::Call;
use engine_core::engine::Invocation;
use engine_core::error::Result;
use engine_core::host::Party;

use crate::exports::{FINIT, INIT, INITIALIZE, RESET, VERSION, Version};
use crate::package::Shared;
use crate::runtime::{Budget, Guest, Runtime, RuntimeModule};
use crate::state::State;
use crate::{v1_0, v1_1};

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
        let state = State::new(&package.manifest.catalog, package.numbers.clone());
        let guest = package.module.instantiate(state.clone());
        let guest = guest.map_err(|error| error.at(|| name.to_string()))?;
        let mut sandbox = Self { guest, state };
        sandbox.arm(package);
        let initialised = sandbox.initialise(package.version);
        initialised.map_err(|error| error.at(|| format!("{name}/WasmInit")))?;
        Ok(sandbox)
    }

    fn initialise(&mut self, version: Version) -> Result<()> {
        if self.guest.has(INITIALIZE) {
            self.guest.call(INITIALIZE, &[])?;
        }
        self.guest.call(VERSION, &[])?;
        self.guest.call(INIT, &[])?;
        match version {
            Version::V1_0 => Ok(()),
            Version::V1_1 => v1_1::exchange(&mut self.guest),
        }
    }

    /// Arms the guest for something that is no invocation.
    fn arm(&mut self, package: &Shared<R>) {
        let deadline_ms = package.manifest.limits.deadline_ms.max(LIFECYCLE_MS);
        let (_, deadline) = package.runtime.ticker().start(deadline_ms);
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
    #[inline]
    pub(crate) fn run(&mut self, version: Version, call: &Call<'_>) -> Result<()> {
        let Self { guest, state } = self;
        begin(guest, call);
        let run = state.slot.enter(call, || match version {
            Version::V1_0 => v1_0::run(guest, state, call),
            Version::V1_1 => v1_1::run(guest, call),
        });
        finish(guest, call, run)
    }

    /// Runs the invocation that has begun and lets the guest pull those behind it; answers whether the guest can be used
    /// again. Where none is running then, all of them are settled, or a new guest has to go on.
    pub(crate) fn run_batch(&mut self, call: &Call<'_>) -> bool {
        let Self { guest, state } = self;
        begin(guest, call);
        let run = state.slot.enter(call, || v1_1::run_batch(guest, call));
        let ended = run.is_ok();
        if call.is_running() {
            let run = finish(guest, call, run);
            call.settle(run);
        }
        ended
    }

    /// Lets the guest forget the invocation, where its version does not do so by itself.
    ///
    /// # Errors
    /// Those of the guest, which must not be used any more then.
    pub(crate) fn reset(&mut self, package: &Shared<R>, invocation: &Invocation<'_>) -> Result<()> {
        if package.version == Version::V1_1 {
            return Ok(());
        }
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

/// Gives the guest the budget of the invocation that has begun.
#[inline]
pub(crate) fn begin<G: Guest<State> + ?Sized>(guest: &mut G, call: &Call<'_>) {
    guest.state().begin();
    let limits = &call.package().limits;
    guest.arm(Budget {
        deadline: call.deadline(),
        deadline_ms: limits.deadline_ms,
        fuel: limits.fuel,
    });
}

/// Takes what an invocation leaves behind: output without a newline, and what it used.
#[inline]
pub(crate) fn finish<G: Guest<State> + ?Sized>(
    guest: &mut G,
    call: &Call<'_>,
    run: Result<()>,
) -> Result<()> {
    let state = guest.state();
    let flushed = match state.wasi.is_flushed() {
        true => Ok(()),
        false => state.slot.enter(call, || state.wasi.flush(state)),
    };
    if run.is_err() {
        // One that ended well was measured when its output was taken.
        call.used_memory(guest.memory().len());
    }
    if let Some(fuel) = guest.fuel_used() {
        call.used_fuel(fuel);
    }
    run.and(flushed)
}
