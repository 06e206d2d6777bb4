//! An instance, which holds nothing of its own: what an extension has in hand lives and dies with the invocation.

use std::fmt;
use std::sync::Arc;

use engine_core::call::{Buffers, Call};
use engine_core::engine::{ExtensionInstance, Invocation, Outcome};
use engine_core::error::Result;
use engine_core::host::{Host, Party};
use engine_core::intent::Intents;
use engine_core::manifest::PackageManifest;
use engine_core::ticker::Ticker;
use extengine_guest::{Row, Run, State};

use crate::error::{catch, from_guest};
use crate::host::{NativeHost, Storages};

/// An instance of a package of native extensions.
pub(crate) struct BuiltinInstance {
    manifest: Arc<PackageManifest>,
    ticker: Arc<Ticker>,
    runs: Arc<[Run]>,
    buffers: Buffers,
    storages: Storages,
}

impl BuiltinInstance {
    pub(crate) fn new(
        manifest: Arc<PackageManifest>,
        ticker: Arc<Ticker>,
        runs: Arc<[Run]>,
    ) -> Self {
        Self {
            manifest,
            ticker,
            runs,
            buffers: Buffers::default(),
            storages: Storages::default(),
        }
    }
}

impl fmt::Debug for BuiltinInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltinInstance")
            .field("package", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

impl ExtensionInstance for BuiltinInstance {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let (manifest, ticker) = (&self.manifest, &self.ticker);
        let buffers = &self.buffers;
        Call::run(
            &invocation,
            manifest,
            ticker,
            host,
            buffers,
            intents,
            |call| {
                // The extension is there, and there is a function for each.
                call.end(run(self.runs[invocation.extension], call, &self.storages))
            },
        )
    }
}

fn run(extension: Run, call: &Call<'_>, storages: &Storages) -> Result<()> {
    call.trace(Party::Instance, Party::Guest, || {
        format!("run {}", call.extension().name)
    });
    let host = NativeHost::new(call, storages);
    let ended = catch(|| extension(&mut State::new(&host), &Row::new(call.args())))
        .and_then(|ended| ended.map_err(from_guest));
    call.trace(Party::Guest, Party::Instance, || match &ended {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{}: {}", error.kind(), error.message()),
    });
    ended
}
