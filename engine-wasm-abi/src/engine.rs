//! The engine of any runtime: checks a package's code, meters it and has it compiled.

use std::sync::Arc;

use engine_core::cache::CodeCache;
use engine_core::engine::{Code, CodeReport, ExtEngine, ExtensionPackage, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limits;
use engine_core::manifest::PackageManifest;

use crate::exports::Version;
use crate::inspect::inspect;
use crate::load::{self, Checked};
use crate::package::WasmPackage;
use crate::runtime::Runtime;
use crate::{check, offers};

/// An engine of a WASM runtime that speaks ABI 1.0 and 1.1.
#[derive(Debug)]
pub struct WasmEngine<R> {
    runtime: Arc<R>,
}

impl<R: Runtime> WasmEngine<R> {
    /// Makes an engine of a runtime.
    pub fn new(runtime: R) -> Self {
        Self {
            runtime: Arc::new(runtime),
        }
    }

    /// The runtime, for other ABIs.
    pub fn runtime(&self) -> &Arc<R> {
        &self.runtime
    }

    fn load_checked(
        &self,
        manifest: &Arc<PackageManifest>,
        code: &[u8],
        cache: Option<&CodeCache>,
    ) -> Result<WasmPackage<R>> {
        let limits = &manifest.limits;
        self.runtime.factory().check_limits(manifest)?;
        load::check_engine_limits(self.runtime.limits(), limits)?;
        load::check_code_bytes(code, limits)?;
        load::check_magic(code)?;
        let inspection = inspect(code);
        let mut problems = check::problems(&inspection, limits);
        problems.extend(offers::problems(code, manifest));
        if !problems.is_empty() {
            let report = format!("the package cannot be loaded:\n{}", problems.join("\n"));
            return Err(Error::new(ErrorKind::Package, report));
        }
        let version = Version::of(&inspection.info);
        let checked = Checked {
            code,
            imports: version.offer().imports(&inspection.info),
            exports: version.exports(),
            functions: &[],
            limits,
        };
        let module = load::compile(&self.runtime, checked, cache)?;
        let runtime = Arc::clone(&self.runtime);
        let manifest = Arc::clone(manifest);
        Ok(WasmPackage::new(runtime, module, manifest, version))
    }
}

fn bytes(code: &Code) -> Result<&[u8]> {
    match code {
        Code::Bytes(bytes) => Ok(bytes),
        Code::Native(name) => Err(Error::new(
            ErrorKind::Package,
            format!("`{name}` is native code; a WASM engine runs WASM modules"),
        )),
    }
}

impl<R: Runtime> ExtEngine for WasmEngine<R> {
    fn name(&self) -> &'static str {
        self.runtime.factory().name()
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        cache: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        let manifest = &source.manifest;
        let package = bytes(&source.code).and_then(|code| self.load_checked(manifest, code, cache));
        Ok(Arc::new(
            package.map_err(|error| error.at(|| manifest.name.to_string()))?,
        ))
    }

    fn inspect(&self, code: &Code) -> Result<CodeReport> {
        let code = bytes(code)?;
        load::check_magic(code)?;
        let made = self.runtime.limits();
        let limits = Limits {
            memory: made.memory,
            table_elements: made.table_elements,
            stack: made.stack,
            ..Limits::default()
        };
        Ok(check::report(code, &inspect(code), &limits))
    }
}
