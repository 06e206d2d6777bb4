//! A package of any runtime: the compiled module with its manifest, and new sandboxes made of it.

use std::fmt;
use std::sync::Arc;

use engine_core::engine::{ExtensionInstance, ExtensionPackage};
use engine_core::error::Result;
use engine_core::manifest::PackageManifest;

use crate::exports::Version;
use crate::instance::WasmInstance;
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;
use crate::state::State;
use crate::v1_1::Numbers;

/// A loaded package.
pub(crate) struct WasmPackage<R: Runtime>(Arc<Shared<R>>);

/// What a package's instances share.
pub(crate) struct Shared<R: Runtime> {
    pub(crate) runtime: Arc<R>,
    pub(crate) module: R::Module<State>,
    pub(crate) manifest: Arc<PackageManifest>,
    pub(crate) version: Version,
    pub(crate) numbers: Numbers,
}

impl<R: Runtime> WasmPackage<R> {
    pub(crate) fn new(
        runtime: Arc<R>,
        module: R::Module<State>,
        manifest: Arc<PackageManifest>,
        version: Version,
    ) -> Self {
        Self(Arc::new(Shared {
            runtime,
            module,
            numbers: Numbers::new(manifest.extensions.len()),
            manifest,
            version,
        }))
    }
}

impl<R: Runtime> fmt::Debug for WasmPackage<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmPackage")
            .field("name", &self.0.manifest.name)
            .field("runtime", &self.0.runtime)
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> ExtensionPackage for WasmPackage<R> {
    fn manifest(&self) -> &Arc<PackageManifest> {
        &self.0.manifest
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        let sandbox = Sandbox::start(&self.0)?;
        Ok(Box::new(WasmInstance::new(Arc::clone(&self.0), sandbox)))
    }
}
