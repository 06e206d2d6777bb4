//! One instance: a sandbox that is kept, or made anew, for each invocation.

use std::sync::Arc;

use engine_core::call::{Buffers, Call};
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
    sandbox: Option<Box<Sandbox>>,
    buffers: Buffers,
}

impl LuaInstance {
    pub(crate) fn new(chunk: Arc<Chunk>) -> Result<Self> {
        let sandbox = Some(Box::new(Sandbox::new(&chunk, chunk.start_setup())?));
        Ok(Self {
            chunk,
            sandbox,
            buffers: Buffers::default(),
        })
    }
}

impl ExtensionInstance for LuaInstance {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let chunk = &self.chunk;
        let extension = invocation.extension;
        let (manifest, ticker) = (&chunk.manifest, &chunk.ticker);
        let buffers = &self.buffers;
        let kept = &mut self.sandbox;
        Call::run(
            &invocation,
            manifest,
            ticker,
            host,
            buffers,
            intents,
            |call| {
                // The sandbox is taken out first, so that whatever goes wrong, a panic of the host included, drops it.
                let sandbox = match kept.take() {
                    Some(sandbox) => Ok(sandbox),
                    None => Sandbox::new(chunk, chunk.deadline(call)).map(Box::new),
                };
                let sandbox = match sandbox {
                    Ok(sandbox) => sandbox,
                    Err(error) => return call.end(Err(error)),
                };
                let ended = call.end(sandbox.run(call, extension));
                if ended.leaves_instance_usable() && manifest.policy == Policy::Keep {
                    *kept = Some(sandbox);
                }
                ended
            },
        )
    }

    fn prepare(&mut self) {
        if self.sandbox.is_none() {
            // The next invocation tells why there is none.
            self.sandbox = Sandbox::new(&self.chunk, self.chunk.start_setup())
                .ok()
                .map(Box::new);
        }
    }
}
