//! An instance of any runtime: one sandbox, replaced whenever it may not be used again.

use std::fmt;
use std::sync::Arc;

use engine_core::call::{Buffers, Call, Settle};
use engine_core::engine::{ExtensionInstance, Invocation, Outcome, one_by_one};
use engine_core::error::Result;
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::manifest::Policy;
use engine_core::sandboxes::Sandboxes;

use crate::exports::Version;
use crate::package::Shared;
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;

/// An instance; between two invocations its sandboxes are initialised and reset.
pub(crate) struct WasmInstance<R: Runtime> {
    package: Arc<Shared<R>>,
    /// Boxed, so that one is taken out and put back for the price of a pointer.
    sandboxes: Sandboxes<Box<Sandbox<R>>>,
    buffers: Buffers,
}

impl<R: Runtime> WasmInstance<R> {
    pub(crate) fn new(package: Arc<Shared<R>>, sandbox: Sandbox<R>) -> Self {
        Self {
            package,
            sandboxes: Sandboxes::new(Box::new(sandbox)),
            buffers: Buffers::default(),
        }
    }

    #[inline]
    fn take_sandbox(&mut self) -> Result<Box<Sandbox<R>>> {
        let package = &self.package;
        self.sandboxes
            .take(|| Sandbox::start(package).map(Box::new))
    }
}

impl<R: Runtime> fmt::Debug for WasmInstance<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmInstance")
            .field("package", &self.package.manifest.name)
            .field("runtime", &self.package.runtime)
            .field("ready", &self.sandboxes.has_next())
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
        let mut sandbox = match self.take_sandbox() {
            Ok(sandbox) => sandbox,
            Err(error) => {
                intents.clear();
                return error.into();
            }
        };
        let package = &*self.package;
        let (manifest, ticker) = (&package.manifest, package.runtime.ticker());
        let buffers = &self.buffers;
        let kept = &mut self.sandboxes;
        Call::run(
            &invocation,
            manifest,
            ticker,
            host,
            buffers,
            intents,
            |call| {
                let ended = call.end(sandbox.run(package.version, call));
                // A sandbox that fails to reset is replaced; the invocation was over before.
                if ended.leaves_instance_usable() && sandbox.reset(package, &invocation).is_ok() {
                    match manifest.policy {
                        Policy::Keep => kept.put_back(sandbox),
                        Policy::Fresh => sandbox.end(package),
                    }
                }
                ended
            },
        )
    }

    fn invoke_batch(
        &mut self,
        batch: &[Invocation<'_>],
        host: &dyn Host,
        intents: &mut Intents,
        settle: &mut Settle<'_>,
    ) {
        let package = Arc::clone(&self.package);
        if package.version == Version::V1_0 || package.manifest.policy == Policy::Fresh {
            return one_by_one(self, batch, host, intents, settle);
        }
        let (manifest, ticker) = (&package.manifest, package.runtime.ticker());
        let buffers = std::mem::take(&mut self.buffers);
        let call = Call::begin_batch(batch, settle, manifest, ticker, host, &buffers, intents);
        if let Some(call) = call {
            loop {
                let is_new = !self.sandboxes.has_next();
                match self.take_sandbox() {
                    Ok(mut sandbox) => {
                        if is_new {
                            // Its start had a time of its own.
                            call.start_again();
                        }
                        if sandbox.run_batch(&call) {
                            self.sandboxes.put_back(sandbox);
                        }
                    }
                    Err(error) => drop(call.settle(Err(error))),
                }
                if !call.advance() {
                    break;
                }
            }
        }
        self.buffers = buffers;
    }

    fn prepare(&mut self) {
        let package = &self.package;
        // The next invocation tells why there is none.
        self.sandboxes
            .prepare(|| Sandbox::start(package).ok().map(Box::new));
    }
}

impl<R: Runtime> Drop for WasmInstance<R> {
    fn drop(&mut self) {
        for sandbox in self.sandboxes.drain() {
            sandbox.end(&self.package);
        }
    }
}
