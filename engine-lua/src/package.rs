//! A compiled chunk with its manifest.

use std::fmt;
use std::sync::Arc;

use engine_core::call::Call;
use engine_core::engine::{ExtensionInstance, ExtensionPackage};
use engine_core::error::Result;
use engine_core::limits::Limits;
use engine_core::manifest::PackageManifest;
use engine_core::ticker::Ticker;

use crate::instance::LuaInstance;
use crate::watch::Deadline;

/// What every sandbox of a package is made from.
pub(crate) struct Chunk {
    pub(crate) manifest: Arc<PackageManifest>,
    /// The manifest's limits, within the engine's own.
    pub(crate) limits: Limits,
    /// What error messages call the chunk.
    pub(crate) name: String,
    /// Made by this engine's compiler from the package's text, never by anyone else.
    pub(crate) bytecode: Vec<u8>,
    /// The bytecode of the text that [`glue::source`](crate::glue::source) makes of the manifest.
    pub(crate) glue: Vec<u8>,
    pub(crate) ticker: Arc<Ticker>,
}

/// Milliseconds that making a sandbox outside of an invocation may take at least, however short the package's deadline:
/// a busy machine must not keep a package from loading.
const SETUP_MS: u32 = 1_000;

impl Chunk {
    /// Starts the deadline of a sandbox that is made outside of an invocation.
    pub(crate) fn start_setup(&self) -> Deadline {
        let ms = self.limits.deadline_ms.max(SETUP_MS);
        let (_, at) = self.ticker.start(ms);
        Deadline { at, ms }
    }

    /// The deadline of a running invocation.
    pub(crate) fn deadline(&self, call: &Call<'_>) -> Deadline {
        Deadline {
            at: call.deadline(),
            ms: self.limits.deadline_ms,
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("name", &self.name)
            .field("bytecode", &self.bytecode.len())
            .finish_non_exhaustive()
    }
}

/// A compiled package, shared by all threads.
#[derive(Debug)]
pub(crate) struct LuaPackage {
    chunk: Arc<Chunk>,
}

impl LuaPackage {
    pub(crate) fn new(chunk: Arc<Chunk>) -> Self {
        Self { chunk }
    }
}

impl ExtensionPackage for LuaPackage {
    fn manifest(&self) -> &Arc<PackageManifest> {
        &self.chunk.manifest
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        Ok(Box::new(LuaInstance::new(Arc::clone(&self.chunk))?))
    }
}
