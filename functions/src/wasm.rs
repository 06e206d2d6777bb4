//! WASM modules that know nothing of our contract: which convention they follow, and the sandboxes they run in.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limit;
use engine_core::manifest::{PackageManifest, Policy};
use engine_core::registry::Registry;
use engine_wasm_abi::engine::WasmEngine;
use engine_wasm_abi::inspect::{ItemType, ModuleInfo, inspect};
use engine_wasm_abi::load::{self, Checked, MEMORY, Offer};
use engine_wasm_abi::runtime::{Budget, ExportSpec, Guest, NumberFunction, Runtime, RuntimeModule};
use engine_wasm_abi::wasi::{RANDOM_BLOCK, Wasi, WasiState};

use crate::bindgen::{self, Bindgen};
use crate::config::{Abi, PluginConfig};
use crate::host::Surroundings;
use crate::plain::Plain;
use crate::signature::Function;
use crate::value::Value;
use crate::vm::{Code, LogLine, Logger, Vm};

/// The least time that a guest has to start: a short deadline is meant for calls.
const START_MS: u32 = 1_000;

/// The position of `_initialize` in every convention's table of exports.
const INITIALIZE: usize = 0;

/// The convention that a module follows, by what it exports.
pub(crate) fn abi_of(code: &[u8]) -> Abi {
    let info = inspect(code).info;
    if info
        .exports
        .iter()
        .any(|e| e.name.starts_with("WasmAbiVersion_"))
    {
        return Abi::Extengine;
    }
    match [bindgen::ALLOCATE_NAME, bindgen::DEALLOCATE_NAME].map(|name| info.export(name)) {
        [Some(_), Some(_)] => Abi::Bindgen,
        _ => Abi::Plain,
    }
}

/// Loads a module that follows one of the conventions that are not ours.
///
/// # Errors
/// `package` with everything that keeps it from loading, `not_kept`, and limits on code.
#[cfg_attr(
    not(any(feature = "wasmtime", feature = "wasmer")),
    expect(unused_variables, reason = "without a runtime there is none to ask")
)]
pub(crate) fn load(
    config: &PluginConfig,
    abi: Abi,
    code: &[u8],
    logger: &Arc<Logger>,
) -> Result<Arc<dyn Code>> {
    let engine = Registry::global().engine(&config.engine, (&config.limits).into())?;
    let any: &dyn Any = &*engine;
    #[cfg(feature = "wasmtime")]
    if let Some(engine) = any.downcast_ref::<WasmEngine<engine_wasm_wasmtime::WasmtimeRuntime>>() {
        return load_on(engine, config, abi, code, logger);
    }
    #[cfg(feature = "wasmer")]
    if let Some(engine) = any.downcast_ref::<WasmEngine<engine_wasm_wasmer::WasmerRuntime>>() {
        return load_on(engine, config, abi, code, logger);
    }
    let message = format!(
        "engine `{}` runs packages of our own contract only",
        engine.name()
    );
    Err(Error::new(ErrorKind::Package, message))
}

/// Calls functions of a module by their numbers, one after another in one sandbox, on an engine of any runtime: for the fuzz
/// targets, whose runtime runs no code.
///
/// # Errors
/// Those of loading and of the sandbox's start.
#[doc(hidden)]
pub fn call_on<R: Runtime>(
    engine: &WasmEngine<R>,
    config: &PluginConfig,
    abi: Abi,
    code: &[u8],
    calls: &[(usize, Vec<Value>)],
) -> Result<Vec<Result<Value>>> {
    let logger: Arc<Logger> = Arc::new(|_: &LogLine<'_>| ());
    let mut vm = load_on(engine, config, abi, code, &logger)?.start()?;
    let results = calls
        .iter()
        .map(|(function, args)| vm.call(*function, args));
    Ok(results.collect())
}

fn load_on<R: Runtime>(
    engine: &WasmEngine<R>,
    config: &PluginConfig,
    abi: Abi,
    code: &[u8],
    logger: &Arc<Logger>,
) -> Result<Arc<dyn Code>> {
    let runtime = engine.runtime();
    let manifest = config.manifest(Arc::default(), Vec::new());
    runtime.factory().check_limits(&manifest)?;
    load::check_engine_limits(runtime.limits(), &config.limits)?;
    load::check_code_bytes(code, &config.limits)?;
    load::check_magic(code)?;
    let inspection = inspect(code);
    let info = &inspection.info;
    let mut problems: Vec<_> = inspection
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    let offer = Offer::<State> {
        abi: abi.name(),
        functions: &[],
    };
    problems.extend(info.imports.iter().filter_map(|i| offer.find(i).err()));
    problems.extend(load::size_problems(info, &config.limits));
    problems.extend(memory_problem(info, abi));
    let (calls, functions) = Calls::of(abi, info, &config.functions, &mut problems);
    if !problems.is_empty() {
        let report = format!("the module cannot be loaded:\n{}", problems.join("\n"));
        return Err(Error::new(ErrorKind::Package, report));
    }
    let checked = Checked {
        code,
        imports: offer.imports(info),
        exports: calls.exports(),
        functions: calls.functions(),
        limits: &config.limits,
    };
    let module = load::compile(runtime, checked, Registry::global().cache().as_deref())?;
    Ok(Arc::new(WasmCode(Arc::new(Shared {
        runtime: Arc::clone(runtime),
        module,
        calls,
        functions,
        name: config.name.as_str().into(),
        manifest,
        logger: Arc::clone(logger),
    }))))
}

/// A module may do without a memory, but one that it has must be exported, so that it can be seen and limited.
fn memory_problem(info: &ModuleInfo, abi: Abi) -> Option<String> {
    let exported = match info.export(MEMORY).map(|export| &export.ty) {
        Some(ItemType::Memory(_)) => true,
        Some(other) => return Some(format!("export `{MEMORY}` is a {other}, not a memory")),
        None => false,
    };
    let wanted = abi == Abi::Bindgen || !info.memories.is_empty();
    (wanted && !exported)
        .then(|| format!("no export `{MEMORY}`: export the module's memory by this name"))
}

/// How a module's functions are called.
#[derive(Debug)]
enum Calls {
    Plain(Plain),
    Bindgen(Bindgen),
}

impl Calls {
    fn of(
        abi: Abi,
        info: &ModuleInfo,
        wanted: &[Function],
        problems: &mut Vec<String>,
    ) -> (Self, Vec<Function>) {
        match abi {
            Abi::Bindgen => {
                let bindgen = Bindgen::new(info, wanted, problems);
                (Self::Bindgen(bindgen), wanted.to_vec())
            }
            Abi::Plain | Abi::Extengine => {
                let (plain, functions) = Plain::new(info, wanted, problems);
                (Self::Plain(plain), functions)
            }
        }
    }

    fn exports(&self) -> &'static [ExportSpec] {
        match self {
            Self::Plain(_) => &[ExportSpec::INITIALIZE],
            Self::Bindgen(_) => &bindgen::EXPORTS,
        }
    }

    fn functions(&self) -> &[NumberFunction] {
        match self {
            Self::Plain(plain) => &plain.functions,
            Self::Bindgen(bindgen) => &bindgen.functions,
        }
    }
}

/// What a module's sandboxes share.
struct Shared<R: Runtime> {
    runtime: Arc<R>,
    module: R::Module<State>,
    calls: Calls,
    functions: Vec<Function>,
    name: Arc<str>,
    manifest: PackageManifest,
    logger: Arc<Logger>,
}

struct WasmCode<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> std::fmt::Debug for WasmCode<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmCode")
            .field("name", &self.0.name)
            .field("runtime", &self.0.runtime)
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> Code for WasmCode<R> {
    fn functions(&self) -> &[Function] {
        &self.0.functions
    }

    fn start(&self) -> Result<Box<dyn Vm>> {
        let mut vm = WasmVm {
            state: State::new(&self.0),
            shared: Arc::clone(&self.0),
            guest: None,
        };
        vm.guest = Some(vm.start()?);
        Ok(Box::new(vm))
    }
}

type Live<R> = <<R as Runtime>::Module<State> as RuntimeModule<State>>::Instance;

/// One sandbox, or the place where the next one stands once it is needed.
struct WasmVm<R: Runtime> {
    shared: Arc<Shared<R>>,
    state: State,
    guest: Option<Live<R>>,
}

impl<R: Runtime> WasmVm<R> {
    fn start(&self) -> Result<Live<R>> {
        self.state.renew();
        let shared = &*self.shared;
        let mut guest = shared.module.instantiate(self.state.clone())?;
        let deadline_ms = shared.manifest.limits.deadline_ms.max(START_MS);
        arm(&mut guest, shared, deadline_ms, None);
        if guest.has(INITIALIZE) {
            guest.call(INITIALIZE, &[])?;
        }
        Ok(guest)
    }

    /// Runs one call, and leaves a sandbox behind that can be used again, or none.
    #[inline]
    fn run<T>(
        &mut self,
        function: usize,
        call: impl FnOnce(&mut Live<R>, &Shared<R>) -> Result<T>,
    ) -> Result<T> {
        if self.guest.is_none() {
            self.guest = Some(self.start()?);
        }
        let (Some(guest), shared) = (&mut self.guest, &*self.shared) else {
            return Err(Error::new(ErrorKind::Internal, "a sandbox without a guest"));
        };
        let limits = &shared.manifest.limits;
        arm(guest, shared, limits.deadline_ms, limits.fuel);
        self.state.begin(function);
        let called = call(guest, shared);
        let flushed = self.state.end();
        let result = called.and_then(|value| flushed.map(|()| value));
        let usable = match &result {
            Ok(_) => true,
            Err(error) => matches!(error.kind(), ErrorKind::BadArgs | ErrorKind::Rejected),
        };
        let spent = matches!(shared.calls, Calls::Bindgen(_)) && Bindgen::is_spent(&self.state);
        if !usable || spent || shared.manifest.policy == Policy::Fresh {
            self.guest = None;
        }
        result
    }

    #[cold]
    fn place(&self, function: usize, error: Error) -> Error {
        error.at(|| {
            format!(
                "{}/{}",
                self.shared.name, self.shared.functions[function].name
            )
        })
    }
}

#[inline]
fn arm<R: Runtime>(guest: &mut Live<R>, shared: &Shared<R>, deadline_ms: u32, fuel: Option<u64>) {
    let (_, deadline) = shared.runtime.ticker().start(deadline_ms);
    guest.arm(Budget {
        deadline,
        deadline_ms,
        fuel,
    });
}

impl<R: Runtime> Vm for WasmVm<R> {
    fn call(&mut self, function: usize, args: &[Value]) -> Result<Value> {
        let called = self.run(function, |guest, shared| {
            let signature = &shared.functions[function].signature;
            match &shared.calls {
                Calls::Plain(plain) => plain.call(guest, function, signature, args),
                Calls::Bindgen(bindgen) => {
                    bindgen.call(guest, function, signature, args, &shared.manifest.limits)
                }
            }
        });
        called.map_err(|error| self.place(function, error))
    }

    #[cfg(feature = "arrow")]
    fn call_numbers(&mut self, function: usize, rows: &mut dyn crate::vm::Numbers) -> Result<bool> {
        let Calls::Plain(plain) = &self.shared.calls else {
            return Ok(false);
        };
        let mut places = [0; NumberFunction::MAX_VALUES];
        let places = &mut places[..plain.functions[function].places()];
        let state = self.state.clone();
        while rows.next(places) {
            // Row after row, as long as none leaves anything behind for the next.
            let called = self.run(function, |guest, shared| {
                let (limits, ticker) = (&shared.manifest.limits, shared.runtime.ticker());
                let mut tick = ticker.now();
                loop {
                    guest.call_numbers(function, places)?;
                    rows.take(places)?;
                    let is_clean = shared.manifest.policy == Policy::Keep && !state.is_touched();
                    if !is_clean || !rows.next(places) {
                        return Ok(());
                    }
                    // Within one tick all rows have the same deadline.
                    let now = ticker.now();
                    if limits.fuel.is_some() || now != tick {
                        arm(guest, shared, limits.deadline_ms, limits.fuel);
                        tick = now;
                    }
                }
            });
            called.map_err(|error| self.place(function, error))?;
        }
        Ok(true)
    }

    fn prepare(&mut self) {
        if self.guest.is_none() {
            // The next call tells why there is none.
            self.guest = self.start().ok();
        }
    }
}

/// What belongs to a sandbox beside its guest, shared with the host's functions.
#[derive(Clone)]
pub(crate) struct State(Rc<Inner>);

struct Inner {
    wasi: Wasi,
    surroundings: Surroundings,
    running: Cell<Option<usize>>,
    /// Whether the guest has asked for anything that is to be forgotten.
    touched: Cell<bool>,
    /// Bytes of results that could not be freed.
    garbage: Cell<u32>,
    lines: Cell<u32>,
    bytes: Cell<u64>,
    max_lines: u32,
    max_bytes: u64,
    names: Vec<Box<str>>,
}

impl State {
    fn new<R: Runtime>(shared: &Shared<R>) -> Self {
        let Shared { name, manifest, .. } = shared;
        let limits = &manifest.limits;
        let names = shared
            .functions
            .iter()
            .map(|function| function.name.clone());
        Self(Rc::new(Inner {
            wasi: Wasi::default(),
            surroundings: Surroundings::new(name, &shared.logger),
            running: Cell::new(None),
            touched: Cell::new(false),
            garbage: Cell::new(0),
            lines: Cell::new(0),
            bytes: Cell::new(0),
            max_lines: limits.log_lines,
            max_bytes: limits.log_bytes,
            names: names.collect(),
        }))
    }

    /// How many bytes of results could not be freed.
    pub(crate) fn garbage(&self) -> &Cell<u32> {
        &self.0.garbage
    }

    /// Whether the guest has asked its host for anything since the call began.
    #[cfg(feature = "arrow")]
    #[inline]
    fn is_touched(&self) -> bool {
        self.0.touched.get()
    }

    /// Forgets the guest before, so that what it logged does not count against the start of the next.
    fn renew(&self) {
        self.0.garbage.set(0);
        self.0.touched.set(false);
        self.0.forget();
    }

    #[inline]
    fn begin(&self, function: usize) {
        let inner = &*self.0;
        inner.running.set(Some(function));
        if inner.touched.replace(false) {
            inner.forget();
        }
    }

    /// Logs what was not a whole line; nothing where the guest asked for nothing.
    #[inline]
    fn end(&self) -> Result<()> {
        let flushed = if self.0.touched.get() {
            self.0.wasi.flush(self)
        } else {
            Ok(())
        };
        self.0.running.set(None);
        flushed
    }
}

impl Inner {
    fn forget(&self) {
        self.wasi.begin();
        self.surroundings.begin();
        self.lines.set(0);
        self.bytes.set(0);
    }
}

impl WasiState for State {
    fn wasi(&self) -> &Wasi {
        &self.0.wasi
    }

    /// A plugin has time, randomness and a log while it starts, too.
    fn running(&self) -> Result<bool> {
        self.0.touched.set(true);
        Ok(true)
    }

    fn time(&self) -> Result<i64> {
        Ok(self.0.surroundings.time())
    }

    fn random(&self, block: i64) -> Result<[u8; RANDOM_BLOCK]> {
        Ok(self.0.surroundings.random(block))
    }

    fn log(&self, level: &str, line: &str) -> Result<()> {
        let inner = &*self.0;
        inner.lines.set(inner.lines.get() + 1);
        inner.bytes.set(inner.bytes.get() + line.len() as u64);
        if inner.lines.get() > inner.max_lines {
            return Err(Error::limit(Limit::LogLines, inner.max_lines));
        }
        if inner.bytes.get() > inner.max_bytes {
            return Err(Error::limit(Limit::LogBytes, inner.max_bytes));
        }
        let function = inner
            .running
            .get()
            .and_then(|number| inner.names.get(number));
        inner
            .surroundings
            .log(function.map_or("", |name| name), level, line);
        Ok(())
    }
}
