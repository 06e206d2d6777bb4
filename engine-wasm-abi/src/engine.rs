//! The engine of any runtime: checks a package's code, meters it and has it compiled.

use std::borrow::Cow;
use std::sync::Arc;

use engine_core::cache::{CodeCache, CodeKey};
use engine_core::engine::{Code, CodeReport, ExtEngine, ExtensionPackage, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::EngineLimits;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::PackageManifest;

use crate::exports::Version;
use crate::fuel::{Costs, meter};
use crate::inspect::{ModuleInfo, inspect};
use crate::package::WasmPackage;
use crate::runtime::{Blueprint, HostFunction, Runtime, RuntimeModule};
use crate::state::State;
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

    /// Refuses limits that this engine was not made for.
    fn check_engine_limits(&self, limits: &Limits) -> Result<()> {
        let wanted = EngineLimits::from(limits);
        let made = *self.runtime.limits();
        // The stack is the engine's alone; memory and tables are also kept by package.
        if wanted.memory > made.memory
            || wanted.table_elements > made.table_elements
            || wanted.stack != made.stack
        {
            let message =
                format!("the engine was made for {made:?}, the package asks for {wanted:?}");
            return Err(Error::new(ErrorKind::NotKept, message));
        }
        Ok(())
    }

    fn load_checked(
        &self,
        manifest: &Arc<PackageManifest>,
        code: &[u8],
        cache: Option<&CodeCache>,
    ) -> Result<WasmPackage<R>> {
        let limits = &manifest.limits;
        self.runtime.factory().check_limits(manifest)?;
        self.check_engine_limits(limits)?;
        if code.len() as u64 > limits.code_bytes {
            return Err(Error::limit(
                Limit::CodeBytes,
                format_args!("the code has {} bytes, {}", code.len(), limits.code_bytes),
            ));
        }
        let inspection = inspect(code);
        let mut problems = check::problems(&inspection, limits);
        problems.extend(offers::problems(code, manifest));
        if !problems.is_empty() {
            let report = format!("the package cannot be loaded:\n{}", problems.join("\n"));
            return Err(Error::new(ErrorKind::Package, report));
        }
        let metered = R::ALWAYS_METERED || limits.fuel.is_some();
        let code = if metered {
            let metered = meter(code, &Costs::default());
            Cow::Owned(metered.map_err(|e| Error::new(ErrorKind::Package, e.to_string()))?)
        } else {
            Cow::Borrowed(code)
        };
        let version = Version::of(&inspection.info);
        let module = self.compile(
            cache,
            &Blueprint {
                code: &code,
                metered,
                imports: imports(&inspection.info, version),
                exports: version.exports(),
                limits,
            },
        )?;
        let runtime = Arc::clone(&self.runtime);
        let manifest = Arc::clone(manifest);
        Ok(WasmPackage::new(runtime, module, manifest, version))
    }
}

/// The host's functions that a checked module imports, each once.
fn imports(info: &ModuleInfo, version: Version) -> Vec<&'static HostFunction<State>> {
    let mut functions: Vec<&HostFunction<State>> = Vec::new();
    let offered = |import| check::host_function(import, version);
    for function in info.imports.iter().flat_map(offered) {
        if !functions.iter().any(|known| std::ptr::eq(*known, function)) {
            functions.push(function);
        }
    }
    functions
}

impl<R: Runtime> WasmEngine<R> {
    /// Compiles a module, or takes it from the cache.
    fn compile(
        &self,
        cache: Option<&CodeCache>,
        blueprint: &Blueprint<'_, State>,
    ) -> Result<R::Module<State>> {
        let Some(cache) = cache else {
            return self.runtime.compile(blueprint);
        };
        let factory = self.runtime.factory();
        let settings = format!("{} {}", factory.version(), self.runtime.settings(blueprint));
        let key = CodeKey::new(factory.name(), &settings, blueprint.code);
        let kept = cache.get(&key);
        if let Some(module) = kept.and_then(|kept| self.runtime.revive(blueprint, &kept)) {
            return Ok(module);
        }
        let module = self.runtime.compile(blueprint)?;
        if let Some(compiled) = module.compiled() {
            cache.put(&key, &compiled);
        }
        Ok(module)
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
        const MAGIC: &[u8] = b"\0asm";
        let code = bytes(code)?;
        if !code.starts_with(MAGIC) {
            let message = "this is no WASM module: it does not begin with `\\0asm`";
            return Err(Error::new(ErrorKind::Package, message));
        }
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
