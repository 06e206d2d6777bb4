//! An instance of any runtime: one sandbox, replaced whenever it may not be used again.

use std::fmt;
use std::sync::Arc;

use engine_core::call::Call;
use engine_core::engine::{ExtensionInstance, Invocation, Outcome};
use engine_core::error::Result;
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::manifest::Policy;

use crate::package::Shared;
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;

/// An instance; between two invocations it has a sandbox that is initialised and reset, or none.
pub(crate) struct WasmInstance<R: Runtime> {
    package: Arc<Shared<R>>,
    sandbox: Option<Sandbox<R>>,
}

impl<R: Runtime> WasmInstance<R> {
    pub(crate) fn new(package: Arc<Shared<R>>, sandbox: Sandbox<R>) -> Self {
        Self {
            package,
            sandbox: Some(sandbox),
        }
    }

    fn take_sandbox(&mut self) -> Result<Sandbox<R>> {
        match self.sandbox.take() {
            Some(sandbox) => Ok(sandbox),
            None => Sandbox::start(&self.package),
        }
    }
}

impl<R: Runtime> fmt::Debug for WasmInstance<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmInstance")
            .field("package", &self.package.manifest.name)
            .field("runtime", &self.package.runtime)
            .field("ready", &self.sandbox.is_some())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> ExtensionInstance for WasmInstance<R> {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        intents.clear();
        let mut sandbox = match self.take_sandbox() {
            Ok(sandbox) => sandbox,
            Err(error) => return error.into(),
        };
        let Shared {
            runtime, manifest, ..
        } = &*self.package;
        let call = match Call::begin(invocation, manifest, runtime.ticker(), host, intents) {
            Ok(call) => call,
            Err(error) => {
                self.sandbox = Some(sandbox);
                return error.into();
            }
        };
        let run = sandbox.run(&call);
        let outcome = call.finish(run);
        // A sandbox that fails to reset is replaced; the invocation was over before.
        if outcome_leaves_usable(&outcome) && sandbox.reset(&self.package, &invocation).is_ok() {
            match manifest.policy {
                Policy::Keep => self.sandbox = Some(sandbox),
                Policy::Fresh => sandbox.end(&self.package),
            }
        }
        outcome
    }
}

fn outcome_leaves_usable(outcome: &Outcome) -> bool {
    match &outcome.result {
        Ok(()) => true,
        Err(error) => error.kind().leaves_instance_usable(),
    }
}

impl<R: Runtime> Drop for WasmInstance<R> {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.end(&self.package);
        }
    }
}
