//! The functions of a package with its manifest.

use std::fmt;
use std::sync::Arc;

use engine_core::engine::{ExtensionInstance, ExtensionPackage};
use engine_core::error::Result;
use engine_core::manifest::PackageManifest;
use engine_core::ticker::Ticker;
use extengine_guest::Run;

use crate::instance::BuiltinInstance;

/// A package of native extensions, shared by all threads.
pub(crate) struct BuiltinPackage {
    manifest: Arc<PackageManifest>,
    ticker: Arc<Ticker>,
    /// The functions, in the order of the manifest's extensions.
    runs: Arc<[Run]>,
}

impl BuiltinPackage {
    pub(crate) fn new(
        manifest: Arc<PackageManifest>,
        ticker: Arc<Ticker>,
        runs: Arc<[Run]>,
    ) -> Self {
        Self {
            manifest,
            ticker,
            runs,
        }
    }
}

impl fmt::Debug for BuiltinPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltinPackage")
            .field("name", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

impl ExtensionPackage for BuiltinPackage {
    fn manifest(&self) -> &Arc<PackageManifest> {
        &self.manifest
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        Ok(Box::new(BuiltinInstance::new(
            Arc::clone(&self.manifest),
            Arc::clone(&self.ticker),
            Arc::clone(&self.runs),
        )))
    }
}
