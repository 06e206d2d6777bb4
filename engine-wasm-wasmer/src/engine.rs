//! Wasmer, configured for one set of engine limits.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::limits::Limits;
use engine_core::ticker::Ticker;
use engine_wasm_abi::runtime::{Blueprint, Runtime};
use wasmer::sys::{CompilerConfig, Cranelift, EngineBuilder, Features};
use wasmer::{Engine, Module};

use crate::factory::FACTORY;
use crate::growth::Growth;
use crate::package::WasmerModule;
use crate::stack;

/// Wasmer with its clock, for one set of engine limits.
pub struct WasmerRuntime {
    limits: EngineLimits,
    ticker: Ticker,
}

impl WasmerRuntime {
    /// Starts the runtime; the first one of a process settles how large stacks are.
    ///
    /// # Errors
    /// `internal` where the clock does not start.
    pub fn new(limits: &EngineLimits) -> Result<Self> {
        stack::settle(limits.stack);
        let ticker = Ticker::start_with(|| {}).map_err(|error| {
            Error::new(ErrorKind::Internal, "no thread for the clock").with_source(error)
        })?;
        Ok(Self {
            limits: *limits,
            ticker,
        })
    }
}

/// The number of [`engine`]'s way to compile and of [`Growth`]'s checks: it goes up with every change of them, so that code
/// which the cache has from before is not taken.
const COMPILATION: u32 = 1;

/// Wasmer's own engine for one package: the checks of growth know the limits of their package.
pub(crate) fn engine(limits: &Limits) -> Engine {
    let mut compiler = Cranelift::new();
    compiler.canonicalize_nans(true);
    compiler.push_middleware(Arc::new(Growth::new(limits)));
    compiler.num_threads(compiling_threads());
    EngineBuilder::new(compiler)
        .set_features(Some(features()))
        .engine()
        .into()
}

/// All cores but one, which is left to what runs while a package is compiled.
fn compiling_threads() -> NonZero<usize> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    NonZero::new(cores - 1).unwrap_or(NonZero::<usize>::MIN)
}

/// The proposals of [`FEATURES`](engine_wasm_abi::inspect::FEATURES), in wasmer's words.
fn features() -> Features {
    let mut features = Features::none();
    features
        .bulk_memory(true)
        .extended_const(true)
        .multi_value(true)
        .reference_types(true)
        .simd(true);
    features
}

impl fmt::Debug for WasmerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmerRuntime")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Runtime for WasmerRuntime {
    /// Deadlines rest on slices of fuel.
    const ALWAYS_METERED: bool = true;

    type Module<S: 'static> = WasmerModule<S>;

    fn factory(&self) -> &'static dyn ExtEngineFactory {
        &FACTORY
    }

    fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    fn compile<S: 'static>(
        self: &Arc<Self>,
        blueprint: &Blueprint<'_, S>,
    ) -> Result<WasmerModule<S>> {
        WasmerModule::compile(self, blueprint)
    }

    /// The checks of growth hold the package's limits, and are in the code.
    fn settings<S: 'static>(&self, blueprint: &Blueprint<'_, S>) -> String {
        let Limits {
            memory,
            table_elements,
            ..
        } = blueprint.limits;
        format!("{COMPILATION} {memory} {table_elements}")
    }

    #[allow(unsafe_code, reason = "machine code cannot be checked")]
    unsafe fn revive<S: 'static>(
        self: &Arc<Self>,
        blueprint: &Blueprint<'_, S>,
        compiled: &[u8],
    ) -> Option<WasmerModule<S>> {
        let engine = engine(blueprint.limits);
        // SAFETY: by this function's own contract these are bytes that `serialize` gave in `compiled`.
        let module = unsafe { Module::deserialize(&engine, compiled) };
        Some(WasmerModule::of(self, blueprint, engine, module.ok()?))
    }
}
