//! One instance: a sandbox that is kept, or made anew, for each invocation.

use std::sync::Arc;

use engine_core::call::{Buffers, Call};
use engine_core::engine::{ExtensionInstance, Invocation, Outcome};
use engine_core::error::Result;
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::manifest::Policy;
use engine_core::sandboxes::Sandboxes;

use crate::package::Chunk;
use crate::sandbox::Sandbox;

/// One instance of a package, on the thread that made it.
#[derive(Debug)]
pub(crate) struct LuaInstance {
    chunk: Arc<Chunk>,
    sandboxes: Sandboxes<Box<Sandbox>>,
    buffers: Buffers,
}

impl LuaInstance {
    pub(crate) fn new(chunk: Arc<Chunk>) -> Result<Self> {
        Ok(Self {
            sandboxes: Sandboxes::new(make(&chunk)?),
            chunk,
            buffers: Buffers::default(),
        })
    }
}

/// Makes a sandbox, in a time of its own.
fn make(chunk: &Arc<Chunk>) -> Result<Box<Sandbox>> {
    let sandbox = Sandbox::new(chunk, chunk.start_setup());
    let sandbox = sandbox.map_err(|error| error.at(|| chunk.manifest.name.to_string()))?;
    Ok(Box::new(sandbox))
}

impl ExtensionInstance for LuaInstance {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        // Taken out first, so that whatever goes wrong, a panic of the host included, drops it; and made outside of the
        // invocation's time.
        let sandbox = match self.sandboxes.take(|| make(&self.chunk)) {
            Ok(sandbox) => sandbox,
            Err(error) => {
                intents.clear();
                return error.into();
            }
        };
        let chunk = &self.chunk;
        let extension = invocation.extension;
        let (manifest, ticker) = (&chunk.manifest, &chunk.ticker);
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
                let ended = call.end(sandbox.run(call, extension));
                if ended.leaves_instance_usable() && manifest.policy == Policy::Keep {
                    kept.put_back(sandbox);
                }
                ended
            },
        )
    }

    fn prepare(&mut self) {
        // The next invocation tells why there is none.
        self.sandboxes.prepare(|| make(&self.chunk).ok());
    }
}
