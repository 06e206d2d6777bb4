//! Wasmtime, configured for one set of engine limits.

use std::fmt;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::ticker::Ticker;
use engine_wasm_abi::inspect::FEATURES;
use engine_wasm_abi::runtime::{Blueprint, MAX_TABLES, Runtime};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, WasmFeatures,
};

use crate::error::internal;
use crate::factory::FACTORY;
use crate::package::WasmtimeModule;

/// How many instances an engine has room for at a time.
///
/// Each holds 4 GiB of addresses, not of memory, so that code needs no bounds checks: 8 TiB of the 128 TiB there are.
const INSTANCES: u32 = 2_048;

/// What wasm32 can address, which an instance's slot reserves.
const ADDRESSES: u64 = 1 << 32;

/// The most bytes of stack: a thread has 2 MiB by default, and the host needs some of them.
const MAX_STACK: u32 = 1 << 20;

/// Bytes of what the runtime keeps beside an instance's memory; allocated as needed.
const MAX_INSTANCE_SIZE: usize = 16 << 20;

/// Wasmtime with its clock, for one set of engine limits.
pub struct WasmtimeRuntime {
    pub(crate) engine: Engine,
    limits: EngineLimits,
    ticker: Ticker,
}

impl WasmtimeRuntime {
    /// Starts the runtime.
    ///
    /// Where the addresses for a pool of instances cannot be had, instances are mapped one by one, which is slower.
    ///
    /// # Errors
    /// `not_kept` for a stack of no bytes or of more than 1 MiB, `internal` where the runtime or its clock does not start.
    pub fn new(limits: &EngineLimits) -> Result<Self> {
        if !(1..=MAX_STACK).contains(&limits.stack) {
            return Err(Error::new(
                ErrorKind::NotKept,
                format!(
                    "engine `wasmtime` keeps a stack limit from 1 to {MAX_STACK} bytes, not {}",
                    limits.stack
                ),
            ));
        }
        let engine = Engine::new(config(limits).allocation_strategy(pool(limits)))
            .or_else(|_| Engine::new(&config(limits)))
            .map_err(internal("starting"))?;
        let ticking = engine.clone();
        let ticker = Ticker::start_with(move || ticking.increment_epoch()).map_err(|error| {
            Error::new(ErrorKind::Internal, "no thread for the clock").with_source(error)
        })?;
        Ok(Self {
            engine,
            limits: *limits,
            ticker,
        })
    }
}

fn config(limits: &EngineLimits) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .max_wasm_stack(limits.stack as usize)
        .memory_reservation(ADDRESSES)
        .memory_init_cow(true);
    config
}

fn pool(limits: &EngineLimits) -> InstanceAllocationStrategy {
    let tables = MAX_TABLES as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * tables)
        .max_core_instance_size(MAX_INSTANCE_SIZE)
        .max_memories_per_module(1)
        .max_tables_per_module(tables)
        .max_memory_size(limits.memory.min(ADDRESSES) as usize)
        .table_elements(limits.table_elements as usize);
    InstanceAllocationStrategy::Pooling(pool)
}

impl fmt::Debug for WasmtimeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmtimeRuntime")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Runtime for WasmtimeRuntime {
    /// Deadlines rest on epochs.
    const ALWAYS_METERED: bool = false;

    type Module<S: 'static> = WasmtimeModule<S>;

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
    ) -> Result<WasmtimeModule<S>> {
        WasmtimeModule::compile(self, blueprint)
    }

    /// Wasmtime itself refuses code of another configuration. Of another version it does so where the first number is
    /// another one, so the whole version is in the cache's key already.
    fn settings<S: 'static>(&self, _: &Blueprint<'_, S>) -> String {
        String::new()
    }

    #[allow(unsafe_code, reason = "machine code cannot be checked")]
    unsafe fn revive<S: 'static>(
        self: &Arc<Self>,
        blueprint: &Blueprint<'_, S>,
        compiled: &[u8],
    ) -> Option<WasmtimeModule<S>> {
        // SAFETY: by this function's own contract these are bytes that `serialize` gave in `compiled`.
        let module = unsafe { Module::deserialize(&self.engine, compiled) };
        WasmtimeModule::link(self, blueprint, module.ok()?).ok()
    }
}
