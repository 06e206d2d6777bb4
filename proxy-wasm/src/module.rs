//! Compiled modules, shared by all threads, and what all machines of a process have in common.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::foreign::ForeignFunctions;
use engine_core::manifest::{PackageManifest, Policy};
use engine_core::registry::Registry;
use engine_wasm_abi::engine::WasmEngine;
use engine_wasm_abi::inspect::{ItemType, ModuleInfo, inspect};
use engine_wasm_abi::load::{self, Checked, MEMORY, Offer};
use engine_wasm_abi::runtime::{Budget, Guest, HostFunction, Runtime, RuntimeModule};
use engine_wasm_abi::start::export_start;

use crate::config::{PluginConfig, VmConfig};
use crate::context::State;
use crate::exports::{Exports, MODULE_START};
use crate::imports;
use crate::shared::{Shared, SharedLimits};

/// What a process offers to its filters.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The foreign functions: bytes in, bytes out.
    pub foreign: ForeignFunctions,
    /// How much machines may share.
    pub shared: SharedLimits,
}

/// The filters of a process: compiled modules, and what their machines share.
#[derive(Debug, Default)]
pub struct ProxyWasm {
    pub(crate) process: Arc<Process>,
    modules: Mutex<Vec<Weak<Module>>>,
}

#[derive(Default)]
pub(crate) struct Process {
    pub(crate) foreign: ForeignFunctions,
    pub(crate) shared: Shared,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// A plugin whose module is compiled; shared by all threads.
#[derive(Debug)]
pub struct Plugin {
    pub(crate) config: PluginConfig,
    pub(crate) module: Arc<Module>,
}

impl Plugin {
    /// What it was made from.
    pub fn config(&self) -> &PluginConfig {
        &self.config
    }
}

impl ProxyWasm {
    /// A process without plugins.
    pub fn new(options: Options) -> Self {
        Self {
            process: Arc::new(Process {
                foreign: options.foreign,
                shared: Shared::new(options.shared),
            }),
            modules: Mutex::default(),
        }
    }

    /// Sets a value that machines of an id share, whatever it was.
    ///
    /// # Errors
    /// The limits on what is shared.
    pub fn set_shared(&self, vm_id: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let set = self.process.shared.set(&vm_id.into(), key, value, 0);
        set.map_err(|_| Error::new(ErrorKind::Rejected, "machines may not share more"))
    }

    /// A value that machines of an id share.
    pub fn shared(&self, vm_id: &str, key: &[u8]) -> Option<Bytes> {
        let found = self.process.shared.get(&vm_id.into(), key);
        found.map(|(value, _)| value)
    }

    /// Compiles a plugin's module, or takes it from a plugin with the same machine.
    ///
    /// # Errors
    /// `package` with everything that keeps the module from running here, `not_kept` and limits on code, `unknown` where
    /// the engine is not compiled in.
    pub fn load(&self, config: PluginConfig) -> Result<Arc<Plugin>> {
        // Locked while a module is compiled, so that it is not compiled twice.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|module| module.strong_count() > 0);
        let mut known = modules.iter().filter_map(Weak::upgrade);
        let module = match known.find(|module| module.config == config.vm) {
            Some(module) => module,
            None => {
                let module = Module::compile(&config.vm)
                    .map_err(|error| error.at(|| config.name.clone()))?;
                let module = Arc::new(module);
                modules.push(Arc::downgrade(&module));
                module
            }
        };
        Ok(Arc::new(Plugin { config, module }))
    }

    /// As [`ProxyWasm::load`], on an engine of any runtime, and shared with no other plugin: for the fuzz targets, whose
    /// runtime runs no code.
    ///
    /// # Errors
    /// As [`ProxyWasm::load`], but for `unknown`.
    #[doc(hidden)]
    pub fn load_on<R: Runtime>(
        &self,
        engine: &WasmEngine<R>,
        config: PluginConfig,
    ) -> Result<Arc<Plugin>> {
        let module = Arc::new(Module::on(engine, &config.vm)?);
        Ok(Arc::new(Plugin { config, module }))
    }
}

/// A compiled module of one configuration: the base of a machine on each thread.
pub(crate) struct Module {
    pub(crate) config: VmConfig,
    pub(crate) vm_id: Arc<str>,
    pub(crate) exports: Exports,
    base: Box<dyn Base>,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("vm_id", &self.vm_id)
            .field("version", &self.exports.version)
            .finish_non_exhaustive()
    }
}

/// A compiled module whatever its runtime.
trait Base: Send + Sync {
    fn instantiate(&self, state: State) -> Result<Box<dyn Guest<State>>>;
    fn budget(&self, deadline_ms: u32, fuel: Option<u64>) -> Budget;
}

struct Compiled<R: Runtime> {
    runtime: Arc<R>,
    module: R::Module<State>,
}

impl<R: Runtime> Base for Compiled<R> {
    fn instantiate(&self, state: State) -> Result<Box<dyn Guest<State>>> {
        Ok(Box::new(self.module.instantiate(state)?))
    }

    fn budget(&self, deadline_ms: u32, fuel: Option<u64>) -> Budget {
        let (_, deadline) = self.runtime.ticker().start(deadline_ms);
        Budget {
            deadline,
            deadline_ms,
            fuel,
        }
    }
}

impl Module {
    #[cfg_attr(
        not(any(feature = "wasmtime", feature = "wasmer")),
        expect(unused_variables, reason = "without a runtime there is none to ask")
    )]
    fn compile(config: &VmConfig) -> Result<Self> {
        let engine = Registry::global().engine(&config.engine, (&config.limits).into())?;
        let any: &dyn Any = &*engine;
        #[cfg(feature = "wasmtime")]
        if let Some(engine) =
            any.downcast_ref::<WasmEngine<engine_wasm_wasmtime::WasmtimeRuntime>>()
        {
            return Self::on(engine, config);
        }
        #[cfg(feature = "wasmer")]
        if let Some(engine) = any.downcast_ref::<WasmEngine<engine_wasm_wasmer::WasmerRuntime>>() {
            return Self::on(engine, config);
        }
        let message = format!("engine `{}` does not run proxy-wasm filters", engine.name());
        Err(Error::new(ErrorKind::Package, message))
    }

    fn on<R: Runtime>(engine: &WasmEngine<R>, config: &VmConfig) -> Result<Self> {
        let runtime = engine.runtime();
        let manifest = PackageManifest {
            name: config.vm_id.as_str().into(),
            catalog: Arc::default(),
            extensions: Vec::new(),
            limits: config.limits.clone(),
            policy: Policy::Keep,
            waived: Vec::new(),
        };
        runtime.factory().check_limits(&manifest)?;
        load::check_engine_limits(runtime.limits(), &config.limits)?;
        load::check_code_bytes(&config.code, &config.limits)?;
        load::check_magic(&config.code)?;
        let code = export_start(&config.code, MODULE_START);
        let inspection = inspect(&code);
        let mut problems: Vec<_> = inspection
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        let info = &inspection.info;
        problems.extend(load::size_problems(info, &config.limits));
        let allowed = config.capabilities.as_ref();
        let (exports, imports) = check(info, allowed, &mut problems);
        if !problems.is_empty() {
            let report = format!("the module cannot be loaded:\n{}", problems.join("\n"));
            return Err(Error::new(ErrorKind::Package, report));
        }
        let checked = Checked {
            code: &code,
            imports,
            exports: &[],
            functions: &exports.functions,
            limits: &config.limits,
        };
        let module = load::compile(runtime, checked, Registry::global().cache().as_deref())?;
        Ok(Self {
            config: config.clone(),
            vm_id: config.vm_id.as_str().into(),
            exports,
            base: Box::new(Compiled {
                runtime: Arc::clone(runtime),
                module,
            }),
        })
    }

    pub(crate) fn instantiate(&self, state: State) -> Result<Box<dyn Guest<State>>> {
        self.base.instantiate(state)
    }

    /// What a callback may use; `least_ms` where a short deadline is not meant for it.
    pub(crate) fn budget(&self, least_ms: u32) -> Budget {
        let limits = &self.config.limits;
        self.base
            .budget(limits.deadline_ms.max(least_ms), limits.fuel)
    }
}

/// What a module exports and imports, as far as it fits; everything else goes to `problems`.
pub(crate) fn check(
    info: &ModuleInfo,
    allowed: Option<&BTreeSet<String>>,
    problems: &mut Vec<String>,
) -> (Exports, Vec<&'static HostFunction<State>>) {
    let may = |name: &str| allowed.is_none_or(|allowed| allowed.contains(name));
    let offer = Offer {
        abi: "proxy-wasm",
        functions: imports::FUNCTIONS,
    };
    problems.extend(
        info.imports
            .iter()
            .filter_map(|import| offer.find(import).err()),
    );
    match info.export(MEMORY).map(|export| &export.ty) {
        Some(ItemType::Memory(_)) => {}
        Some(other) => problems.push(format!("export `{MEMORY}` is a {other}, not a memory")),
        None => problems.push(format!(
            "no export `{MEMORY}`: export the module's memory by this name"
        )),
    }
    let exports = Exports::find(info, may, problems);
    let imports = offer.imports(info);
    let imports = imports.into_iter().map(|function| {
        if may(function.name) {
            function
        } else {
            imports::denied(function)
        }
    });
    (exports, imports.collect())
}
