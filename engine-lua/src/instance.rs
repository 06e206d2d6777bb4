//! One instance: a sandbox that is kept, or made anew, for each invocation.

use std::sync::Arc;

use engine_core::call::Call;
use engine_core::engine::{ExtensionInstance, Invocation, Outcome};
use engine_core::error::Result;
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::manifest::Policy;

use crate::package::Chunk;
use crate::sandbox::Sandbox;

/// One instance of a package, on the thread that made it.
#[derive(Debug)]
pub struct LuaInstance {
    chunk: Arc<Chunk>,
    /// The sandbox of the next invocation, if there is one yet.
    sandbox: Option<Sandbox>,
}

impl LuaInstance {
    pub(crate) fn new(chunk: Arc<Chunk>) -> Result<Self> {
        let sandbox = Some(Sandbox::new(&chunk, chunk.start_setup())?);
        Ok(Self { chunk, sandbox })
    }
}

impl ExtensionInstance for LuaInstance {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        // The sandbox is taken out first, so that whatever goes wrong, a panic of the host included, drops it.
        let sandbox = self.sandbox.take();
        let chunk = &self.chunk;
        let extension = invocation.extension;
        let call = match Call::begin(invocation, &chunk.manifest, &chunk.ticker, host, intents) {
            Ok(call) => call,
            Err(error) => {
                self.sandbox = sandbox;
                return error.into();
            }
        };
        let sandbox = match sandbox {
            Some(sandbox) => sandbox,
            None => match Sandbox::new(chunk, chunk.deadline(&call)) {
                Ok(sandbox) => sandbox,
                Err(error) => return call.finish(Err(error)),
            },
        };
        let run = sandbox.run(&call, extension);
        let outcome = call.finish(run);
        let usable = match &outcome.result {
            Ok(()) => true,
            Err(error) => error.kind().leaves_instance_usable(),
        };
        if usable && chunk.manifest.policy == Policy::Keep {
            self.sandbox = Some(sandbox);
        }
        outcome
    }
}
